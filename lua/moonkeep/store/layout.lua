--- How backups lie in a store, of whatever kind:
---
---   <job>/<series>/<id>.json      the manifest: its presence is the backup's existence
---   <job>/<series>/<id>/          its objects, of which large ones lie in pieces (pieces.lua)
---   <job>/<series>/.<id>.lock     held by the run that is making it
---
--- What a killed run has left is invisible (it has no manifest), and is removed by the next run of
--- the same series, once the lock shows that its maker is dead.
---
--- Where the bytes are is the driver's business, which is what a new kind of store has to offer.
--- Keys are paths below the store's root; a folder is "" or ends with "/".
---
---   read(key), write(key, text, exclusive)  small objects; NOT_FOUND, ALREADY_EXISTS
---   stat(key)                  { size, sha256 (where the store knows it) }, or nil
---   source(key, n_pieces), sink(key, piece_bytes)
---                              stages of a flow; a sink's object is there, whole, when that ended
---                              well. nil: one piece
---   names(folder)              what is directly below it, objects and folders; {}: it is not there
---   folders(folder)            the folders among them
---   make_folder(folder)        where folders must be made
---   remove(keys)               objects; those that are not there are no error
---   remove_folder(folder)      with all in it, also what killed uploads into it have left
---   hold(key)                  a closable lock, which closing removes, with check(), which raises when
---                              it may have been lost; nil: another process that lives has it
---   remarks()                  texts for `doctor` (where there are no files)
---   path(key)                  its file on this machine, or nil
---   shown(key)                 what messages call it
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local flow = require "moonkeep.core.flow"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local pieces = require "moonkeep.store.pieces"
local stores = require "moonkeep.store"
local units = require "moonkeep.units"

local M = {}

local ID = "%d%d%d%d%d%d%d%dT%d%d%d%d%d%dZ%-%x+"
local NAME = "^[%w_%%][%w._%%-]*$"

local Store = { __name = "moonkeep.Store" }
Store.__index = Store

function Store:__tostring()
  return self.name
end

local function check_name(what, name)
  if type(name) ~= "string" or not name:match(NAME) then
    errors.raise("INVALID", ("%s is not a proper %s"):format(tostring(name), what))
  end
  return name
end

local function folder_of(job, series)
  return ("%s/%s/"):format(check_name("job name", job), check_name("series", series))
end

local function manifest_key(folder, id)
  return ("%s%s.json"):format(folder, id)
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
  local ids = {}
  for _, name in ipairs(self.driver:names(folder_of(job, series))) do
    ids[#ids + 1] = name:match("^(" .. ID .. ")%.json$")
  end
  table.sort(ids)
  return ids
end

--- The manifest of a backup. Raises NOT_FOUND when there is no such backup, CORRUPT when it is
--- damaged.
function Store:manifest(job, series, id)
  local ok, manifest = pcall(manifests.decode, self:manifest_text(job, series, id))
  if not ok then
    if errors.is_error(manifest) then
      manifest.message = ("backup %s in store %s: %s (%s)"):format(id, self.name, manifest.message,
        self.driver:shown(manifest_key(folder_of(job, series), id)))
    end
    error(manifest, 0)
  end
  return manifest
end

--- The same as it is stored, every byte.
function Store:manifest_text(job, series, id)
  return self.driver:read(manifest_key(folder_of(job, series), check_id(id)))
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

local function proper(names)
  local list = {}
  for _, name in ipairs(names) do
    list[#list + 1] = name:match(NAME)
  end
  table.sort(list)
  return list
end

--- The names of the jobs that have a folder here.
function Store:jobs()
  return proper(self.driver:folders "")
end

--- The series of a job.
function Store:series(job)
  return proper(self.driver:folders(check_name("job name", job) .. "/"))
end

local function key_of(job, series, id, object)
  return ("%s%s/%s"):format(folder_of(job, series), check_id(id), check_name("object name", object))
end

--- The text of a small object.
function Store:text(backup, object)
  return self.driver:read(key_of(backup.job, backup.series, backup.id, object))
end

-- The keys of an object's pieces.
local function keys_of(backup, object)
  local keys = {}
  for i, name in ipairs(pieces.names(object)) do
    keys[i] = key_of(backup.job, backup.series, backup.id, name)
  end
  return keys
end

--- The path of an object of a manifest, for programs that must read it at any place; nil: it has none.
function Store:path(backup, object)
  local keys = keys_of(backup, object)
  return #keys == 1 and self.driver:path(keys[1]) or nil
end

--- What the store itself says of an object: { size, sha256 (where it knows it) }; nil: it is not there.
function Store:stat(backup, object)
  local keys, size = keys_of(backup, object), 0
  for _, key in ipairs(keys) do
    local stat = self.driver:stat(key)
    if #keys == 1 or not stat then
      return stat
    end
    size = size + stat.size
  end
  return { size = size }
end

--- The flow source of an object.
function Store:source(backup, object)
  local keys = keys_of(backup, object)
  return self.driver:source(keys[1], #keys)
end

-- ---- writing ------------------------------------------------------------------------------------

local Session = {}
Session.__index = Session

--- The flow sink of a new object, no faster than the store's `rate`. `piece_bytes`: what has more lies
--- in pieces; nil: in one.
function Session:sink(object, piece_bytes)
  local sink = self.driver:sink(self.folder .. check_name("object name", object), piece_bytes)
  sink.limiter = self.limiter
  return sink
end

--- Writes a small object. Raises ALREADY_EXISTS.
function Session:put(object, text)
  self.driver:write(self.folder .. check_name("object name", object), text, true)
end

--- Raises when another run may have taken us for dead, and removed what is here.
function Session:check()
  self.lock:check()
end

-- The manifest comes first: it may be there although publishing it has failed (in the sync of its
-- folder, say), and a backup that can be seen must be whole. Without the lock nothing here is ours.
local function remove(self)
  self.lock:check()
  if self.tried then
    self.driver:remove { self.manifest }
  end
  self.driver:remove_folder(self.folder)
end

--- Removes all that was written, to begin anew.
function Session:clear()
  remove(self)
  self.tried, self.published = false, false
  self.driver:make_folder(self.folder)
end

--- Writes the manifest: from now on the backup exists.
function Session:publish(text)
  self.lock:check()
  self.tried = true
  self.driver:write(self.manifest, text, true)
  self.published = true
end

local CLOSE_MS = 10000 -- less than what a stopped run is given

--- Without a published manifest, removes everything that was written.
function Session:close()
  if self.closed then
    return
  end
  self.closed = true
  core_task.shield(function()
    if not self.published then
      local ok, err = pcall(remove, self)
      if not ok then
        log.warn("%s: could not remove the unfinished %s: %s", self.store.name,
          self.driver:shown(self.folder), err.message)
      end
    end
    self.lock:close()
  end, CLOSE_MS)
end
Session.__close = Session.close

-- What a run that has died may have left: its lock, a half-written manifest, and, when it had not
-- published, its folder. Returns a table: id -> list of half-written manifests.
local function leftovers(driver, folder)
  local names, found = driver:names(folder), {}
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
      table.insert(found[id], partial_of and folder .. name or nil)
    end
  end
  return found
end

local function lock_key(folder, id)
  return ("%s.%s.lock"):format(folder, id)
end

-- Removes what runs that have died had left: whoever holds a lock lives.
local function sweep(driver, folder)
  for id, partials in pairs(leftovers(driver, folder)) do
    local lock <close> = driver:hold(lock_key(folder, id))
    if lock then
      -- Under the lock, for its maker may have published a moment ago.
      if not driver:stat(manifest_key(folder, id)) then
        log.info("removing %s, which a killed run had left", driver:shown(folder .. id))
        driver:remove_folder(("%s%s/"):format(folder, id))
      end
      driver:remove(partials)
    end
  end
end

-- Whether there is a manifest; whoever may only write does not see it.
local function is_published(driver, key)
  local ok, stat = pcall(driver.stat, driver, key)
  if not ok and not errors.is_denied(stat) then
    error(stat, 0)
  end
  return ok and stat ~= nil
end

--- Begins a backup: a session, whose sinks and puts are invisible until publish. Raises ALREADY_EXISTS
--- when there is such a backup, BUSY when somebody else is making it.
function Store:begin(job, series, id)
  local folder, driver = folder_of(job, series), self.driver
  check_id(id)
  driver:make_folder(folder)
  local ok, err = pcall(sweep, driver, folder)
  if not ok and errors.is_denied(err) then
    log.warn("store %s does not let us look, or delete: what killed runs have left there stays",
      self.name)
  elseif not ok then
    error(err, 0)
  end
  local session = setmetatable({ store = self, driver = driver, folder = ("%s%s/"):format(folder, id),
    manifest = manifest_key(folder, id) }, Session)
  if self.options.rate then
    session.limiter = flow.limiter()
    session.limiter:set(units.size(self.options.rate))
  end
  session.lock = driver:hold(lock_key(folder, id))
  if not session.lock then
    errors.raise("BUSY", ("another run is making backup %s"):format(id))
  end
  ok, err = pcall(function()
    if is_published(driver, session.manifest) then
      errors.raise("ALREADY_EXISTS", ("store %s has a backup %s already"):format(self.name, id))
    end
    driver:make_folder(session.folder)
  end)
  if not ok then
    core_task.shield(function() -- nothing was written; whoever comes next must not find it held
      session.lock:close()
    end, CLOSE_MS)
    error(err, 0)
  end
  return session
end

local STALL = "1m"

--- How long it may take nothing.
function Store:stall()
  return self.options.stall or STALL
end

--- Takes a backup out of the store, one that is known to be worth nothing. Raises BUSY.
function Store:remove(backup)
  local folder, driver = folder_of(backup.job, backup.series), self.driver
  local id = check_id(backup.id)
  local lock <close> = driver:hold(lock_key(folder, id))
  if not lock then
    errors.raise("BUSY", ("somebody is at work on backup %s"):format(id))
  end
  driver:remove { manifest_key(folder, id) }
  driver:remove_folder(("%s%s/"):format(folder, id))
end

--- A store of this name, with a driver and the options of mk.store.
function M.new(name, driver, options)
  return setmetatable({ name = name, driver = driver, root = driver.root, options = options or {} },
    Store)
end

return M
