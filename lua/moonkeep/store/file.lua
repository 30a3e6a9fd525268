--- Stores in a folder: file:///var/backups/app.
---
---   <root>/<job>/<series>/<id>.json      the manifest: its presence is the backup's existence
---   <root>/<job>/<series>/<id>/          its objects
---   <root>/<job>/<series>/.<id>.lock     held by the run that is making it
---
--- Files are 0600 in folders of 0700. Objects appear under their names only when complete and
--- synced. What a killed run has left is invisible (it has no manifest), and is removed by the next
--- run of the same series, once the lock shows that its maker is dead.
local errors = require "moonkeep.errors"
local core_task = require "moonkeep.core.task"
local fs = require "moonkeep.fs"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local stores = require "moonkeep.store"

local M = {}

local ID = "%d%d%d%d%d%d%d%dT%d%d%d%d%d%dZ%-%x+"
local FOLDER_MODE = 448 -- 0700
local FILE_MODE = 384   -- 0600

local Store = { __name = "moonkeep.Store" }
Store.__index = Store

function Store:__tostring()
  return self.name
end

local function check_name(what, name)
  if type(name) ~= "string" or not name:match "^[%w_%%][%w._%%-]*$" then
    errors.raise("INVALID", ("%s is not a proper %s"):format(tostring(name), what))
  end
  return name
end

function Store:folder(job, series)
  return ("%s/%s/%s"):format(self.root, check_name("job name", job),
    check_name("series", series))
end

local function check_id(id)
  if type(id) ~= "string" or not id:match("^" .. ID .. "$") then
    errors.raise("INVALID", ("%s is not the id of a backup"):format(tostring(id)))
  end
  return id
end

-- ---- reading ------------------------------------------------------------------------------------

--- The ids of the backups of a series, oldest first.
function Store:list(job, series)
  local folder, ids = self:folder(job, series), {}
  for _, name in ipairs(fs.exists(folder) and fs.list(folder) or {}) do
    ids[#ids + 1] = name:match("^(" .. ID .. ")%.json$")
  end
  table.sort(ids)
  return ids
end

--- The manifest of a backup. Raises NOT_FOUND when there is no such backup, CORRUPT when it is
--- damaged.
function Store:manifest(job, series, id)
  local path = ("%s/%s.json"):format(self:folder(job, series), check_id(id))
  local text = fs.read(path)
  local ok, manifest = pcall(manifests.decode, text)
  if not ok then
    if errors.is_error(manifest) then
      manifest.message = ("backup %s in store %s: %s (%s)"):format(id, self.name, manifest.message,
        path)
    end
    error(manifest, 0)
  end
  return manifest
end

--- The newest backup of a series; nil, why when there is none.
function Store:latest(job, series)
  local ids = self:list(job, series)
  local id = ids[#ids]
  if not id then
    return nil, ("store %s has no backup of %s by job %s"):format(self.name, series, job)
  end
  return self:backup(job, series, id)
end

--- A backup by its id.
function Store:backup(job, series, id)
  return stores.backup { id = id, job = job, series = series,
    manifest = self:manifest(job, series, id), stores = { self }, proof = "stored" }
end

local function folders(path)
  local names = {}
  for _, name in ipairs(fs.exists(path) and fs.list(path) or {}) do
    local stat = name:match "^[%w_%%][%w._%%-]*$" and fs.stat(path .. "/" .. name)
    names[#names + 1] = stat and stat.type == "directory" and name or nil
  end
  table.sort(names)
  return names
end

--- The names of the jobs that have a folder here.
function Store:jobs()
  return folders(self.root)
end

--- The series of a job.
function Store:series(job)
  return folders(self.root .. "/" .. check_name("job name", job))
end

--- The path of an object, for programs that must read it at any place.
function Store:path(backup, object)
  return self:source(backup.job, backup.series, backup.id, object).path
end

--- The flow source of an object.
function Store:source(job, series, id, object)
  return { kind = "file", path = ("%s/%s/%s"):format(self:folder(job, series), check_id(id),
    check_name("object name", object)) }
end

-- ---- writing ------------------------------------------------------------------------------------

local Session = {}
Session.__index = Session

--- The flow sink of a new object.
function Session:sink(object)
  return { kind = "file", path = self.folder .. "/" .. check_name("object name", object) }
end

--- Writes a small object.
function Session:put(object, text)
  fs.write(self.folder .. "/" .. check_name("object name", object), text, FILE_MODE, true)
end

--- Removes every object that was written, to begin anew.
function Session:clear()
  fs.remove(self.folder)
  fs.mkdir(self.folder, FOLDER_MODE)
end

--- Writes the manifest: from now on the backup exists.
function Session:publish(text)
  fs.write(self.folder .. ".json", text, FILE_MODE, true)
  self.published = true
end

--- Without a published manifest, removes everything that was written. The manifest comes first: it
--- may be there although publishing it has failed (in the sync of its folder, say), and a backup
--- that can be seen must be whole.
function Session:close()
  if self.closed then
    return
  end
  self.closed = true
  core_task.shield(function()
    if not self.published then
      local ok, err = pcall(function()
        fs.remove(self.folder .. ".json")
        fs.remove(self.folder)
      end)
      if not ok then
        log.warn("%s: could not remove the unfinished %s: %s", self.store.name, self.folder,
          err.message)
      end
    end
    self.lock:close()
    pcall(fs.remove, self.lock_path)
  end, 15000)
end
Session.__close = Session.close

-- What a run that has died may have left: its lock, a half-written manifest, and, when it had not
-- published, its folder. Returns a table: id -> list of half-written manifests.
local function leftovers(folder)
  local names, found = fs.list(folder), {}
  local is_published = {}
  for _, name in ipairs(names) do
    is_published[name:match("^(" .. ID .. ")%.json$") or ""] = true
  end
  for _, name in ipairs(names) do
    local partial_of = name:match("^%.(" .. ID .. ")%.json%..*%.partial$")
    local id = name:match("^(" .. ID .. ")$")
    id = partial_of or name:match("^%.(" .. ID .. ")%.lock$") or not is_published[id] and id
    if id then
      found[id] = found[id] or {}
      table.insert(found[id], partial_of and name or nil)
    end
  end
  return found
end

-- Removes what runs that have died had left: whoever holds a lock lives.
local function sweep(folder)
  for id, partials in pairs(leftovers(folder)) do
    local lock_path = ("%s/.%s.lock"):format(folder, id)
    local lock = fs.lock(lock_path)
    if lock then
      -- Under the lock, for its maker may have published a moment ago.
      if not fs.exists(("%s/%s.json"):format(folder, id)) then
        log.info("removing %s/%s, which a killed run had left", folder, id)
        fs.remove(("%s/%s"):format(folder, id))
      end
      for _, name in ipairs(partials) do
        fs.remove(folder .. "/" .. name)
      end
      lock:close()
      fs.remove(lock_path)
    end
  end
end

--- Begins a backup: a session, whose sinks and puts are invisible until publish.
function Store:begin(job, series, id)
  local folder = self:folder(job, series)
  check_id(id)
  fs.mkdir(folder, FOLDER_MODE)
  sweep(folder)
  local session = setmetatable({ store = self, folder = folder .. "/" .. id,
    lock_path = ("%s/.%s.lock"):format(folder, id) }, Session)
  session.lock = fs.lock(session.lock_path)
  if not session.lock then
    errors.raise("BUSY", ("another run is making backup %s"):format(id))
  end
  local ok, err = pcall(fs.mkdir, session.folder, FOLDER_MODE)
  if not ok then
    session:close()
    error(err, 0)
  end
  return session
end

--- `path` is what follows file:// in the URL. Returns nil, why, hint when it is no proper path.
function M.new(name, path)
  if path:sub(1, 1) ~= "/" or path:find "%z" then
    return nil, ("\"file://%s\" is not an absolute path"):format(path),
      "write three slashes: file:///var/backups/app"
  end
  return setmetatable({ name = name, root = (path:gsub("(.)/+$", "%1")) }, Store)
end

return M
