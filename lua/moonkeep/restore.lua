--- Restoring into a new database.
---
--- The stream goes from the store through the decompressor into pg_restore. It is loaded under a
--- working name, and gets its real one only when every byte was the recorded one and pg_restore
--- has ended well; until then, and after any failure, there is no database of that name.
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local host = require "moonkeep.core.host"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local pg = require "moonkeep.pg"
local spec = require "moonkeep.spec"
local tools = require "moonkeep.pg.tools"
local verify = require "moonkeep.verify"

local M = {}

local MAX_NAME = 63 -- NAMEDATALEN - 1

local OPTIONS = {
  into = { type = "any", required = true, check = function(value)
    return not pg.is_source(value) and "must be a server, as mk.pg makes it" or nil
  end },
  database = { type = "string", required = true, check = function(name)
    return (#name == 0 or #name > MAX_NAME) and "must have 1 to 63 bytes" or nil
  end },
  no_owner = { type = "boolean" },
  no_privileges = { type = "boolean" },
}

-- Marks a database that is being restored, so that the next restore can tell what a dead one left.
local MARK = "moonkeep: a restore in progress"
-- The first half of the advisory locks that those who restore hold, in the database postgres.
local LOCK_CLASS = 0x6d6b -- "mk"

local function working_name(name)
  local suffix = "_restoring_" .. host.random(3)
  return name:sub(1, MAX_NAME - #suffix) .. suffix
end

-- Whoever restores holds a lock on the working name; the server lets go of it with the connection.
local function try_lock(admin, name)
  return admin:value("SELECT pg_try_advisory_lock($1, hashtext($2))", LOCK_CLASS, name)
end

local function drop(admin, name)
  admin:query(("DROP DATABASE IF EXISTS %s WITH (FORCE)"):format(pg.identifier(name)))
end

-- Drops the working databases of restores that were killed.
local function sweep(admin)
  local rows = admin:query([[SELECT datname AS name FROM pg_catalog.pg_database
    WHERE pg_catalog.shobj_description(oid, 'pg_database') = $1]], MARK)
  for _, row in ipairs(rows) do
    if try_lock(admin, row.name) then
      log.info("dropping %s, which an earlier restore had left", row.name)
      drop(admin, row.name)
      admin:query("SELECT pg_advisory_unlock($1, hashtext($2))", LOCK_CLASS, row.name)
    end
  end
end

local function create(admin, name, source)
  local icu = source.icu and (" LOCALE_PROVIDER icu ICU_LOCALE " .. pg.literal(source.icu_locale))
  admin:query(("CREATE DATABASE %s TEMPLATE template0 ENCODING %s LC_COLLATE %s LC_CTYPE %s%s")
    :format(pg.identifier(name), pg.literal(source.encoding), pg.literal(source.collate),
      pg.literal(source.ctype), icu or ""))
  admin:query(("COMMENT ON DATABASE %s IS %s"):format(pg.identifier(name), pg.literal(MARK)))
end

local function load(backup, store, target, options)
  local manifest = backup.manifest
  local object = manifests.data_object(manifest)
  local conninfo, env = target:for_program()
  local argv = { tools.find("pg_restore", manifest.needs.pg_restore), "--format=custom",
    "--exit-on-error", "--no-password", "--dbname=" .. conninfo }
  argv[#argv + 1] = options.no_owner and "--no-owner" or nil
  argv[#argv + 1] = options.no_privileges and "--no-privileges" or nil
  local report = verify.reading(store, backup, object, {
    store:source(backup.job, backup.series, backup.id, object.name),
    { kind = "tee",
      { { kind = "sha256", label = "stored" } },
      { { kind = "decode", codec = object.codec },
        { kind = "process", env = env, argv = argv } } },
  }, { title = "restore into " .. tostring(target) })
  verify.check_digest(store, backup, object, report.stored)
end

--- Restores a backup, from its first store, into a new database on the server `into`. Returns the
--- source of that database. Raises ALREADY_EXISTS when there is one of that name. `no_owner` and
--- `no_privileges` are pg_restore's: for a server that lacks the roles of the source.
function M.restore(backup, options)
  spec.check("ctx:restore", OPTIONS, options)
  local name = options.database
  local admin <close> = options.into:with({ dbname = "postgres" }):connect()
  if admin:value("SELECT 1 FROM pg_catalog.pg_database WHERE datname = $1", name) then
    errors.raise("ALREADY_EXISTS", ("there is a database %q already"):format(name),
      { hint = "restore under another name, or drop it first: dropdb " .. name })
  end
  sweep(admin)
  local working = working_name(name)
  if not try_lock(admin, working) then
    errors.raise("BUSY", ("another restore uses %s"):format(working))
  end
  create(admin, working, backup.manifest.source)
  local renamed = false
  local _ <close> = setmetatable({}, { __close = function()
    if not renamed then
      core_task.shield(function()
        local ok, err = pcall(drop, admin, working)
        if not ok then
          log.warn("could not drop the unfinished database %s: %s", working, err.message)
        end
      end, 15000)
    end
  end })
  log.info("restoring %s into %s", backup.id, tostring(options.into:with { dbname = name }))
  load(backup, backup.stores[1], options.into:with { dbname = working }, options)
  admin:query(("COMMENT ON DATABASE %s IS NULL"):format(pg.identifier(working)))
  admin:query(("ALTER DATABASE %s RENAME TO %s"):format(pg.identifier(working),
    pg.identifier(name)))
  renamed = true
  log.info("restored %s", backup.id)
  return options.into:with { dbname = name }
end

return M
