--- What is known of a recipe after a good load: whom each of its jobs tells. A run says it to the
--- supervisor, and keeps it in the state folder, so that a run whose recipe does not load any more is
--- told of, too. Secrets are known by name, functions not at all.
---
---   { recipe (path), jobs = { [name] = { notify = { [key] = { descriptor... } }, fresh } },
---     env = names of the variables that secrets come from }
local errors = require "moonkeep.errors"
local fs = require "moonkeep.fs"
local hash = require "moonkeep.core.hash"
local json = require "moonkeep.core.json"
local log = require "moonkeep.log"
local names_of = require "moonkeep.names_of"
local notify = require "moonkeep.notify"
local secret = require "moonkeep.secret"
local state = require "moonkeep.state"

local M = {}

--- How a recipe is known: its path from the root, as it was given (links may lead elsewhere tomorrow).
function M.path(recipe)
  recipe = recipe:gsub("^%./+", "")
  return recipe:sub(1, 1) == "/" and recipe or ("%s/%s"):format(fs.realpath ".", recipe)
end

local function file_of(recipe)
  local folder = state.place "notify"
  return folder and ("%s/%s.json"):format(folder, hash.hex(hash.sha256(recipe)):sub(1, 32))
end

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

--- What is known of a recipe (as M.path gives it) with these jobs.
function M.of(recipe, list)
  local jobs = {}
  for _, job in ipairs(list) do
    if job.kind == "job" then
      jobs[job.name] = { notify = descriptors_of(job), fresh = job.keys.fresh }
    end
  end
  return { recipe = recipe, jobs = jobs, env = names_of(secret.taken()) }
end

--- Keeps it.
function M.save(known)
  local ok, err = pcall(function()
    local path = file_of(known.recipe)
    if not path then
      return
    end
    local any = false
    for _, job in pairs(known.jobs) do
      any = any or next(job.notify) ~= nil
    end
    if any then
      fs.write(path, json.encode(known))
    elseif fs.exists(path) then
      fs.remove(path)
    end
  end)
  if not ok then
    log.warn("whom this recipe tells could not be kept: %s", errors.of(err).message)
  end
end

--- What was kept of a recipe, or nil.
function M.load(recipe)
  local ok, known = pcall(function()
    return json.decode(fs.read(file_of(recipe)))
  end)
  return ok and known or nil
end

return M
