--- Restoring into a new database: it is filled under a working name (pg/working.lua), gets the
--- properties of the old one, and then its name. With `resume` what an interrupted restore has left is
--- gone on with.
---
--- All functions take the restore, which restore/init.lua makes: { admin, backup, store, manifest,
--- archive, target, name, options, exists }.
local adapters = require "moonkeep.restore.adapters"
local compare = require "moonkeep.compare"
local database = require "moonkeep.pg.database"
local errors = require "moonkeep.errors"
local flow = require "moonkeep.flow"
local json = require "moonkeep.core.json"
local list_of = require "moonkeep.list_of"
local load = require "moonkeep.pg.load"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local merge = require "moonkeep.merge"
local native = require "moonkeep.restore.native"
local options_of = require "moonkeep.restore.options"
local pg = require "moonkeep.pg"
local progress = require "moonkeep.restore.progress"
local working = require "moonkeep.pg.working"

local M = {}

-- ---- the database's properties --------------------------------------------------------------------

local function run_property(admin, sql)
  local ok, err = pcall(admin.query, admin, sql)
  if not ok then
    err.message = ("%s (%s)"):format(err.message, sql)
    err.hint = err.hint or "restore as a role that may, or without the database's own owner, " ..
      "settings and grants: properties = false"
    error(err, 0)
  end
end

-- Properties are those of the whole.
local function has_properties(options)
  return options.properties ~= false and not options_of.selects(options)
end

-- Statements whose roles are missing here are left out, aloud. The comment comes later: until then it
-- marks an unfinished database.
local function apply_properties(self, name)
  local exists, missing, options = {}, {}, self.options
  for _, row in ipairs(self.admin:query "SELECT rolname AS name FROM pg_catalog.pg_roles") do
    exists[row.name] = true
  end
  for _, statement in ipairs(database.statements(self.manifest.source, pg.identifier(name), {
    no_owner = options.no_owner, no_privileges = options.no_privileges, no_comments = true })) do
    if statement.role and not exists[statement.role] then
      missing[statement.role] = true
    else
      run_property(self.admin, statement.sql)
    end
  end
  for role in pairs(missing) do
    log.warn("there is no role %s here: what it owned, or was granted or set on the database " ..
      "itself, is left out", role)
  end
end

-- Takes the mark of an unfinished database away.
local function set_comment(self)
  local comment = has_properties(self.options) and not self.options.no_comments and
    self.manifest.source.comment
  run_property(self.admin, ("COMMENT ON DATABASE %s IS %s"):format(pg.identifier(self.name),
    comment and pg.literal(comment) or "NULL"))
end

-- ---- going on -----------------------------------------------------------------------------------

-- What makes it the same restore: what interrupted it may go on.
local function fingerprint(self)
  local same = merge(self.options, { database = self.name })
  same.into, same.jobs, same.resume = nil, nil, nil
  local text = manifests.encode(self.manifest) .. json.encode(same)
  return flow.run({ { kind = "memory", text = text }, { kind = "sha256", label = "sum" } }).sum.result
end

-- What pg/working.lua has to know of it.
local function working_of(self)
  return { fingerprint = fingerprint(self), what = self.backup.id, is_kept = self.options.resume,
    role = self.options.role }
end

-- What has been `done` in a database that an interrupted restore has left; nil, and why it is of no use.
local function read_done(self, made)
  local connection <close> = self.target:with({ dbname = made.name }):connect()
  if made.state == "loading" then
    return progress.read(connection)
  elseif progress.is_emptied(connection, self.manifest) then
    return nil, "the server crashed since, which empties unlogged tables"
  end
  return {}
end

-- The database that an interrupted restore has left, with what is `done` in it; nil: none is of use.
local function find_interrupted(self, restore)
  local made = working.find(self.admin, self.name, restore)
  if not made then
    log.info("there is no interrupted restore of this kind: beginning a new one")
    return nil
  end
  local why
  made.done, why = read_done(self, made)
  if not made.done then
    log.info("beginning anew, for of %s nothing is of use: %s", made.name, why)
    made:drop()
    return nil
  end
  log.info("going on with %s%s", made.name, made.state == "loaded" and
    ", in which everything is loaded" or "")
  return made
end

--- Whether a restore of these options was killed when all was done but to take the mark away; then it
--- is taken away.
function M.was_published(self)
  if not self.options.resume or not working.is_published(self.admin, self.name, working_of(self)) then
    return false
  end
  log.info("%s had been restored whole when it was interrupted", self.name)
  set_comment(self)
  return true
end

-- ---- filling ------------------------------------------------------------------------------------

local function create_schemas(target, names, role)
  local connection <close> = target:connect()
  if role then
    connection:query("SET ROLE " .. pg.identifier(role))
  end
  for _, name in ipairs(list_of(names)) do
    connection:query("CREATE SCHEMA IF NOT EXISTS " .. pg.identifier(name))
  end
end

local function fill(self, made)
  local inside = self.target:with { dbname = made.name }
  create_schemas(inside, self.options.schema, self.options.role)
  if self.archive then
    native.restore { backup = self.backup, store = self.store, archive = self.archive,
      target = inside, options = self.options, shown = self.target, working = made }
  else
    adapters.around(inside, self.manifest, function()
      load.into(self.backup, self.store, inside, self.options, nil, self.target)
    end)
  end
end

-- A restore that was to go on after errors keeps what it has, under a name that says so.
local function fill_or_keep(self, made)
  local ok, err = pcall(fill, self, made)
  if not ok and self.options.on_error == "continue" and errors.of(err).code == "RESTORE_FAILED" then
    err.hint = ("what could be restored is in the database %s%s"):format(made:keep_incomplete(),
      err.hint and "; " .. err.hint or "")
  end
  if not ok then
    error(err, 0)
  end
end

-- Before the names are changed: what is there must be what was dumped. (A stream of pg_dump's does not
-- say what it has.)
local function check_filled(self, made)
  if not self.archive then
    log.warn("%s is a stream of pg_dump's, and does not say what it has: nothing is compared",
      self.backup.id)
    return
  end
  local result = compare.sides(compare.read(self.backup, self.target:with { dbname = made.name }))
  local lines = compare.lines(result, { object = true, rows = true })
  if #lines > 0 and result.advisory then
    log.warn("%s\n%s", result.advisory, table.concat(lines, "\n"))
  elseif #lines > 0 then
    made.is_kept = false
    errors.raise("DIFFERENT", ("what was restored is not what %s has: the database %s stays as it is")
      :format(self.backup.id, self.name), { detail = table.concat(lines, "\n") })
  end
end

local function create(self, restore)
  local source = self.manifest.source
  return working.create(self.admin, self.name, self.options.no_tablespaces and
    merge(source, { tablespace = "pg_default" }) or source, restore)
end

--- Restores into a new database; one that has the name is replaced by it. Returns whether an interrupted
--- restore was gone on with. Raises what native.restore and load.into do, INTERRUPTED and DIFFERENT.
function M.restore(self)
  local restore = working_of(self)
  local interrupted = self.options.resume and find_interrupted(self, restore) or nil
  working.sweep(self.admin, self.name)
  local made <close> = interrupted or create(self, restore)
  if made.state ~= "loaded" then
    fill_or_keep(self, made)
    made:set_state "loaded"
  end
  if has_properties(self.options) then
    apply_properties(self, made.name)
  end
  if self.options.swap then
    check_filled(self, made)
  end
  made:publish(self.exists, self.options.swap)
  set_comment(self)
  return interrupted ~= nil
end

return M
