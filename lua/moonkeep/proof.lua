--- Proofs: how much is known of a backup in each of its stores. Each level has all of those before it.
---
---   stored    sizes and checksums are as the store reports them
---   read      every stored byte has been read again         -> verify.lua
---   decoded   everything was decompressed; rows agree       -> verify.lua
---   restored  it was restored into a PostgreSQL of our own, and compared with what was dumped
local adapters = require "moonkeep.restore.adapters"
local compare = require "moonkeep.compare"
local contents = require "moonkeep.restore.contents"
local clock = require "moonkeep.clock"
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local escrow = require "moonkeep.encryption.escrow"
local fs = require "moonkeep.fs"
local host = require "moonkeep.core.host"
local log = require "moonkeep.log"
local needs = require "moonkeep.restore.needs"
local pg = require "moonkeep.pg"
local restores = require "moonkeep.restore"
local scratch = require "moonkeep.pg.scratch"
local stores = require "moonkeep.store"
local units = require "moonkeep.units"
local verify = require "moonkeep.verify"

local M = { LEVELS = require("moonkeep.definitions.tables").LEVELS }

-- ---- restored -----------------------------------------------------------------------------------

-- The roles that a backup names: who owns what (a bootstrap superuser is in no list of those that a
-- database needs), who was granted something.
local function roles_of(backup, store)
  local source, seen = backup.manifest.source, {}
  for _, name in ipairs(source.roles or {}) do
    seen[name] = true
  end
  if source.owner then
    seen[source.owner] = true
  end
  if backup.manifest.dump.format == "directory" then
    needs.add_roles(seen, contents.archive(backup, store).entries)
  end
  return seen
end

-- What the backup needs and a new server has not: roles, tablespaces. The roles may do everything
-- there, for some things belong to superusers only.
local function prepare(cluster, backup, store)
  local source = backup.manifest.source
  local admin <close> = cluster:database("postgres"):connect()
  for name in pairs(roles_of(backup, store)) do
    if not admin:value("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = $1", name) then
      admin:query(("CREATE ROLE %s SUPERUSER"):format(pg.identifier(name)))
    end
  end
  local names = { table.unpack(source.tablespaces or {}) }
  names[#names + 1] = source.tablespace
  for i, name in ipairs(names) do
    if not admin:value("SELECT 1 FROM pg_catalog.pg_tablespace WHERE spcname = $1", name) then
      local folder = ("%s/tablespace-%d"):format(cluster.folder, i)
      fs.mkdir(folder)
      if cluster.user then
        fs.chown(folder, cluster.user)
      end
      admin:query(("CREATE TABLESPACE %s LOCATION %s"):format(pg.identifier(name), pg.literal(folder)))
    end
  end
end

-- Not roles, which have other attributes there.
local COMPARED = { object = true, rows = true, database = true, extension = true }

local function compare_with(backup, restored)
  local result = compare.sides(compare.read(backup, restored))
  local differences = compare.lines(result, COMPARED)
  if #differences > 0 and result.advisory then
    log.warn("%s\n%s", result.advisory, table.concat(differences, "\n"))
  elseif #differences > 0 then
    errors.raise("CORRUPT", ("%s in store %s: what was restored is not what was dumped"):format(
      backup.id, backup.stores[1].name), { detail = table.concat(differences, "\n"), hint =
      "this backup must not be relied on: verify an older one, and look for the cause" })
  end
  log.info("restored %s into a PostgreSQL of its own: %s, %s of %s are those that were dumped",
    backup.id, units.format_count(result.objects, "object"), units.format_count(result.rows, "row"),
    units.format_count(result.tables, "table"))
end

local function restored(backup, store)
  local manifest = backup.manifest
  verify.read(backup, store)
  local here = stores.backup { id = backup.id, job = backup.job, series = backup.series,
    manifest = manifest, stores = { store } }
  verify.unlock(here)
  local cluster <close> = scratch.new { major = manifest.needs.pg_restore,
    settings = adapters.settings(manifest) }
  prepare(cluster, backup, store)
  local database = restores.restore(here, { into = cluster:database "postgres",
    database = manifest.source.database == "postgres" and "restored" or nil }, true)
  if manifest.dump.format == "directory" then
    compare_with(here, database)
  end
end

-- ---- all of them ----------------------------------------------------------------------------------

local PROVERS = { stored = verify.stored, read = verify.read, decoded = verify.decoded,
  restored = restored }

--- A mark in the store, for other machines, and for when the catalog is lost. Who may not write it loses
--- only that. `err`: of what is damaged.
function M.mark(backup, store, name, err)
  local ok, why = pcall(store.mark, store, backup, name, { at = clock.iso(), host = host.name(),
    error = err and err.message })
  if not ok then
    log.warn("what is known of %s could not be written into store %s: %s", backup.id, store.name,
      errors.of(why).message)
  end
end

local OPENS = { decoded = true, restored = true }

local function prove_in(backup, store, level)
  local ok, err = xpcall(PROVERS[level], errors.handler, backup, store)
  if ok then
    M.mark(backup, store, "proof-" .. level)
    if OPENS[level] then
      escrow.note(backup, store)
    end
    log.info("verified %s in %s: %s", backup.id, store.name, level)
    return
  end
  err = errors.of(err)
  if err.code == "CORRUPT" then
    M.mark(backup, store, "damaged", err)
  end
  error(err, 0)
end

--- Proves a backup in each of its stores, and marks it there. `level`: one of LEVELS, which callers
--- have checked. (Of globals nothing can be restored by itself: they are decoded.) Raises CORRUPT and
--- whatever a restore may raise.
function M.prove(backup, level)
  if level == "restored" and backup.manifest.kind == "globals" then
    level = "decoded"
  end
  if PROVERS[level] then
    for _, store in ipairs(backup.stores) do
      prove_in(backup, store, level)
    end
    backup.proof = level
  end
  return backup
end

-- A copy that has just been made and is damaged: others are whole, and `copy` makes it anew.
local function take_back(backup)
  for _, one in ipairs(backup.missing) do
    if one.error.code == "CORRUPT" then
      log.warn("the copy in %s is damaged, and is removed: %s", one.store.name, one.error.message)
      local ok, err = pcall(one.store.remove, one.store, backup)
      if not ok then
        log.warn("it could not be removed: %s", tostring(err))
      end
    end
  end
end

--- The same for a backup that has just been made: a copy that cannot be proved is one less, and goes
--- into `missing`. Raises the first error when none is left.
function M.prove_copies(backup, level)
  local first
  for i = #backup.stores, 1, -1 do
    local store = backup.stores[i]
    local one = stores.backup { id = backup.id, job = backup.job, series = backup.series,
      manifest = backup.manifest, stores = { store } }
    local ok, err = xpcall(M.prove, errors.handler, one, level)
    if ok then
      backup.proof = one.proof or backup.proof
    elseif core_task.canceled() then
      error(err, 0)
    else
      first = errors.explain(errors.of(err))
      table.remove(backup.stores, i)
      table.insert(backup.missing, { store = store, error = first })
    end
  end
  if #backup.stores == 0 then
    error(first, 0)
  end
  take_back(backup)
  return backup
end

return M
