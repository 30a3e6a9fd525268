--- How backups lie in a store, of whatever kind:
---
---   <job>/job.json                whose the job is: store/identity.lua
---   <job>/opened.json             which private keys work: encryption/escrow.lua
---   <job>/<series>/<id>.json      the manifest: its presence is the backup's existence
---   <job>/<series>/<id>/          its objects, of which large ones lie in pieces (pieces.lua)
---   <job>/<series>/.<id>.lock     held by the run that is making it
---   <job>/<series>/<id>.<mark>    what has become of it since, as JSON: `proof-read` and the like,
---                                 `damaged`, `hold`, `expired`
---
--- What a killed run has left is invisible (it has no manifest), and is removed by the next run of
--- the same series, once the lock shows that its maker is dead. Marks that something has been proved
--- say that there was a manifest, which the store must have lost: then nothing is removed, unless it
--- was to expire.
---
--- Where the bytes are is the driver's business, which is what a new kind of store has to offer.
--- Keys are paths below the store's root; a folder is "" or ends with "/".
---
---   read(key), write(key, text, exclusive, is_mark)  small objects; NOT_FOUND, ALREADY_EXISTS. Marks
---                              are not locked, for they change
---   stat(key)                  { size, sha256 (where the store knows it) }, or nil
---   source(key, n_pieces), sink(key, piece_bytes)
---                              stages of a flow; a sink's object is there, whole, when that ended
---                              well. nil: one piece
---   names(folder)              what is directly below it, objects and folders; {}: it is not there
---   stems(folder)              the same by what is before the first dot of each: see stems of core.fs
---   folders(folder)            the folders among them
---   make_folder(folder)        where folders must be made
---   remove(keys)               objects; those that are not there are no error
---   remove_folder(folder)      with all in it, also what killed uploads into it have left
---   hold(key)                  a closable lock, which closing removes, with check(), which raises when
---                              it may have been lost; nil: another process that lives has it
---   remarks()                  texts for `doctor` (where there are no files)
---   path(key)                  its file on this machine, or nil
---   shown(key)                 what messages call it
---   has_partials               whether a killed write leaves `.NAME.*.partial` beside NAME
local clock = require "moonkeep.clock"
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local flow = require "moonkeep.core.flow"
local host = require "moonkeep.core.host"
local json = require "moonkeep.core.json"
local keys = require "moonkeep.store.keys"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local merge = require "moonkeep.merge"
local names_of = require "moonkeep.names_of"
local pieces = require "moonkeep.store.pieces"
local signatures = require "moonkeep.signature"
local stores = require "moonkeep.store"
local survey = require "moonkeep.store.survey"
local sweeper = require "moonkeep.store.sweep"
local trust = require "moonkeep.trust"
local units = require "moonkeep.units"
local values_of = require "moonkeep.values_of"

local M = {}

local Store = { __name = "moonkeep.Store" }
Store.__index = Store

function Store:__tostring()
  return self.name
end

-- ---- reading ------------------------------------------------------------------------------------

--- The ids of the backups of a series, oldest first.
function Store:list(job, series)
  local ids = {}
  for id in stores.there(self:survey(job, series)) do
    ids[#ids + 1] = id
  end
  return ids
end

--- The manifest of a backup, and its bytes. Raises NOT_FOUND when there is no such backup, CORRUPT when
--- it is damaged, UNTRUSTED when only what is signed is believed, and this is not.
function Store:manifest(job, series, id)
  local text = self:manifest_text(job, series, id)
  local ok, manifest = pcall(manifests.decode, text)
  if not ok then
    if errors.is_error(manifest) then
      manifest.message = ("backup %s in store %s: %s (%s)"):format(id, self.name, manifest.message,
        self.driver:shown(keys.manifest(keys.folder(job, series), id)))
    end
    error(manifest, 0)
  end
  local place = { job = job, series = series, id = id }
  trust.check(self, place, text, manifest, function()
    return self:text(place, signatures.NAME)
  end)
  return manifest, text
end

--- The same as it is stored, every byte.
function Store:manifest_text(job, series, id)
  return self.driver:read(keys.manifest(keys.folder(job, series), keys.check_id(id)))
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
    manifest = (self:manifest(job, series, id)), stores = { self }, proof = "stored" }
end

local function proper(names)
  local list = {}
  for _, name in ipairs(names) do
    list[#list + 1] = name:match(keys.NAME)
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
  return proper(self.driver:folders(keys.folder(job)))
end

--- The text of a small object.
function Store:text(backup, object)
  return self.driver:read(keys.object(backup, object))
end

-- The keys of an object's pieces.
local function keys_of(backup, object)
  local list = {}
  for i, name in ipairs(pieces.names(object)) do
    list[i] = keys.object(backup, name)
  end
  return list
end

--- The path of an object of a manifest, for programs that must read it at any place; nil: it has none.
function Store:path(backup, object)
  local list = keys_of(backup, object)
  return #list == 1 and self.driver:path(list[1]) or nil
end

--- What the store itself says of an object: { size, sha256 (where it knows it) }; nil: it is not there.
function Store:stat(backup, object)
  local list, size = keys_of(backup, object), 0
  for _, key in ipairs(list) do
    local stat = self.driver:stat(key)
    if #list == 1 or not stat then
      return stat
    end
    size = size + stat.size
  end
  return { size = size }
end

--- The flow source of an object.
function Store:source(backup, object)
  local list = keys_of(backup, object)
  return self.driver:source(list[1], #list)
end

-- ---- whose they are -------------------------------------------------------------------------------

-- The table that a small object holds; nil when there is none. Raises CORRUPT when `is_proper` says
-- that it is another one.
local function read_fields(driver, key, is_proper, hint)
  local ok, text = pcall(driver.read, driver, key)
  if not ok and errors.of(text).code == "NOT_FOUND" then
    return nil
  elseif not ok then
    error(text, 0)
  end
  local parsed, fields = pcall(json.decode, text)
  if not parsed or type(fields) ~= "table" or not is_proper(fields) then
    errors.raise("CORRUPT", ("%s is not what moonkeep writes"):format(driver:shown(key)),
      { hint = hint })
  end
  return fields
end

--- What a job's folder says of whose it is (store/identity.lua); nil when it says nothing.
function Store:read_job(job)
  return read_fields(self.driver, keys.beside(job, "job"), function(fields)
    return type(fields.uid) == "string"
  end, "moonkeep adopt writes it anew, if the backups beside it are this job's")
end

--- Another table in the job's folder; nil when there is none. Raises CORRUPT when it is no table.
function Store:read_beside(job, name)
  return read_fields(self.driver, keys.beside(job, name), function() return true end)
end

--- Writes one; with `exclusive` only where there is none: ALREADY_EXISTS.
function Store:write_beside(job, name, fields, exclusive)
  self.driver:make_folder(keys.folder(job))
  -- so that nobody takes what is being written for a dead one's
  local _ <close> = self.driver.has_partials and self.driver:hold(keys.job_lock(job)) or nil
  self.driver:write(keys.beside(job, name), json.encode(fields, true) .. "\n", exclusive, true)
end

-- ---- marks --------------------------------------------------------------------------------------

--- What there is of a series, from one listing: the ids of backups, oldest first, and a list of what
--- there is of each, { is_there (it has a manifest), has_folder, marks = { [mark] = true } }, which is
--- not to be changed.
function Store:survey(job, series)
  return survey(self.driver:stems(keys.folder(job, series)))
end

--- The same by id: { [id] = what there is of it }.
function Store:survey_by_id(job, series)
  local ids, states = self:survey(job, series)
  local by_id = {}
  for i, id in ipairs(ids) do
    by_id[id] = states[i]
  end
  return by_id
end

--- The marks of a backup: { [mark] = true }.
function Store:marks_of(backup)
  local state = self:survey_by_id(backup.job, backup.series)[backup.id]
  return state and state.marks or {}
end

--- Marks a backup; a mark of that name is replaced.
function Store:mark(backup, mark, fields)
  self.driver:write(keys.mark(backup, mark), json.encode(fields) .. "\n", false, true)
end

--- What a mark says; nil when there is none. Raises CORRUPT when it is no mark.
function Store:read_mark(backup, mark)
  return read_fields(self.driver, keys.mark(backup, mark), function() return true end)
end

--- What holds a backup, { until, reason }; nil when nothing does. What cannot be understood holds.
function Store:hold_of(backup)
  local ok, hold = pcall(self.read_mark, self, backup, "hold")
  if ok then
    return hold
  elseif errors.of(hold).code == "CORRUPT" then
    return { reason = "(what it says cannot be read)" }
  end
  error(hold, 0)
end

--- Replaces the small object of that name by another text, which the mark says first: so whoever finds
--- one or the other knows both. `fields` are those of the mark. The backup must be locked.
function Store:replace(backup, object, text, mark, fields)
  local folder = ("%s%s/"):format(keys.folder(backup.job, backup.series), keys.check_id(backup.id))
  for _, name in ipairs(self.driver.has_partials and self.driver:names(folder) or {}) do
    if name:match "^%..*%.partial$" then -- of one that was killed
      self.driver:remove { folder .. name }
    end
  end
  self:mark(backup, mark, fields)
  self.driver:write(keys.object(backup, object), text, false)
end

--- Takes marks away, those that are there.
function Store:unmark(backup, ...)
  local list = {}
  for i, mark in ipairs { ... } do
    list[i] = keys.mark(backup, mark)
  end
  self.driver:remove(list)
end

-- ---- writing ------------------------------------------------------------------------------------

local Session = {}
Session.__index = Session

--- The flow sink of a new object, no faster than the store's `rate`. `piece_bytes`: what has more lies
--- in pieces; nil: in one.
function Session:sink(object, piece_bytes)
  local sink = self.driver:sink(self.folder .. keys.check_name("object name", object), piece_bytes)
  sink.limiter = self.limiter
  return sink
end

--- Writes a small object. Raises ALREADY_EXISTS.
function Session:put(object, text)
  self.driver:write(self.folder .. keys.check_name("object name", object), text, true)
end

--- Writes the mark that says what `key.age` is (encryption/rekey.lua).
function Session:put_key_mark(backup, mark, fields)
  self.key_mark = keys.mark(backup, mark)
  self.store:mark(backup, mark, fields)
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
  if self.key_mark then -- the one that is written before the manifest
    self.driver:remove { self.key_mark }
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

--- Removes what killed runs have left of a series.
function Store:sweep(job, series)
  sweeper.sweep(self.driver, keys.folder(job, series))
end

-- Whether there is a backup; whoever may only write does not see it.
local function is_published(store, backup)
  local ok, is_there = pcall(store.is_there, store, backup)
  if not ok and not errors.is_denied(is_there) then
    error(is_there, 0)
  end
  return ok and is_there
end

--- Begins a backup: a session, whose sinks and puts are invisible until publish. Raises ALREADY_EXISTS
--- when there is such a backup, BUSY when somebody else is making it, and, unless `anew` says that they
--- are to go, REMAINS when there is what is left of one whose manifest the store has lost.
function Store:begin(job, series, id, anew)
  local folder, driver = keys.folder(job, series), self.driver
  keys.check_id(id)
  driver:make_folder(folder)
  if driver.has_partials then
    sweeper.sweep_job(driver, job)
  end
  local ok, left, marks = pcall(sweeper.sweep, driver, folder, id)
  if not ok and errors.is_denied(left) then
    log.warn("store %s does not let us look, or delete: what killed runs have left there stays",
      self.name)
  elseif not ok then
    error(left, 0)
  end
  local session = setmetatable({ store = self, driver = driver, folder = ("%s%s/"):format(folder, id),
    manifest = keys.manifest(folder, id) }, Session)
  if self.options.rate then
    session.limiter = flow.limiter()
    session.limiter:set(units.size(self.options.rate))
  end
  session.lock = driver:hold(keys.lock(folder, id))
  if not session.lock then
    errors.raise("BUSY", ("another run is making backup %s"):format(id))
  end
  local began, err = pcall(function()
    if is_published(self, { job = job, series = series, id = id }) then
      errors.raise("ALREADY_EXISTS", ("store %s has a backup %s already"):format(self.name, id))
    end
    if ok and (left[id] or marks[id]) then
      if not anew and sweeper.was_published(marks[id] or {}) then
        errors.raise("REMAINS", ("store %s has lost the manifest of %s"):format(self.name, id))
      end
      local gone = merge(marks[id] or {})
      gone.hold = nil -- what held it holds what comes
      driver:remove_folder(session.folder)
      driver:remove(left[id] or {})
      driver:remove(values_of(gone))
    end
    driver:make_folder(session.folder)
  end)
  if not began then
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

--- Calls fn(take_out, check_lock), with the backup locked; check_lock() raises when the lock may have
--- been lost; take_out(why) marks it as expired and takes it out of the
--- store: its manifest first, and its marks, but for that one, last. Without a reason it is to come
--- back: it is not marked, and what holds it stays. Raises BUSY.
function Store:locked(backup, fn)
  local folder, driver = keys.folder(backup.job, backup.series), self.driver
  local id = keys.check_id(backup.id)
  local lock <close> = driver:hold(keys.lock(folder, id))
  if not lock then
    errors.raise("BUSY", ("somebody is at work on backup %s"):format(id))
  end
  fn(function(why)
    local marks = merge(backup.marks or self:marks_of(backup))
    marks.expired = nil
    local fields, ok, err = { at = clock.iso(), host = host.name(), reason = why }, true, nil
    if why then
      ok, err = pcall(self.mark, self, backup, "expired", fields)
    else
      marks.hold = nil
    end
    if not ok and errors.of(err).code == "DISK_FULL" then
      -- there is room only when something has gone; without its other marks, what is left of it is a
      -- killed run's
      self:unmark(backup, table.unpack(names_of(marks)))
    elseif not ok then
      error(err, 0)
    end
    lock:check()
    driver:remove { keys.manifest(folder, id) }
    driver:remove_folder(("%s%s/"):format(folder, id))
    self:unmark(backup, table.unpack(names_of(marks)))
    if not ok then
      self:mark(backup, "expired", fields)
    end
  end, function() lock:check() end)
end

--- Takes a backup out of the store, one that is known to be worth nothing: a better one is to come.
--- Should it not, its marks that are left say that one is missing here. Raises BUSY.
function Store:remove(backup)
  self:locked(backup, function(take_out)
    take_out()
  end)
end

--- Whether there is this backup.
function Store:is_there(backup)
  return self.driver:stat(keys.manifest(keys.folder(backup.job, backup.series), backup.id)) ~= nil
end

--- What there is to say of the place: texts that go on after the store's name.
function Store:remarks()
  return self.driver.remarks and self.driver:remarks() or {}
end

--- A store of this name, with a driver and the options of mk.store.
function M.new(name, driver, options)
  return setmetatable({ name = name, driver = driver, root = driver.root, options = options or {} },
    Store)
end

return M
