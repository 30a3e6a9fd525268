--- Large objects in a native dump: which units read them, and the lists that pg_restore wants.
---
--- A COPY of pg_largeobject reads them some fourteen times faster than lo_open and lo_read, but
--- only superusers may, as a rule; others get lo_get, object by object.
local M = {}

local BIG = 4 * 1024 * 1024 -- from so many bytes on, an object of the store of its own
local PACK_BYTES, PACK_OBJECTS = 64 * 1024 * 1024, 5000
local PIECE = 256 * 1024    -- of lo_get
local OVERHEAD = 1024       -- of a file in an archive

-- Objects with their sizes, or at most some bytes more.
local READABLE_SIZES = [[
  SELECT m.oid, coalesce((SELECT max(l.pageno) + 1 FROM pg_catalog.pg_largeobject l
    WHERE l.loid = m.oid), 0)::bigint * %d AS bytes FROM pg_catalog.pg_largeobject_metadata m]]
local SIZES = [[
  SELECT s.oid, s.bytes, pg_catalog.lo_close(s.fd) FROM (
    SELECT o.oid, o.fd, pg_catalog.lo_lseek64(o.fd, 0, 2) AS bytes FROM (
      SELECT m.oid, pg_catalog.lo_open(m.oid, 262144) AS fd
      FROM pg_catalog.pg_largeobject_metadata m %s OFFSET 0) o OFFSET 0) s]]

local READABLE_ROWS = [[
  COPY (SELECT m.oid, coalesce(l.pageno, 0)::bigint * %d, coalesce(l.data, '')
    FROM pg_catalog.pg_largeobject_metadata m
    LEFT JOIN pg_catalog.pg_largeobject l ON l.loid = m.oid
    WHERE %s ORDER BY m.oid, l.pageno) TO STDOUT (FORMAT binary)]]
local ROWS = [[
  COPY (SELECT q.oid, q.at, pg_catalog.lo_get(q.oid, q.at, %d) FROM (
    SELECT s.oid, a.at FROM (%s) s,
      LATERAL pg_catalog.generate_series(0::bigint, greatest(s.bytes - 1, 0), %d) AS a (at)
    ORDER BY 1, 2) q) TO STDOUT (FORMAT binary)]]

local BATCHES = [[
  WITH sizes AS MATERIALIZED (%s),
  small AS (SELECT oid, bytes,
      (sum(bytes + %d) OVER (ORDER BY oid))::bigint / %d AS by_size,
      (row_number() OVER (ORDER BY oid) - 1) / %d AS by_count FROM sizes WHERE bytes < %d)
  SELECT min(oid::bigint) AS first, max(oid::bigint) AS last, sum(bytes)::bigint AS bytes
  FROM small GROUP BY by_size, by_count ORDER BY 1]]

local function rows_sql(access, condition)
  if access.readable then
    return READABLE_ROWS:format(access.page_bytes, condition)
  end
  return ROWS:format(PIECE, SIZES:format("WHERE " .. condition), PIECE)
end

local function access_of(connection)
  return {
    readable = connection:value(
      "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_largeobject', 'SELECT')"),
    page_bytes = connection:value "SELECT current_setting('block_size')::int / 4",
  }
end

local function unit(file, bytes, sql, packed, oid)
  return { kind = "objects", file = file, bytes = bytes, packed = packed, oid = oid,
    stage = { kind = "copy", sql = sql } }
end

--- Adds the units that read all large objects.
function M.add_units(units, connection)
  local access = access_of(connection)
  local sizes = access.readable and READABLE_SIZES:format(access.page_bytes) or SIZES:format ""
  local big = {}
  for i, row in ipairs(connection:query(([[WITH sizes AS MATERIALIZED (%s)
    SELECT oid::bigint AS oid, bytes FROM sizes WHERE bytes >= %d]]):format(sizes, BIG))) do
    big[i] = row.oid
    units[#units + 1] = unit(("blob_%d.dat"):format(row.oid), row.bytes,
      rows_sql(access, ("m.oid = %d"):format(row.oid)), false, row.oid)
  end
  local others = #big > 0 and (" AND m.oid <> ALL ('{%s}')"):format(table.concat(big, ",")) or ""
  for i, row in ipairs(connection:query(BATCHES:format(sizes, OVERHEAD, PACK_BYTES, PACK_OBJECTS,
    BIG))) do
    units[#units + 1] = unit(("blobs-%d.tar"):format(i), row.bytes, rows_sql(access,
      ("m.oid BETWEEN %d AND %d%s"):format(row.first, row.last, others)), true)
  end
end

-- The oids of a group, as the text of the entry that has their metadata: since 1.16.
local function group_oids(archive, entry)
  local ids = {}
  for _, id in ipairs(entry.needs) do
    ids[id] = true
  end
  for _, other in ipairs(archive.entries) do
    if ids[other.id] and other.kind == "BLOB METADATA" then
      return other.create
    end
  end
  return ""
end

--- The lists that say which file is which large object, by name: { ["blobs.toc"] = text }.
function M.lists(connection, archive)
  local lists = {}
  for _, entry in ipairs(archive.entries) do
    if entry.kind == "BLOBS" and archive.version[2] >= 16 then
      lists[entry.file] = group_oids(archive, entry):gsub("(%d+)\n?", "%1 blob_%1.dat\n")
    elseif entry.kind == "BLOBS" then
      lists[entry.file] = connection:value [[
        SELECT coalesce(string_agg(oid || ' blob_' || oid || '.dat' || E'\n', '' ORDER BY oid), '')
        FROM pg_catalog.pg_largeobject_metadata]]
    end
  end
  return lists
end

--- Whether the archive has large objects.
function M.is_in(archive)
  for _, entry in ipairs(archive.entries) do
    if entry.kind == "BLOBS" then
      return true
    end
  end
  return false
end

return M
