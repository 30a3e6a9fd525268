--- What `require "moonkeep"` gives to a recipe.
local fs = require "moonkeep.fs"
local jobs = require "moonkeep.job"
local json = require "moonkeep.core.json"
local pg = require "moonkeep.pg"
local scratch = require "moonkeep.pg.scratch"
local stores = require "moonkeep.store"
local task = require "moonkeep.task"

return {
  job = jobs.new,
  pg = setmetatable({ scratch = scratch.new }, {
    __call = function(_, what)
      return pg.source(what)
    end,
  }),
  store = stores.new,
  sleep = task.sleep,
  all = task.all,
  each = task.each,
  timeout = task.timeout,
  shield = task.shield,
  flow = require "moonkeep.flow",
  process = require "moonkeep.process",
  fs = fs,
  clock = require "moonkeep.clock",
  json = json,
  log = require "moonkeep.log",
  error = require("moonkeep.errors").raise,
}
