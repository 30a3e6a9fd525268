--- What `require "moonkeep"` gives to a recipe.
local jobs = require "moonkeep.job"
local keyring = require "moonkeep.encryption.keyring"
local names_of = require "moonkeep.names_of"
local pg = require "moonkeep.pg"
local scratch = require "moonkeep.pg.scratch"
local secret = require "moonkeep.secret"
local spec = require "moonkeep.spec"
local stores = require "moonkeep.store"
local task = require "moonkeep.task"

local arg = {}
for name, value in pairs(require "moonkeep.arg") do
  arg[name] = name ~= "parse" and value or nil
end

local mk = {
  job = jobs.new,
  task = jobs.task,
  verify = jobs.verify,
  policy = require("moonkeep.policy").new,
  arg = arg,
  secret = { env = secret.env, file = secret.file, cmd = secret.cmd,
    credential = secret.credential },
  identity = function(identity)
    if spec.check("mk.identity", { keys = { { "identity", "secret", required = true } } },
      { identity = identity }) then
      keyring.add_identity(identity)
    end
  end,
  pg = setmetatable({ scratch = scratch.new }, {
    __call = function(_, what)
      return pg.source(what)
    end,
  }),
  store = stores.new,
  notify = require("moonkeep.notify").makers,
  sleep = task.sleep,
  all = task.all,
  each = task.each,
  timeout = task.timeout,
  shield = task.shield,
  flow = require "moonkeep.flow",
  process = require "moonkeep.process",
  http = (function(http)
    return { request = http.request, get = http.get, post = http.post, source = http.source }
  end)(require "moonkeep.http"),
  fs = require "moonkeep.fs",
  toc = require "moonkeep.toc",
  clock = require "moonkeep.clock",
  json = require "moonkeep.core.json",
  log = require "moonkeep.log",
  error = require("moonkeep.errors").raise,
}

-- What is misspelt is told, instead of "attempt to call a nil value".
local function strict(path, values)
  return setmetatable(values, { __index = function(_, name)
    error(("%s has no %q%s"):format(path, tostring(name), spec.suggestion(name, names_of(values))), 2)
  end })
end

for _, name in ipairs { "secret", "notify", "http" } do
  strict("mk." .. name, mk[name])
end
return strict("mk", mk)
