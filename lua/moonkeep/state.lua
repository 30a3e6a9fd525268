--- Where this machine keeps what is not a backup: the catalog, the locks of jobs, the logs of runs.
local errors = require "moonkeep.errors"
local fs = require "moonkeep.fs"
local log = require "moonkeep.log"
local process = require "moonkeep.process"

local M = {}

local KEPT_LOGS = 400

--- The state folder: MOONKEEP_STATE, systemd's StateDirectory, /var/lib/moonkeep for root, else
--- the XDG place.
function M.folder()
  local set = os.getenv "MOONKEEP_STATE" or (os.getenv "STATE_DIRECTORY" or ""):match "^[^:]+"
  if set then
    return set
  elseif process.uid() == 0 then
    return "/var/lib/moonkeep"
  end
  local home = os.getenv "XDG_STATE_HOME"
  return (home and home ~= "" and home or (os.getenv "HOME" or "/tmp") .. "/.local/state") ..
    "/moonkeep"
end

local function make(name)
  local folder = M.folder() .. (name and "/" .. name or "")
  fs.mkdir(folder, 448) -- 0700
  return folder
end

local told = false

-- Without a state folder moonkeep still makes backups, and says what is missing: what fn returns,
-- or nil and true.
local function try(fn, ...)
  local ok, result = pcall(fn, ...)
  if ok then
    return result
  elseif errors.of(result).code == "CANCELED" then
    error(result, 0)
  end
  if not told then
    told = true
    log.warn("the state folder %s cannot be used (%s): this run is not in the catalog, has no log " ..
      "file, and does not see whether the job is running already", M.folder(), result.message)
  end
  return nil, true
end

--- The lock of a job on this machine: a closable lock; nil when another run has it; false when there
--- is no place for it.
function M.lock(job)
  local lock, failed = try(function()
    return fs.lock(("%s/%s.lock"):format(make "locks", job))
  end)
  if failed then
    return false
  end
  return lock
end

local function rotate(folder)
  local names = fs.list(folder)
  table.sort(names)
  for i = 1, #names - KEPT_LOGS do
    pcall(fs.remove, folder .. "/" .. names[i])
  end
end

--- The path of the log file of a run, made here and empty; old ones are removed. nil when there is
--- no place for it.
function M.log_path(run_id)
  return try(function()
    local folder = make "logs"
    local path = ("%s/%s.jsonl"):format(folder, run_id)
    fs.write(path, "", 384, true) -- 0600
    rotate(folder)
    return path
  end)
end

--- A folder of the state folder, made here; nil when there is no place for it.
function M.place(name)
  return (try(make, name))
end

--- The path of the catalog; nil when there is no place for it.
function M.catalog_path()
  local folder = try(make)
  return folder and folder .. "/catalog.sqlite"
end

return M
