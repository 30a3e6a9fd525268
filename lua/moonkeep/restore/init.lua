--- Restoring a backup.
---
--- A database that does not exist (or is to be replaced) is made under a working name, and gets its
--- real one only when every byte was the recorded one and all went well (new.lua); until then, and
--- after any failure, there is no database of that name. Into a database that exists everything is
--- loaded in one transaction (pg/load.lua).
local adapters = require "moonkeep.restore.adapters"
local catalog = require "moonkeep.catalog"
local clock = require "moonkeep.clock"
local contents = require "moonkeep.restore.contents"
local database = require "moonkeep.pg.database"
local errors = require "moonkeep.errors"
local escrow = require "moonkeep.encryption.escrow"
local globals = require "moonkeep.pg.globals"
local load = require "moonkeep.pg.load"
local log = require "moonkeep.log"
local merge = require "moonkeep.merge"
local needs = require "moonkeep.restore.needs"
local new = require "moonkeep.restore.new"
local options_of = require "moonkeep.restore.options"
local plans = require "moonkeep.restore.plan"
local sessions = require "moonkeep.pg.session"
local spec = require "moonkeep.spec"
local units = require "moonkeep.units"
local verify = require "moonkeep.verify"
local working = require "moonkeep.pg.working"

local M = {}

-- Where databases are created, renamed and dropped from: not the one that it is about.
local function connect_admin(server, name)
  if name == "template0" or name == "template1" then
    errors.raise("INVALID", ("%s is the server's own: every new database begins as a copy of it")
      :format(name), { hint = "restore into another database" })
  end
  -- It waits idle for as long as the restore takes.
  local connection = server:with({ dbname = name == "postgres" and "template1" or "postgres",
    keepalives_idle = server.keys.keepalives_idle or "60" }):connect { patient = true }
  local ok, err = pcall(sessions.pin, connection)
  if not ok then
    connection:close()
    error(err, 0)
  end
  return connection
end

local function check_version(manifest, major)
  local needed = manifest.needs.pg_restore
  if major < needed then
    errors.raise("PG_VERSION_MISMATCH",
      ("the backup is of version %d, the server to restore into is %d"):format(needed, major),
      { hint = ("restore into version %d or newer: older servers do not know all that is in it")
        :format(needed) })
  end
end

local function restore_roles(admin, backup, store)
  local id = backup.manifest.globals
  if not id then
    errors.raise("NOT_FOUND", "the backup has no globals beside it", { hint =
      "back up with dump = { globals = true }, or create the roles first, or restore with " ..
      "no_owner = true, no_privileges = true" })
  end
  local roles = store:backup(backup.job, globals.SERIES, id)
  local created = globals.create_missing(admin, load.text(roles, store))
  log.info(#created > 0 and "created the roles %s" or "all roles exist%s",
    table.concat(created, ", "))
end

-- ---- the target -----------------------------------------------------------------------------------

-- Whether the target exists, how many objects of its own it has, and its bytes.
local function inspect(self)
  local bytes = self.admin:value([[SELECT pg_catalog.pg_database_size(oid)
    FROM pg_catalog.pg_database WHERE datname = $1]], self.name)
  self.exists, self.objects, self.bytes = bytes ~= nil, 0, bytes
  if self.exists then
    local connection <close> = self.target:connect()
    self.objects = database.count_objects(connection)
  end
end

-- Refuses to touch what somebody may still need.
local function check_target(self)
  if self.objects > 0 and (self.options.existing or "refuse") == "refuse" then
    errors.raise("NOT_EMPTY", ("the database %q exists and is not empty (%d objects)"):format(
      self.name, self.objects), { hint = "restore under another name; or say what may be " ..
      "done to it: existing = \"add\", \"clean\" or \"replace\"" })
  end
end

local function check_server(self)
  check_version(self.manifest, self.admin:major())
  if self.admin:value "SELECT pg_catalog.pg_is_in_recovery()" then
    errors.raise("INVALID", ("%s is a standby, which only repeats what its primary does"):format(
      tostring(self.target)), { hint = "restore into the primary" })
  end
end

-- What is to be restored, from the first store of the backup, and what is there.
local function open(backup, options)
  if options.swap then
    options = merge(options, { existing = "replace" })
  end
  options_of.check(backup.manifest, options)
  verify.unlock(backup)
  local manifest, store = backup.manifest, backup.stores[1]
  local name = options.database or manifest.source.database
  local self = { backup = backup, store = store, manifest = manifest, options = options, name = name,
    target = options.into:with { dbname = name }, admin = connect_admin(options.into, name) }
  setmetatable(self, { __close = function() self.admin:close() end })
  local ok, err = pcall(function()
    check_server(self)
    inspect(self)
    self.is_new = not self.exists or options.existing == "replace"
    self.archive = manifest.dump.format == "directory" and contents.chosen(backup, store, options) or nil
  end)
  if not ok then
    self.admin:close()
    error(err, 0)
  end
  return self
end

--- What a restore would do, and whether it could: see restore/plan.lua. Nothing is changed.
function M.plan(backup, options)
  spec.check("ctx:restore", "restore", options)
  local self <close> = open(backup, options)
  return plans.of(self)
end

-- ---- restoring ------------------------------------------------------------------------------------

local function into_existing(self)
  adapters.around(self.target, self.manifest, function()
    load.into(self.backup, self.store, self.target, self.options, self.objects > 0 and
      self.options.existing or "empty")
  end)
end

--- Restores a backup from its first store and returns the source of the database. `options`: see
--- `restore` in definitions/tables.lua; `unrecorded`: it says nothing of how long others will take.
--- Raises NOT_EMPTY, NEEDS_MISSING, PG_VERSION_MISMATCH, CORRUPT, RESTORE_FAILED.
function M.restore(backup, options, unrecorded)
  spec.check("ctx:restore", "restore", options)
  local self <close> = open(backup, options)
  if new.was_published(self) then
    return self.target
  end
  check_target(self)
  needs.check(self)
  plans.warn_of_space(self)
  if options.globals then
    restore_roles(self.admin, backup, self.store)
  end
  log.info("restoring %s%s into %s", options.table and self.archive and
    units.format_count(#self.archive.entries, "entry") .. " of " or "", backup.id, tostring(self.target))
  local began, has_gone_on = clock.monotonic(), false
  if self.is_new then
    has_gone_on = new.restore(self)
  else
    working.sweep(self.admin, self.name)
    into_existing(self)
  end
  log.info("restored %s", backup.id)
  escrow.note(backup, self.store)
  if not unrecorded and not has_gone_on and not options.schema_only and
    not options_of.selects(options) then
    catalog.record_restore(backup, tostring(self.target), (clock.monotonic() - began) / 1000)
  end
  return self.target
end

--- Whether a restore with these options loads all that a backup has, into a database of its own, and
--- fails when it cannot.
function M.is_whole(options)
  return not options_of.selects(options) and not options.schema_only and not options.extra and
    options.on_error ~= "continue" and (options.existing == nil or options.existing == "replace")
end

return M
