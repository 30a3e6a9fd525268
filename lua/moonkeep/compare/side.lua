--- One side of a comparison: a database, which is read as a dump would read it but kept nowhere, or a
--- backup, of which the manifest and the table of contents say the same.
---
---   { shown, major, properties, entries, tables = { [oid's name] = { rows, hash } },
---     large_objects = { count, hash }, roles = { [name] = { [attribute] = text } }, source }
---
--- `tables` are by name; a partitioned table counts as one, under its root, for a restore may put
--- rows into other partitions (hash partitions of an enum); `movable` has those whose rows are other
--- text then. `roles` have attributes only of a database; `source` is nil of a backup.
local contents = require "moonkeep.restore.contents"
local database = require "moonkeep.pg.database"
local errors = require "moonkeep.errors"
local native = require "moonkeep.dump.native"
local sums = require "moonkeep.dump.sums"
local toc_list = require "moonkeep.pg.toc_list"
local verify = require "moonkeep.verify"

local M = {}

-- ---- partitions -----------------------------------------------------------------------------------

-- The parent of each partition, by the names of tables.
local function parents_of(entries)
  local names, parents = {}, {}
  for _, entry in ipairs(entries) do
    names[entry.id] = M.name(entry)
  end
  for child, parent in pairs(toc_list.parents(entries)) do
    parents[names[child]] = names[parent]
  end
  return parents
end

--- "schema.name" of an entry or a table; with quotes where a dot of its own would be ambiguous.
function M.name(thing)
  local schema, name = thing.schema or "", thing.name
  if schema:find(".", 1, true) or name:find(".", 1, true) then
    return ('"%s"."%s"'):format(schema, name)
  end
  return schema .. "." .. name
end

local function root_of(name, parents)
  while parents[name] do
    name = parents[name]
  end
  return name
end

-- The roots whose rows may be in other partitions after a restore, as other text: for partitions need
-- not have their columns in the same order.
local function movable_of(entries, parents)
  local columns, movable = {}, {}
  for _, entry in ipairs(entries) do
    if entry.kind == "TABLE DATA" and (entry.create or ""):find "^%-%- load via partition root" then
      local root = root_of(M.name(entry), parents)
      local order = (entry.copy or ""):match "%(.*%) FROM stdin"
      movable[root] = movable[root] or columns[root] ~= nil and columns[root] ~= order
      columns[root] = order
    end
  end
  return movable
end

-- Adds to a side what is known of its tables.
local function add_tables(side, tables, entries)
  local parents = parents_of(entries)
  side.entries, side.tables, side.movable = entries, {}, movable_of(entries, parents)
  for _, t in ipairs(tables) do
    local name = root_of(M.name(t), parents)
    side.tables[name] = side.tables[name] or sums.new()
    side.tables[name]:add(t)
  end
  return side
end

-- ---- roles ----------------------------------------------------------------------------------------

local ROLES = [[
  SELECT r.rolname AS name, r.rolsuper AS superuser, r.rolinherit AS inherit,
    r.rolcreaterole AS createrole, r.rolcreatedb AS createdb, r.rolcanlogin AS login,
    r.rolreplication AS replication, r.rolbypassrls AS bypassrls, r.rolconnlimit AS connection_limit,
    r.rolvaliduntil AS valid_until, r.rolconfig AS settings,
    (SELECT pg_catalog.string_agg(g.rolname, ', ' ORDER BY g.rolname)
      FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
      WHERE m.member = r.oid) AS member_of
  FROM pg_catalog.pg_roles r, pg_catalog.pg_database d
  WHERE d.datname = current_database() AND (r.oid = d.datdba OR r.oid IN (SELECT s.refobjid
    FROM pg_catalog.pg_shdepend s WHERE s.dbid = d.oid
      AND s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass))]]

-- The attributes of the roles that a database needs, as text.
local function roles_of(connection)
  local roles = {}
  for _, row in ipairs(connection:query(ROLES)) do
    roles[row.name] = {}
    for key, value in pairs(row) do
      roles[row.name][key] = key ~= "name" and tostring(value) or nil
    end
  end
  return roles
end

-- ---- sides ----------------------------------------------------------------------------------------

--- The major version of a database's server.
function M.major(source)
  local connection <close> = source:connect()
  return connection:major()
end

--- Reads a database. `how`: jobs, connections; pg_dump, the major version of the pg_dump that writes the
--- SQL (default: the server's own); lc_monetary, in which money is written (default: the database's).
function M.of_database(source, how)
  local side = { shown = tostring(source), source = source }
  do
    local connection <close> = source:connect()
    side.major, side.properties = connection:major(), database.describe(connection)
    side.roles = roles_of(connection)
  end
  local result = native.dump { source = source, options = how, codec = "none",
    title = "reading " .. side.shown, total = side.properties.bytes }
  side.large_objects, side.lc_monetary = result.large_objects, result.settings.lc_monetary
  return add_tables(side, result.tables, result.archive.entries)
end

--- A backup of the native engine, from its first store. Raises UNSUPPORTED for others, which do not
--- say what their rows are.
function M.of_backup(backup)
  local manifest = backup.manifest
  if manifest.dump.format ~= "directory" then
    errors.raise("UNSUPPORTED", ("%s is a stream of pg_dump's, and does not say what rows it has")
      :format(backup.id), { hint = "restore it, and compare the database; or back up without " ..
      "dump.format" })
  end
  verify.unlock(backup)
  local roles = { [manifest.source.owner or ""] = {} }
  for _, name in ipairs(manifest.source.roles or {}) do
    roles[name] = {}
  end
  return add_tables({ shown = ("backup %s of %s"):format(backup.id, manifest.source.database),
    foreign = manifest.imported ~= nil, major = manifest.needs.pg_restore,
    properties = manifest.source, roles = roles,
    lc_monetary = (manifest.dump.settings or {}).lc_monetary,
    large_objects = manifest.large_objects }, manifest.tables,
    contents.archive(backup, backup.stores[1]).entries)
end

return M
