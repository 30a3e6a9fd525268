--- Restoring a backup.
---
--- The stream goes from the store through the decompressor into pg_restore or psql. A database that
--- does not exist (or is to be replaced) is loaded under a working name, and gets its real one only
--- when every byte was the recorded one and the program has ended well; until then, and after any
--- failure, there is no database of that name. Into a database that exists everything is loaded in
--- one transaction.
local compare = require "moonkeep.compare"
local database = require "moonkeep.pg.database"
local errors = require "moonkeep.errors"
local flow = require "moonkeep.flow"
local globals = require "moonkeep.pg.globals"
local load = require "moonkeep.pg.load"
local json = require "moonkeep.core.json"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local merge = require "moonkeep.merge"
local native = require "moonkeep.restore.native"
local pg = require "moonkeep.pg"
local progress = require "moonkeep.restore.progress"
local spec = require "moonkeep.spec"
local working = require "moonkeep.pg.working"

local M = {}

-- What makes less of a database than the whole of it. (schema_only has all of it but the rows.)
local SELECTIONS = { "table", "schema", "exclude_schema", "section", "data_only" }

-- Options of pg_restore that say which rows are restored.
local SELECTING = {}
for option in ([[data-only schema-only section table schema exclude-schema no-data no-schema filter
  index function trigger statistics-only]]):gmatch "%S+" do
  SELECTING[option] = true
end

-- What makes a database other than the backup's.
local LESS = { "schema_only", "no_owner", "no_privileges", "no_comments", "no_tablespaces" }

local function selects(options)
  for _, key in ipairs(SELECTIONS) do
    if options[key] then
      return true
    end
  end
  return false
end

-- Where databases are created, renamed and dropped from: not the one that it is about.
local function connect_admin(server, name)
  if name == "template0" or name == "template1" then
    errors.raise("INVALID", ("%s is the server's own: every new database begins as a copy of it")
      :format(name), { hint = "restore into another database" })
  end
  return server:with({ dbname = name == "postgres" and "template1" or "postgres" }):connect()
end

-- Keys that contradict each other or the backup.
local function check_options(manifest, options)
  local format, found = manifest.dump.format, {}
  local function refuse(key, text)
    found[#found + 1] = { key = key, text = text }
  end
  if manifest.kind == "globals" then
    refuse("backup", "it holds roles and tablespaces: restore a database's backup with globals = " ..
      "true, or follow its RESTORE.txt")
  end
  if options.schema_only and options.data_only then
    refuse("data_only", "data_only and schema_only exclude each other")
  end
  if options.existing == "replace" and selects(options) then
    refuse("existing", "existing = \"replace\" with a selection would leave nothing but the " ..
      "selection; use \"add\" or \"clean\", or another database")
  end
  for _, key in ipairs(options.swap and LESS or {}) do
    if options[key] then
      refuse(key, ("%s does not go with swap, which compares with all that the backup has"):format(key))
    end
  end
  if options.dependencies and not options.table then
    refuse("dependencies", "dependencies goes with table")
  end
  if options.resume and options.on_error == "continue" then
    refuse("resume", "resume does not go with on_error = \"continue\", which leaves what it could not")
  end
  if options.disable_triggers and not options.data_only then
    refuse("disable_triggers", "disable_triggers goes with data_only")
  end
  for _, argument in ipairs(format == "directory" and options.extra or {}) do
    local option = argument:match "^%-%-([%w-]+)"
    if option and SELECTING[option] then
      refuse("extra", ("--%s says which rows are restored, and moonkeep loads them itself: there are " ..
        "keys for that"):format(option))
    end
  end
  if format == "plain" then
    for _, key in ipairs { "no_owner", "no_privileges", "no_comments", "no_tablespaces", "role",
      "jobs", "schema_only", table.unpack(SELECTIONS) } do
      if options[key] then
        refuse(key, ("%s is not possible: a plain dump is SQL, and restored whole; back up with " ..
          "format = \"custom\" for it"):format(key))
      end
    end
    if options.existing == "clean" then
      refuse("existing", "existing = \"clean\" is not possible with a plain dump; use \"replace\"")
    end
    if options.on_error == "continue" then
      refuse("on_error", "on_error = \"continue\" is not possible with a plain dump: psql would " ..
        "report success")
    end
  end
  if #found > 0 then
    spec.report("ctx:restore", found)
  end
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

local function run_property(admin, sql)
  local ok, err = pcall(admin.query, admin, sql)
  if not ok then
    err.message = ("%s (%s)"):format(err.message, sql)
    err.hint = err.hint or "restore as a role that may, or without the database's own owner, " ..
      "settings and grants: properties = false"
    error(err, 0)
  end
end

-- Statements whose roles are missing here are left out, aloud. The comment comes later: until then it
-- marks an unfinished database.
local function apply_properties(admin, name, source, options)
  local exists, missing = {}, {}
  for _, row in ipairs(admin:query "SELECT rolname AS name FROM pg_catalog.pg_roles") do
    exists[row.name] = true
  end
  for _, statement in ipairs(database.statements(source, pg.identifier(name), {
    no_owner = options.no_owner, no_privileges = options.no_privileges, no_comments = true })) do
    if statement.role and not exists[statement.role] then
      missing[statement.role] = true
    else
      run_property(admin, statement.sql)
    end
  end
  for role in pairs(missing) do
    log.warn("there is no role %s here: what it owned, or was granted or set on the database " ..
      "itself, is left out", role)
  end
end

local function create_schemas(target, options)
  local connection <close> = target:connect()
  local names = options.schema or {}
  for _, name in ipairs(type(names) == "table" and names or { names }) do
    connection:query("CREATE SCHEMA IF NOT EXISTS " .. pg.identifier(name))
  end
end

-- What makes it the same restore: what interrupted it may go on.
local function fingerprint(manifest, options, name)
  local same = merge(options, { database = name })
  same.into, same.jobs, same.resume = nil, nil, nil
  local text = manifests.encode(manifest) .. json.encode(same)
  return flow.run({ { kind = "memory", text = text }, { kind = "sha256", label = "sum" } }).sum.result
end

-- The database that an interrupted restore has left, with what is `done` in it; nil: none is of use.
local function find_interrupted(admin, target, id)
  local made = working.find(admin, target.keys.dbname, id)
  if not made then
    log.info("there is no interrupted restore of this kind: beginning a new one")
    return nil
  elseif made.is_loaded then
    log.info("going on with %s, in which everything is loaded", made.name)
    return made
  end
  local connection <close> = target:with({ dbname = made.name }):connect()
  local why
  made.done, why = progress.read(connection)
  if not made.done then
    log.info("beginning anew, for of %s nothing is of use: %s", made.name, why)
    connection:close()
    made:drop()
    return nil
  end
  log.info("going on with %s", made.name)
  return made
end

-- Loads a backup into a database of our own.
local function fill(made, backup, store, target, options)
  local inside = target:with { dbname = made.name }
  create_schemas(inside, options)
  if backup.manifest.dump.format == "directory" then
    native.restore { backup = backup, store = store, target = inside, options = options,
      shown = target, guard = made.admin, done = made.done,
      on_begun = function() made.is_begun = true end }
  else
    load.into(backup, store, inside, options, nil, target)
  end
end

-- A restore that was to go on after errors keeps what it has, under a name that says so.
local function fill_or_keep(made, backup, store, target, options)
  local ok, err = pcall(fill, made, backup, store, target, options)
  if not ok and options.on_error == "continue" and errors.of(err).code == "RESTORE_FAILED" then
    err.hint = ("what could be restored is in the database %s%s"):format(made:keep_incomplete(),
      err.hint and "; " .. err.hint or "")
  end
  if not ok then
    error(err, 0)
  end
end

-- Before the names are changed: what is there must be what was dumped. (A stream of pg_dump's does not
-- say what it has.)
local function check_filled(made, backup, target)
  if backup.manifest.dump.format ~= "directory" then
    log.warn("%s is a stream of pg_dump's, and does not say what it has: nothing is compared",
      backup.id)
    return
  end
  local result = compare.sides(compare.read(backup, target:with { dbname = made.name }))
  local lines = compare.lines(result, { object = true, rows = true })
  if #lines > 0 and result.advisory then
    log.warn("%s\n%s", result.advisory, table.concat(lines, "\n"))
  elseif #lines > 0 then
    made.is_kept = false
    errors.raise("DIFFERENT", ("what was restored is not what %s has: the database %s stays as it is")
      :format(backup.id, target.keys.dbname), { detail = table.concat(lines, "\n") })
  end
end

-- Properties are those of the whole.
local function is_whole(options)
  return options.properties ~= false and not selects(options)
end

-- Takes the mark of an unfinished database away.
local function set_comment(admin, name, source, options)
  local comment = is_whole(options) and not options.no_comments and source.comment
  run_property(admin, ("COMMENT ON DATABASE %s IS %s"):format(pg.identifier(name),
    comment and pg.literal(comment) or "NULL"))
end

-- `id`: the restore's fingerprint; `interrupted`: see find_interrupted.
local function into_new(admin, backup, store, target, options, replaces, id, interrupted)
  local source, name = backup.manifest.source, target.keys.dbname
  local made <close> = interrupted or working.create(admin, name, options.no_tablespaces and
    merge(source, { tablespace = "pg_default" }) or source, id, options.resume)
  if not made.is_loaded then
    fill_or_keep(made, backup, store, target, options)
    made:set_loaded()
  end
  if is_whole(options) then
    apply_properties(admin, made.name, source, options)
  end
  if options.swap then
    check_filled(made, backup, target)
  end
  made:publish(replaces, options.swap)
  set_comment(admin, name, source, options)
end

-- Whether the target exists, and how many objects of its own it has.
local function inspect(admin, target)
  if not admin:value("SELECT 1 FROM pg_catalog.pg_database WHERE datname = $1",
    target.keys.dbname) then
    return false, 0
  end
  local connection <close> = target:connect()
  return true, database.count_objects(connection)
end

-- The same, but refuses to touch what somebody may still need.
local function check_target(admin, target, options)
  local exists, objects = inspect(admin, target)
  if objects > 0 and (options.existing or "refuse") == "refuse" then
    errors.raise("NOT_EMPTY", ("the database %q exists and is not empty (%d objects)"):format(
      target.keys.dbname, objects), { hint = "restore under another name; or say what may be " ..
      "done to it: existing = \"add\", \"clean\" or \"replace\"" })
  end
  return exists, objects
end

--- What a restore would meet, for plans and for consent: { database, exists, objects, major }.
function M.look(options, manifest)
  local name = options.database or manifest.source.database
  local admin <close> = connect_admin(options.into, name)
  local exists, objects = inspect(admin, options.into:with { dbname = name })
  return { database = name, exists = exists, objects = objects, major = admin:major() }
end

--- Restores a backup from its first store and returns the source of the database. `options`: see
--- `restore` in definitions/tables.lua. Raises NOT_EMPTY, PG_VERSION_MISMATCH, CORRUPT,
--- RESTORE_FAILED.
function M.restore(backup, options)
  spec.check("ctx:restore", "restore", options)
  if options.swap then
    options = merge(options, { existing = "replace" })
  end
  local manifest, store = backup.manifest, backup.stores[1]
  check_options(manifest, options)
  local name = options.database or manifest.source.database
  local admin <close> = connect_admin(options.into, name)
  check_version(manifest, admin:major())
  local target, id = options.into:with { dbname = name }, fingerprint(manifest, options, name)
  if options.resume and working.is_published(admin, name, id) then
    log.info("%s had been restored whole when it was interrupted", name)
    set_comment(admin, name, manifest.source, options)
    return target
  end
  local exists, objects = check_target(admin, target, options)
  local is_new = not exists or options.existing == "replace"
  local interrupted = options.resume and is_new and find_interrupted(admin, target, id) or nil
  working.sweep(admin, name)
  if options.globals then
    restore_roles(admin, backup, store)
  end
  log.info("restoring %s into %s", backup.id, tostring(target))
  if is_new then
    into_new(admin, backup, store, target, options, exists, id, interrupted)
  else
    load.into(backup, store, target, options, objects > 0 and options.existing or "empty")
  end
  log.info("restored %s", backup.id)
  return target
end

return M
