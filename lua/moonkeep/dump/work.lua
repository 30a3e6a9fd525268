--- The work of a native dump: which rows go into which objects, as a list of units, biggest first.
---
---   rows     a table, or a range of a big one, as an object of its own
---   pack     small tables as one tar archive, in the order of the table of contents
---   objects  large objects: one that is big, or many small ones as one tar archive
---
--- A big heap table is cut by pages into ranges of about the same size (cuts.lua), so that several
--- connections can read it. (Servers before 14 read the whole table for each range.)
---
--- Every TABLE DATA entry gets the name of its file; one that was cut becomes several entries. The
--- first number that such an entry depends on is one that no entry has, for pg_restore takes the
--- first for its table, and truncates the table before it loads it in parallel: one range would
--- remove the others. Whatever comes after the data depends on all the ranges.
local cuts = require "moonkeep.dump.cuts"
local errors = require "moonkeep.errors"
local merge = require "moonkeep.merge"
local pg = require "moonkeep.pg"

local M = {}

local MIB = 1024 * 1024
-- A table of at most this many bytes is packed. (A member that turns out to have more than 8 MiB as
-- text is left out of the pack, and gets an object of its own.)
local SMALL = 2 * MIB
local PACK_BYTES, PACK_MEMBERS = 64 * MIB, 2000
local RANGES_PER_CONNECTION, MIN_RANGE, MAX_RANGE = 8, 64 * MIB, 4096 * MIB
-- A range costs the server more than a plain COPY of the same rows (by a tenth to a third): a table is
-- cut only if it is larger than so many shares of a connection, for then the others would wait for it.
local SHARES_UNCUT = 1.5
local CUTS_RANGES = 14 -- the first version with a Tid Range Scan

-- ---- tables -------------------------------------------------------------------------------------

local TABLES = [[
  SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
    am.amname AS access_method,
    CASE WHEN c.relkind IN ('r', 'm') THEN pg_catalog.pg_relation_size(c.oid) ELSE 0 END AS heap,
    CASE WHEN c.reltoastrelid <> 0 THEN pg_catalog.pg_relation_size(c.reltoastrelid) ELSE 0 END
      AS toast,
    coalesce((SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum)
      FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
        AND NOT a.attisdropped AND a.attgenerated = ''), '') AS columns,
    -- for the manifest, which is UTF-8 whatever the archive is
    CASE WHEN other.encoding THEN encode(convert_to(n.nspname, 'UTF8'), 'hex') END AS schema_hex,
    CASE WHEN other.encoding THEN encode(convert_to(c.relname, 'UTF8'), 'hex') END AS name_hex
  FROM (SELECT current_setting('client_encoding') <> 'UTF8' AND
      pg_catalog.getdatabaseencoding() <> 'SQL_ASCII' AS encoding) other, pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
  WHERE c.oid = ANY ($1::pg_catalog.oid[])]]

-- Tables of extensions that hold the user's configuration; only the rows of a condition, perhaps.
local CONFIGURATION = [[
  SELECT u.oid::bigint AS oid, u.condition
  FROM pg_catalog.pg_extension e, unnest(e.extconfig, e.extcondition) AS u (oid, condition)]]

local function configuration_of(connection)
  local conditions = {}
  for _, row in ipairs(connection:query(CONFIGURATION)) do
    conditions[row.oid] = row.condition or ""
  end
  return conditions
end

-- What pg_dump does otherwise than we know: then all of it is left to pg_dump.
local function unknown(text, ...)
  errors.raise("NOT_NATIVE", text:format(...))
end

-- The columns as pg_dump names them must be those that we would copy.
local function check_columns(entry, t)
  local expected = t.columns == "" and "  FROM stdin;\n" or (" (%s) FROM stdin;\n"):format(t.columns)
  if not entry.copy then
    unknown("the rows of %s are not written by COPY", entry.name)
  elseif entry.copy:sub(-#expected) ~= expected then
    unknown("the columns of %s are not those that pg_dump has: %s", entry.name, entry.copy)
  end
end

-- A name as UTF-8: from its hex digits, or, in a database that has no encoding, as far as it is.
local function shown(hex, name)
  if hex then
    return (hex:gsub("%x%x", function(byte) return string.char(tonumber(byte, 16)) end))
  elseif utf8.len(name) then
    return name
  end
  return (name:gsub("[\128-\255]", function(byte) return ("\\x%02X"):format(byte:byte()) end))
end

--- The tables whose rows the archive has, in its order: { entry, oid, schema, name, kind, heap,
--- toast, columns, condition, is_configuration, shown = { schema, name } }. Raises NOT_NATIVE for data
--- of an unknown kind.
function M.tables(connection, archive)
  local entries, oids = {}, {}
  for _, entry in ipairs(archive.entries) do
    if entry.has_data and entry.kind == "TABLE DATA" then
      entries[#entries + 1] = entry
      oids[#oids + 1] = entry.oid
    elseif entry.has_data and entry.kind ~= "BLOBS" then
      unknown("there is data of the kind %s", entry.kind)
    end
  end
  local by_oid, tables = {}, {}
  for _, row in ipairs(connection:query(TABLES, "{" .. table.concat(oids, ",") .. "}")) do
    by_oid[row.oid] = row
  end
  local configuration = configuration_of(connection)
  for i, entry in ipairs(entries) do
    local t = by_oid[math.tointeger(tonumber(entry.oid))]
    if not t or t.schema ~= entry.schema or t.name ~= entry.name then
      unknown("the rows of %s are those of another table", entry.name)
    end
    check_columns(entry, t)
    t.entry, t.bytes = entry, t.heap + t.toast
    t.shown = { schema = shown(t.schema_hex, t.schema), name = shown(t.name_hex, t.name) }
    t.is_configuration = configuration[t.oid] ~= nil
    t.condition = t.is_configuration and configuration[t.oid] ~= "" and configuration[t.oid] or nil
    tables[i] = t
  end
  return tables
end

-- ---- SQL ------------------------------------------------------------------------------------------

--- Whether a query is copied, not the table itself.
local function is_query(t)
  return t.condition or t.kind == "f"
end

local function copy_sql(t)
  local name = pg.quoted(t)
  if is_query(t) then
    return ("COPY (SELECT %s FROM %s %s) TO STDOUT"):format(t.columns, name, t.condition or "")
  elseif t.columns == "" then
    return ("COPY %s TO STDOUT"):format(name)
  end
  return ("COPY %s (%s) TO STDOUT"):format(name, t.columns)
end

-- Pages first to last - 1; the last range is open, for the table may have grown since its size was
-- taken.
local function range_sql(t, first, last)
  return ("COPY (SELECT %s FROM ONLY %s WHERE ctid >= '(%d,0)'%s) TO STDOUT"):format(t.columns,
    pg.quoted(t), first, last and (" AND ctid < '(%d,0)'"):format(last) or "")
end

-- ---- units ----------------------------------------------------------------------------------------

local function standard_range(total, jobs)
  if jobs == 1 then
    return MAX_RANGE
  end
  return math.max(MIN_RANGE, math.min(MAX_RANGE, total // (jobs * RANGES_PER_CONNECTION)))
end

-- From how many bytes on a table is cut.
local function standard_cut(total, jobs)
  return math.min(2 * MAX_RANGE, math.max(2 * MIN_RANGE, SHARES_UNCUT * total / jobs))
end

-- How many ranges a table is cut into.
local function count_ranges(t, shape)
  local is_heap = t.kind == "r" and t.access_method == "heap" and t.columns ~= ""
  if shape.major < CUTS_RANGES or not is_heap or is_query(t) or t.bytes < shape.cut_bytes then
    return 1
  end
  local pages = t.heap // shape.block_size
  return math.max(1, math.min(pages, t.bytes // shape.range_bytes))
end

local function add_rows(units, t, unit)
  unit.kind, unit.table, unit.foreign = "rows", t, t.kind == "f"
  unit.stage = { kind = "copy", sql = unit.sql, hash = true, end_mark = true }
  units[#units + 1] = unit
end

local function add_whole(units, t)
  add_rows(units, t, { bytes = t.bytes, file = ("%d.dat"):format(t.oid), sql = copy_sql(t) })
end

local function add_table(units, t, shape)
  local n = count_ranges(t, shape)
  local ranges = n > 1 and cuts.ranges(shape.connection, t, t.heap // shape.block_size, n) or {}
  if #ranges < 2 then
    return add_whole(units, t)
  end
  for i, range in ipairs(ranges) do
    add_rows(units, t, { range = i, bytes = t.bytes * range.share // 1 | 0,
      file = ("%d.%d.dat"):format(t.oid, i),
      sql = range_sql(t, range.first, ranges[i + 1] and ranges[i + 1].first) })
  end
end

--- A table that was left out of its pack.
function M.single(t)
  local units = {}
  add_whole(units, t)
  return units[1]
end

local function add_packs(units, small, jobs)
  local total = 0
  for _, t in ipairs(small) do
    total = total + t.bytes
  end
  local limit = math.min(PACK_BYTES, math.max(4 * MIB, total // (2 * jobs)))
  local n_limit = math.min(PACK_MEMBERS, math.max(100, -(-#small // (2 * jobs))))
  local pack
  for _, t in ipairs(small) do
    if not pack or pack.bytes + t.bytes > limit or #pack.tables == n_limit then
      pack = { kind = "pack", bytes = 0, tables = {}, stage = { kind = "pack", members = {} } }
      units[#units + 1] = pack
    end
    pack.bytes = pack.bytes + t.bytes
    table.insert(pack.tables, t)
    table.insert(pack.stage.members, { ("%d.dat"):format(t.oid), copy_sql(t) })
  end
end

--- The units of these tables. `shape`: { connection, major, jobs, block_size, range_bytes (or nil) }.
function M.units(tables, shape)
  local units, small, total = {}, {}, 0
  for _, t in ipairs(tables) do
    total = total + t.bytes
  end
  shape.cut_bytes = shape.range_bytes and 2 * shape.range_bytes or standard_cut(total, shape.jobs)
  shape.range_bytes = shape.range_bytes or standard_range(total, shape.jobs)
  local small_bytes = math.min(SMALL, shape.range_bytes)
  for _, t in ipairs(tables) do
    if t.bytes <= small_bytes and t.kind ~= "f" then
      small[#small + 1] = t
    else
      add_table(units, t, shape)
    end
  end
  add_packs(units, small, shape.jobs)
  return units
end

--- Biggest first: the last ones to be taken should be short.
function M.sort(units)
  for i, unit in ipairs(units) do
    unit.order = i
  end
  table.sort(units, function(a, b)
    if a.bytes ~= b.bytes then
      return a.bytes > b.bytes
    end
    return a.order < b.order
  end)
end

-- ---- the table of contents --------------------------------------------------------------------------

-- The entries of a table that was cut, and their numbers.
local function cut_entry(entry, files, next_id)
  local entries, ids = {}, {}
  for i, file in ipairs(files) do
    local part = merge(entry, { id = next_id + i, file = file })
    -- the first is a number that no entry has any more
    part.needs = table.move(entry.needs, 1, #entry.needs, 2, { entry.id })
    entries[i], ids[i] = part, part.id
  end
  return entries, ids
end

-- Adds the ranges to what waited for the data, and to what comes after the data of a table.
local function add_ranges(entry, by_data, by_table)
  local added = {}
  for i = #entry.needs, 1, -1 do
    local ids = by_data[entry.needs[i]]
    if ids then
      table.remove(entry.needs, i)
    elseif entry.section == "post-data" then
      ids = by_table[entry.needs[i]]
    end
    for _, id in ipairs(ids or {}) do
      added[id] = true
    end
  end
  local list = {}
  for id in pairs(added) do
    list[#list + 1] = id
  end
  table.sort(list)
  table.move(list, 1, #list, #entry.needs + 1, entry.needs)
end

--- Makes the rows of extensions' tables wait for each other, in order. They may have foreign keys, which
--- exist before the rows do; pg_dump orders the tables but does not say so to pg_restore --jobs.
function M.chain(archive, tables)
  local is_configuration = {}
  for _, t in ipairs(tables) do
    is_configuration[tostring(t.oid)] = t.is_configuration
  end
  local last_oid, last, before = nil, {}, {}
  for _, entry in ipairs(archive.entries) do
    if entry.kind == "TABLE DATA" and is_configuration[entry.oid] then
      if entry.oid ~= last_oid then
        last_oid, last, before = entry.oid, {}, last
      end
      table.move(before, 1, #before, #entry.needs + 1, entry.needs)
      last[#last + 1] = entry.id
    end
  end
end

--- Gives the entries of a directory's archive their files, those of tables that were cut
--- included. `files`: by the number of the data entry, a list.
function M.place(archive, files)
  local entries, by_data, by_table, is_range, max = {}, {}, {}, {}, 0
  for _, entry in ipairs(archive.entries) do
    max = math.max(max, entry.id)
  end
  for _, entry in ipairs(archive.entries) do
    local list = files[entry.id]
    if list and #list > 1 then
      local parts, ids = cut_entry(entry, list, max)
      max = max + #parts
      by_data[entry.id], by_table[entry.needs[1]] = ids, ids
      for _, part in ipairs(parts) do
        is_range[part] = true
        entries[#entries + 1] = part
      end
    else
      entry.file = list and list[1] or entry.file
      entries[#entries + 1] = entry
    end
  end
  if next(by_data) then
    for _, entry in ipairs(entries) do
      if not is_range[entry] then
        add_ranges(entry, by_data, by_table)
      end
    end
  end
  archive.entries = entries
end

return M
