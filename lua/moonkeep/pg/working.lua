--- Working databases: a restore makes its database under a name of its own, and gives it the real
--- name when all is well. Who restores holds a lock on the name; so what a killed restore has left
--- is known, and dropped by the next one, or gone on with by the same one.
---
--- The comment of such a database is WORKING_MARK with which restore it is of, how far that has come
--- ("loading", "triggers": all but event triggers is there, "loaded"), whether it is to be kept for that
--- restore to go on, and what it is to be:
---
---   moonkeep: a restore in progress: 9f86d0818... loading kept as app
local clock = require "moonkeep.clock"
local core_task = require "moonkeep.core.task"
local database = require "moonkeep.pg.database"
local errors = require "moonkeep.errors"
local host = require "moonkeep.core.host"
local log = require "moonkeep.log"
local pg = require "moonkeep.pg"

local M = {}

local MAX_NAME = 63 -- NAMEDATALEN - 1
-- The first half of the advisory locks that those who restore hold, in the database postgres.
local LOCK_CLASS = 0x6d6b -- "mk"

-- A name of at most MAX_NAME bytes that does not end inside a UTF-8 sequence.
local function name_with(name, suffix)
  local room = MAX_NAME - #suffix
  while room > 0 and #name > room and name:byte(room + 1) & 0xc0 == 0x80 do
    room = room - 1
  end
  return name:sub(1, room) .. suffix
end

-- The server lets go of the lock with the connection.
local function try_lock(admin, name)
  return admin:value("SELECT pg_try_advisory_lock($1, hashtext($2))", LOCK_CLASS, name)
end

local function drop(admin, name)
  admin:query(("DROP DATABASE IF EXISTS %s WITH (FORCE)"):format(pg.identifier(name)))
end

-- The server does not drop a database that has subscriptions. Those of an unfinished one go without a
-- word to the publisher: its slot belongs to the database that was backed up.
local function drop_subscriptions(admin, name)
  local rows = admin:query([[SELECT s.subname AS name
    FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
    WHERE d.datname = $1]], name)
  if #rows == 0 then
    return
  end
  local connection <close> = admin.source:with({ dbname = name }):connect()
  for _, row in ipairs(rows) do
    local subscription = "SUBSCRIPTION " .. pg.identifier(row.name)
    for _, sql in ipairs { "ALTER %s DISABLE", "ALTER %s SET (slot_name = NONE)", "DROP %s" } do
      connection:query(sql:format(subscription))
    end
  end
end

local function drop_unfinished(admin, name)
  if admin:value("SELECT 1 FROM pg_catalog.pg_database WHERE datname = $1 AND datistemplate", name) then
    admin:query(("ALTER DATABASE %s IS_TEMPLATE false"):format(pg.identifier(name)))
  end
  drop_subscriptions(admin, name)
  drop(admin, name)
end

local function rename(admin, from, to)
  admin:query(("ALTER DATABASE %s RENAME TO %s"):format(pg.identifier(from), pg.identifier(to)))
end

-- Whether some restore is at work on it. (Locks belong to the database that their session is in, but
-- all can be seen.)
local function is_held(admin, name)
  return admin:value([[SELECT 1 FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted
    AND classid = $1::oid AND objid = (pg_catalog.hashtext($2)::bigint & 4294967295)::oid
    LIMIT 1]], LOCK_CLASS, name) ~= nil
end

local function mark(self, state)
  return ("%s: %s %s%s as %s"):format(database.WORKING_MARK, self.fingerprint, state,
    self.is_kept and self.is_begun and " kept" or "", self.target)
end

local function parse_mark(text)
  local fingerprint, state, kept, target = text:match "^[^:]*: [^:]*: (%x+) (%l+)( ?%l*) as (.*)$"
  return { fingerprint = fingerprint, state = state, is_kept = kept == " kept", target = target }
end

local function stem(name)
  return name_with(name, "_restoring_......"):match "^(.*)_restoring_%.*$"
end

-- All working databases: { name, is_valid, mark, is_target }. One that a killed restore was still
-- creating has no mark, one that it was dropping is not valid.
local function all_working(admin, target)
  local list = {}
  for _, row in ipairs(admin:query([[SELECT * FROM (SELECT datname AS name,
      datconnlimit <> -2 AS is_valid, pg_catalog.shobj_description(oid, 'pg_database') AS comment
      FROM pg_catalog.pg_database) d
    WHERE pg_catalog.starts_with(coalesce(comment, $1), $1)]], database.WORKING_MARK)) do
    -- Both must say so: the mark alone can be left on a database that is in use.
    local of = row.name:match "^(.*)_restoring_%x%x%x%x%x%x$"
    if of then
      row.mark = row.comment and parse_mark(row.comment)
      row.is_target = not row.mark and of == stem(target) or row.mark and row.mark.target == target
      list[#list + 1] = row
    end
  end
  return list
end

local function is_empty(admin, name)
  local connection <close> = admin.source:with({ dbname = name }):connect()
  return database.count_objects(connection) == 0
end

-- Whether it may be dropped: not what nobody has marked, unless nothing is in it.
local function may_drop(admin, row)
  if row.mark then
    return row.is_target or not row.mark.is_kept
  end
  return row.is_target and (not row.is_valid or is_empty(admin, row.name))
end

local function drop_leftover(admin, row)
  local ok, err = pcall(function()
    if may_drop(admin, row) then
      log.info("dropping %s, which an earlier restore had left", row.name)
      drop_unfinished(admin, row.name)
    end
  end)
  if not ok and errors.of(err).code ~= "PG_ERROR" then
    error(err, 0)
  elseif not ok then
    log.warn("could not drop %s: %s", row.name, err.message)
  end
end

--- Drops the working databases of restores that were killed; those that are kept, only of this target.
function M.sweep(admin, target)
  for _, row in ipairs(all_working(admin, target)) do
    if not is_held(admin, row.name) and try_lock(admin, row.name) then
      drop_leftover(admin, row)
      admin:query("SELECT pg_advisory_unlock($1, hashtext($2))", LOCK_CLASS, row.name)
    end
  end
end

local Working = {}
Working.__index = Working

--- Drops it, unless it was published or is to be gone on with. Called when its block is left.
function Working:close()
  if self.published then
    return
  elseif self.is_kept and self.is_begun then
    log.info("what was restored is kept as %s: the same restore, of %s, with resume = true goes on " ..
      "with it", self.name, self.what)
    return
  end
  self:drop()
end

function Working:drop()
  core_task.shield(function()
    local ok, err = pcall(drop_unfinished, self.admin, self.name)
    if not ok then
      log.warn("could not drop the unfinished database %s: %s", self.name, err.message)
    end
  end, 15000)
end
Working.__close = Working.close

--- Notes how far it has come: see the head of this file.
function Working:set_state(state)
  self.state = state
  self.admin:query(("COMMENT ON DATABASE %s IS %s"):format(pg.identifier(self.name),
    pg.literal(mark(self, state))))
end

--- Notes that there is something to go on with.
function Working:begin()
  self.is_begun = true
  self:set_state(self.state)
end

-- Returns how many there were.
local function end_sessions(admin, name)
  return #admin:query("SELECT pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity " ..
    "WHERE datname = $1 AND usesysid IS NOT NULL", name) -- autovacuum gives way by itself
end

local RENAME_TRIES = 20

-- Renames a database that is in use: its sessions are ended first, and may come back in between.
local function rename_busy(admin, from, to)
  local ok, err
  for _ = 1, RENAME_TRIES do
    end_sessions(admin, from)
    ok, err = pcall(rename, admin, from, to)
    if ok or err.sqlstate ~= "55006" then
      break
    end
    core_task.sleep(50)
  end
  if not ok then
    error(err, 0)
  end
end

--- Gives it the real name. With `replaces` the database that has the name is moved away first, and
--- dropped last, or, with `keeps`, kept: at every moment one of the two is whole.
function Working:publish(replaces, keeps)
  if not replaces then
    rename(self.admin, self.name, self.target)
    self.published = true
    return
  end
  core_task.shield(function() -- between the two renames nobody has the name
    self:replace(keeps)
  end, 30000)
end

function Working:replace(keeps)
  local old = name_with(self.target, keeps and
    "_until_" .. clock.compact():gsub("T", "_"):gsub("Z", "") or "_replaced_" .. host.random(3))
  rename_busy(self.admin, self.target, old)
  local ok, err = pcall(rename, self.admin, self.name, self.target)
  if not ok then
    rename_busy(self.admin, old, self.target)
    error(err, 0)
  end
  self.published = true
  log.info("replaced the database %s%s", self.target, keeps and ", which is kept as " .. old or "")
  if keeps then
    return
  end
  ok, err = pcall(function()
    self.admin:query(("ALTER DATABASE %s IS_TEMPLATE false"):format(pg.identifier(old)))
    drop(self.admin, old)
  end)
  if not ok then
    log.warn("the replaced database is still there, as %s: %s", old, err.message)
  end
end

--- Keeps it under a name that says what it is, and returns that name: for a restore that went on
--- after errors.
function Working:keep_incomplete()
  local name = name_with(self.target, "_incomplete_" .. host.random(3))
  self.admin:query(("COMMENT ON DATABASE %s IS NULL"):format(pg.identifier(self.name)))
  rename(self.admin, self.name, name)
  self.published = true
  return name
end

-- The tablespace that the source's database is in, if there is one of that name here.
local function tablespace(admin, source)
  local name = source.tablespace or "pg_default"
  if name == "pg_default" then
    return ""
  elseif admin:value("SELECT 1 FROM pg_catalog.pg_tablespace WHERE spcname = $1", name) then
    return " TABLESPACE " .. pg.identifier(name)
  end
  log.warn("there is no tablespace %s here: the database is created in the server's default one", name)
  return ""
end

--- Creates one for the real name `target`, with the locale and the tablespace of `source` (a
--- manifest's), on the server of the connection `admin`, which is kept open as long as it lives.
--- `restore`: { fingerprint (which it is of), what (the backup, for messages), is_kept (when it fails,
--- it stays for that to go on), role (who is to own it while it is filled) }.
function M.create(admin, target, source, restore)
  local name = name_with(target, "_restoring_" .. host.random(3))
  if not try_lock(admin, name) then
    errors.raise("BUSY", ("another restore uses %s"):format(name))
  end
  admin:query(("CREATE DATABASE %s %s%s"):format(pg.identifier(name),
    database.create_options(source, admin:major()), tablespace(admin, source)))
  local self = setmetatable({ admin = admin, name = name, target = target, what = restore.what,
    fingerprint = restore.fingerprint, is_kept = restore.is_kept }, Working)
  self:set_state "loading"
  if restore.role then
    admin:query(("ALTER DATABASE %s OWNER TO %s"):format(pg.identifier(name),
      pg.identifier(restore.role)))
  end
  return self
end

local QUIET_TRIES = 600

-- What the killed one had begun, such as an index, its sessions may still be at work on.
local function end_all_sessions(admin, name)
  for _ = 1, QUIET_TRIES do
    if end_sessions(admin, name) == 0 then
      return
    end
    core_task.sleep(50)
  end
  errors.raise("BUSY", ("sessions of %s do not end"):format(name), {
    hint = "see pg_stat_activity for what they do" })
end

local LOCK_TRIES = 100

-- The server may not have noticed yet that who had it is dead.
local function take_lock(admin, name)
  for _ = 1, LOCK_TRIES do
    if not is_held(admin, name) and try_lock(admin, name) then
      return
    end
    core_task.sleep(50)
  end
  errors.raise("BUSY", ("another restore is at work on %s"):format(name), {
    hint = "wait for it; or end its session, if who started it is gone" })
end

--- The one that an interrupted restore (as for M.create) has left, with its `state`; nil: there is
--- none. Raises BUSY; and INTERRUPTED when one of this target is kept for another restore.
function M.find(admin, target, restore)
  local other
  for _, row in ipairs(all_working(admin, target)) do
    local is_same = row.is_target and row.mark and row.mark.fingerprint == restore.fingerprint
    if is_same and row.is_valid then
      take_lock(admin, row.name)
      end_all_sessions(admin, row.name)
      local self = setmetatable({ admin = admin, name = row.name, target = target, is_kept = true,
        is_begun = true, fingerprint = restore.fingerprint, what = restore.what }, Working)
      self:set_state(row.mark.state)
      return self
    elseif row.is_target and row.mark and row.mark.is_kept and row.is_valid then
      other = row.name
    end
  end
  if other then
    errors.raise("INTERRUPTED", ("%s is kept for another restore into %s: of another backup, or with " ..
      "other options"):format(other, target), { hint = "go on with that one, naming its backup by " ..
      "its id; or begin anew, without resume, which drops it" })
  end
end

--- Whether the database of the real name was published by this restore (as for M.create), which was
--- killed before it could take the mark away.
function M.is_published(admin, target, restore)
  local comment = admin:value([[SELECT pg_catalog.shobj_description(oid, 'pg_database')
    FROM pg_catalog.pg_database WHERE datname = $1]], target)
  local is_ours = comment and comment:find(database.WORKING_MARK, 1, true) == 1
  local found = is_ours and parse_mark(comment)
  return found and found.fingerprint == restore.fingerprint and found.state == "loaded" or false
end

return M
