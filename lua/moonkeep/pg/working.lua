--- Working databases: a restore makes its database under a name of its own, and gives it the real
--- name when all is well. Who restores holds a lock on the name; so what a killed restore has left
--- is known, and dropped by the next one.
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

--- Drops the working databases of restores that were killed.
function M.sweep(admin)
  local rows = admin:query([[SELECT datname AS name FROM pg_catalog.pg_database
    WHERE pg_catalog.shobj_description(oid, 'pg_database') = $1]], database.WORKING_MARK)
  for _, row in ipairs(rows) do
    -- Both must say so: the mark alone can be left on a database that is in use.
    if row.name:find "_restoring_%x%x%x%x%x%x$" and not is_held(admin, row.name) and
      try_lock(admin, row.name) then
      log.info("dropping %s, which an earlier restore had left", row.name)
      local ok, err = pcall(drop_unfinished, admin, row.name)
      if not ok and errors.of(err).code ~= "PG_ERROR" then
        error(err, 0)
      elseif not ok then
        log.warn("could not drop %s: %s", row.name, err.message)
      end
      admin:query("SELECT pg_advisory_unlock($1, hashtext($2))", LOCK_CLASS, row.name)
    end
  end
end

local Working = {}
Working.__index = Working

--- Drops it, unless it was published. Called when its block is left.
function Working:close()
  if self.published then
    return
  end
  core_task.shield(function()
    local ok, err = pcall(drop_unfinished, self.admin, self.name)
    if not ok then
      log.warn("could not drop the unfinished database %s: %s", self.name, err.message)
    end
  end, 15000)
end
Working.__close = Working.close

local RENAME_TRIES = 20

-- Renames a database that is in use: its sessions are ended first, and may come back in between.
local function rename_busy(admin, from, to)
  local ok, err
  for _ = 1, RENAME_TRIES do
    admin:query("SELECT pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity " ..
      "WHERE datname = $1", from)
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
function M.create(admin, target, source)
  local name = name_with(target, "_restoring_" .. host.random(3))
  if not try_lock(admin, name) then
    errors.raise("BUSY", ("another restore uses %s"):format(name))
  end
  admin:query(("CREATE DATABASE %s %s%s"):format(pg.identifier(name),
    database.create_options(source, admin:major()), tablespace(admin, source)))
  admin:query(("COMMENT ON DATABASE %s IS %s"):format(pg.identifier(name),
    pg.literal(database.WORKING_MARK)))
  return setmetatable({ admin = admin, name = name, target = target }, Working)
end

return M
