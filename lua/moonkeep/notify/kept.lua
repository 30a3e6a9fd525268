--- What is kept of a recipe after every good load, in the state folder: whom each of its jobs tells. A
--- run whose recipe does not load, or that never came so far, is told of by that. Secrets are kept by
--- name.
local errors = require "moonkeep.errors"
local fs = require "moonkeep.fs"
local hash = require "moonkeep.core.hash"
local json = require "moonkeep.core.json"
local log = require "moonkeep.log"
local notify = require "moonkeep.notify"
local state = require "moonkeep.state"

local M = {}

local function path_of(recipe)
  local folder = state.place "notify"
  return folder and ("%s/%s.json"):format(folder, hash.hex(hash.sha256(recipe)):sub(1, 32))
end

-- { [key of `notify`] = { descriptor... } }
local function descriptors_of(job)
  local table_of = {}
  for key, value in pairs(job.keys.notify or {}) do
    table_of[key] = {}
    for i, notifier in ipairs(notify.list(value)) do
      table_of[key][i] = notify.descriptor(notifier)
    end
  end
  return table_of
end

--- Keeps what the jobs of a recipe (its absolute path) say.
function M.save(recipe, list)
  local jobs, any = {}, false
  for _, job in ipairs(list) do
    if job.kind == "job" then
      jobs[job.name] = { notify = descriptors_of(job), fresh = job.keys.fresh }
      any = any or job.keys.notify ~= nil
    end
  end
  local ok, err = pcall(function()
    local path = path_of(recipe)
    if path and any then
      fs.write(path, json.encode { recipe = recipe, jobs = jobs })
    elseif path and fs.exists(path) then
      fs.remove(path)
    end
  end)
  if not ok then
    log.warn("whom this recipe tells could not be kept: %s", errors.of(err).message)
  end
end

--- What is known of a recipe: { recipe, jobs }, or nil.
function M.load(recipe)
  local ok, known = pcall(function()
    return json.decode(fs.read(path_of(recipe)))
  end)
  return ok and known or nil
end

return M
