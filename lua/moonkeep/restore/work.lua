--- The work of a restore's rows: which object is loaded into which tables, as a list of units, in the
--- order of the backup's objects, which is biggest first.
---
---   rows     an object that is one table's, or a range of one
---   pack     an object that has the rows of several small tables
---   objects  an object of large objects
---
--- A table whose rows need another table's to be there first (those of extensions may: their
--- foreign keys exist before their rows) is a unit of its own, also from a pack, and waits.
local errors = require "moonkeep.errors"
local pg = require "moonkeep.pg"
local sums = require "moonkeep.dump.sums"
local toc_list = require "moonkeep.pg.toc_list"

local M = {}

-- The names in a table of contents have no suffix of a codec.
local function file_of(part)
  return part.member or part.object:match "^.*%.dat"
end

--- What the manifest says of each file of the table of contents: { object, member, rows, sum }.
function M.parts_of(manifest)
  local parts = {}
  for _, known in ipairs(manifest.tables) do
    for _, part in ipairs(known.parts) do
      parts[file_of(part)] = { object = part.object, member = part.member, rows = part.rows,
        sum = sums.text(part) }
    end
  end
  return parts
end

-- ---- SQL ------------------------------------------------------------------------------------------

-- The table is one that this restore has created, so nobody else sees it, and no other entry has
-- rows for it: then it may be truncated and its rows frozen.
local function is_ours(entry, by_id, n_files)
  for _, id in ipairs(entry.needs) do
    local needed = by_id[id]
    if needed and needed.kind == "TABLE" and needed.schema == entry.schema and
      needed.name == entry.name then
      return n_files[id] == 1 and not (entry.create or ""):find "^%-%- load via partition root"
    end
  end
  return false
end

local function copy_sql(entry, is_frozen)
  local head = (entry.copy or ""):match "^(COPY .*)FROM stdin;\n$"
  if not head then
    errors.raise("UNSUPPORTED", ("the rows of %s are not written by COPY"):format(entry.name))
  end
  return head .. (is_frozen and "FROM STDIN WITH (FREEZE)" or "FROM STDIN")
end

-- How many data entries each table has, by the number of its entry.
local function count_files(rows, by_id)
  local n = {}
  for _, entry in ipairs(rows) do
    for _, id in ipairs(entry.kind == "TABLE DATA" and entry.needs or {}) do
      if by_id[id] and by_id[id].kind == "TABLE" then
        n[id] = (n[id] or 0) + 1
      end
    end
  end
  return n
end

-- ---- units ----------------------------------------------------------------------------------------

-- The entries whose rows wait for others', or are waited for.
local function chained(rows)
  local is_row, found = {}, {}
  for _, entry in ipairs(rows) do
    is_row[entry.id] = true
  end
  for _, entry in ipairs(rows) do
    for _, id in ipairs(entry.needs) do
      if is_row[id] then
        found[entry.id], found[id] = true, true
      end
    end
  end
  return found
end

-- Of a pack, so many tables are truncated in its transaction, for each takes three locks of those that
-- a server has some thousands of.
local MAX_FROZEN = 200

local function new_table(unit, entry, part, by_id, n_files, is_chained)
  local is_frozen = not is_chained and #unit.tables < MAX_FROZEN and is_ours(entry, by_id, n_files)
  return { entry = entry, name = (entry.schema or "") .. "." .. entry.name, rows = part.rows,
    sum = part.sum, member = part.member, sql = copy_sql(entry, is_frozen),
    truncate = is_frozen and pg.quoted(entry) or nil }
end

-- The units by object; a pack has one for all of its tables that wait for nobody.
local function table_units(rows, created, manifest)
  local by_id = {}
  for _, entry in ipairs(created) do
    by_id[entry.id] = entry
  end
  local parts, n_files, waits = M.parts_of(manifest), count_files(rows, by_id), chained(rows)
  local units, packs = {}, {}
  for _, entry in ipairs(rows) do
    local part = entry.kind == "TABLE DATA" and parts[entry.file]
    if entry.kind == "TABLE DATA" and not part then
      errors.raise("CORRUPT", ("the manifest is damaged: it does not know the rows of %s"):format(
        entry.name))
    end
    local unit = part and not waits[entry.id] and packs[part.object]
    if part and not unit then
      unit = { kind = part.member and "pack" or "rows", object = part.object, tables = {} }
      units[#units + 1] = unit
      if part.member and not waits[entry.id] then
        packs[part.object] = unit
      end
    end
    if part then
      table.insert(unit.tables, new_table(unit, entry, part, by_id, n_files,
        waits[entry.id]))
    end
  end
  return units
end

local function add_large_objects(units, rows, manifest)
  local is_wanted = false
  for _, entry in ipairs(rows) do
    is_wanted = is_wanted or entry.kind == "BLOBS"
  end
  for _, object in ipairs(is_wanted and manifest.objects or {}) do
    if object.role == "objects" then
      local oid = object.name:match "^blob_(%d+)"
      units[#units + 1] = { kind = "objects", object = object.name, packed = not oid,
        oid = oid and math.tointeger(tonumber(oid)), tables = {} }
    end
  end
end

--- The units of the wanted entries `rows`, each { kind, object (as the manifest has it), tables = {
--- { entry, name, rows, sum, member, sql, truncate }... }, needs = { id... } }. `created`: the entries
--- that this restore creates. Raises CORRUPT, UNSUPPORTED.
function M.units(rows, created, manifest)
  local units, order = table_units(rows, created, manifest), {}
  add_large_objects(units, rows, manifest)
  for i, object in ipairs(manifest.objects) do
    order[object.name] = { i, object }
  end
  for i, unit in ipairs(units) do
    local place = order[unit.object]
    if not place then
      errors.raise("CORRUPT", ("the manifest is damaged: it has no object %s"):format(unit.object))
    end
    unit.order, unit.object, unit.needs = place[1] * #units + i, place[2], {}
    for _, t in ipairs(unit.tables) do
      table.move(t.entry.needs, 1, #t.entry.needs, #unit.needs + 1, unit.needs)
    end
  end
  table.sort(units, function(a, b) return a.order < b.order end)
  return units
end

-- ---- indexes --------------------------------------------------------------------------------------

local INDEXES = { INDEX = true, CONSTRAINT = true }

-- Tables that are neither partitioned nor partitions: what locks those locks more than them.
local function plain_tables(archive)
  local plain, parents = {}, toc_list.parents(archive.entries)
  for _, entry in ipairs(archive.entries) do
    plain[entry.id] = entry.kind == "TABLE" and not parents[entry.id] and
      not toc_list.may_have_partitions(entry) or nil
  end
  return plain
end

-- The only table of an index that needs nothing but what is there before the rows; nil: it has none.
local function table_of(index, plain, is_there)
  local found
  for _, id in ipairs(index.needs) do
    if plain[id] and not found then
      found = id
    elseif not is_there[id] then
      return nil
    end
  end
  return found
end

--- Indexes (and unique constraints) that may be built as soon as the rows of their table are there,
--- while others are still being loaded, as units { kind = "index", entry, tables = {}, needs = { id...
--- } }, in the order in which their tables come. `steps`: see contents.lua; `units`: of the rows.
function M.index_units(archive, steps, units)
  local plain, is_there, data_of, list = plain_tables(archive), {}, {}, {}
  for _, entry in ipairs(steps.before) do
    is_there[entry.id] = true
  end
  for i, unit in ipairs(units) do
    for _, t in ipairs(unit.tables) do
      for _, id in ipairs(t.entry.needs) do
        data_of[id] = data_of[id] or { order = i }
        table.insert(data_of[id], t.entry.id)
      end
    end
  end
  for _, entry in ipairs(steps.indexes) do
    local id = INDEXES[entry.kind] and table_of(entry, plain, is_there)
    local data = id and data_of[id]
    list[#list + 1] = data and { kind = "index", entry = entry, tables = {}, needs = data,
      order = data.order } or nil
  end
  table.sort(list, function(a, b)
    return a.order < b.order or a.order == b.order and a.entry.id < b.entry.id
  end)
  return list
end

-- ---- what waits -----------------------------------------------------------------------------------

--- The rows that have not been restored yet, of these units: a set of the numbers of their entries.
function M.pending(units)
  local pending = {}
  for _, unit in ipairs(units) do
    for _, t in ipairs(unit.tables) do
      pending[t.entry.id] = true
    end
  end
  return pending
end

--- Whether a unit waits for none of them.
function M.is_ready(unit, pending)
  for _, id in ipairs(unit.needs) do
    if pending[id] then
      return false
    end
  end
  return true
end

--- Takes a unit's rows out of them.
function M.done(unit, pending)
  for _, t in ipairs(unit.tables) do
    pending[t.entry.id] = nil
  end
end

return M
