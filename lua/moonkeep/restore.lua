--- Restoring into a new database.
---
--- The stream goes from the store through the decompressor into pg_restore. It is loaded under a
--- working name, and gets its real one only when every byte was the recorded one and pg_restore
--- has ended well; until then, and after any failure, there is no database of that name.
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local flow = require "moonkeep.flow"
local host = require "moonkeep.core.host"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local pg = require "moonkeep.pg"
local spec = require "moonkeep.spec"
local tools = require "moonkeep.pg.tools"
local verify = require "moonkeep.verify"

local M = {}

local OPTIONS = {
  into = { type = "any", required = true, check = function(value)
    return not pg.is_source(value) and "must be a server, as mk.pg makes it" or nil
  end },
  database = { type = "string", required = true },
}

local MAX_NAME = 63

local function working_name(name)
  local suffix = "_restoring_" .. host.random(3)
  return name:sub(1, MAX_NAME - #suffix) .. suffix
end

local function create(admin, name, source)
  admin:query(("CREATE DATABASE %s TEMPLATE template0 ENCODING %s LC_COLLATE %s LC_CTYPE %s")
    :format(pg.identifier(name), pg.literal(source.encoding), pg.literal(source.collate),
      pg.literal(source.ctype)))
end

local function load(backup, store, target)
  local manifest = backup.manifest
  local object = manifests.data_object(manifest)
  local conninfo, env = target:for_program()
  local report = flow.run({
    store:source(backup.job, backup.series, backup.id, object.name),
    { kind = "tee",
      { { kind = "sha256", label = "stored" } },
      { { kind = "decode", codec = object.codec },
        { kind = "process", env = env,
          argv = { tools.find("pg_restore", manifest.needs.pg_restore), "--format=custom",
            "--exit-on-error", "--no-password", "--dbname=" .. conninfo } } } },
  }, { title = "restore into " .. tostring(target) })
  verify.check_digest(store, backup, object, report.stored)
end

--- Restores a backup, from its first store, into a new database on the server `into`. Returns the
--- source of that database. Raises ALREADY_EXISTS when there is one of that name.
function M.restore(backup, options)
  spec.check("restore", OPTIONS, options)
  local name = options.database
  local admin <close> = options.into:with({ dbname = "postgres" }):connect()
  if admin:value("SELECT 1 FROM pg_catalog.pg_database WHERE datname = $1", name) then
    errors.raise("ALREADY_EXISTS", ("there is a database %q already"):format(name),
      { hint = "restore under another name, or drop it first: dropdb " .. name })
  end
  local working = working_name(name)
  create(admin, working, backup.manifest.source)
  local renamed = false
  local _ <close> = setmetatable({}, { __close = function()
    if not renamed then
      core_task.shield(function()
        local ok, err = pcall(admin.query, admin,
          ("DROP DATABASE IF EXISTS %s WITH (FORCE)"):format(pg.identifier(working)))
        if not ok then
          log.warn("could not drop the unfinished database %s: %s", working, err.message)
        end
      end, 15000)
    end
  end })
  log.info("restoring %s into %s", backup.id, tostring(options.into:with { dbname = name }))
  load(backup, backup.stores[1], options.into:with { dbname = working })
  admin:query(("ALTER DATABASE %s RENAME TO %s"):format(pg.identifier(working),
    pg.identifier(name)))
  renamed = true
  log.info("restored %s", backup.id)
  return options.into:with { dbname = name }
end

return M
