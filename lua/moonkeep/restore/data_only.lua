--- Rows alone, into tables that are there and in use: in the order that their foreign keys want; on
--- request into tables that are emptied first, without their triggers, and with the foreign keys made
--- anew, and so checked, when all rows are there. All of it is part of the one transaction that loads
--- the rows: SQL that comes first and last in the archive that pg_restore is given.
local contents = require "moonkeep.restore.contents"
local pg = require "moonkeep.pg"
local sessions = require "moonkeep.pg.session"
local toc = require "moonkeep.pg.toc"

local M = {}

-- ---- SQL around the rows --------------------------------------------------------------------------

-- The tables of these names that the database has, with the partitioned ones above them.
local TABLES = [[
  WITH loaded AS (
    SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE (pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)) = ANY ($1)),
  above AS (
    SELECT oid FROM loaded UNION
    SELECT a.relid FROM loaded l, pg_catalog.pg_partition_ancestors(l.oid) a) ]]

-- TRUNCATE wants all that refer to a table to be emptied with it, also partitioned tables; those all of
-- whose partitions are loaded can be.
local TRUNCATED = TABLES .. [[
  SELECT string_agg(CASE relkind WHEN 'p' THEN '' ELSE 'ONLY ' END || oid::regclass, ', ') AS list
  FROM pg_catalog.pg_class c
  WHERE oid IN (SELECT oid FROM loaded) OR relkind = 'p' AND oid IN (SELECT oid FROM above)
    AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_partition_tree(c.oid)
      WHERE isleaf AND relid NOT IN (SELECT oid FROM loaded))]]

local FOREIGN_KEYS = TABLES .. [[
  SELECT pg_catalog.quote_ident(conname) AS name, conrelid::regclass::text AS of,
    pg_catalog.pg_get_constraintdef(oid) AS definition,
    pg_catalog.obj_description(oid, 'pg_constraint') AS comment
  FROM pg_catalog.pg_constraint
  WHERE contype = 'f' AND conparentid = 0 AND (conrelid IN (SELECT oid FROM above)
    OR confrelid IN (SELECT oid FROM above)) ORDER BY 2, 1]]

local TRIGGERS = TABLES .. [[
  SELECT pg_catalog.quote_ident(tgname) AS name, tgrelid::regclass::text AS of, tgenabled AS enabled
  FROM pg_catalog.pg_trigger t
  WHERE tgenabled <> 'D' AND tgrelid IN (SELECT oid FROM loaded) AND (NOT tgisinternal OR EXISTS (
    -- before 15, what a partition has of its parent's
    SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_trigger'::regclass AND d.objid = t.oid
      AND d.refclassid = 'pg_trigger'::regclass)) ORDER BY 2, 1]]

local ENABLE = { O = "ENABLE", R = "ENABLE REPLICA", A = "ENABLE ALWAYS" }

-- A parameter for text[].
local function array(names)
  local quoted = {}
  for i, name in ipairs(names) do
    quoted[i] = '"' .. name:gsub('[\\"]', "\\%0") .. '"'
  end
  return "{" .. table.concat(quoted, ",") .. "}"
end

local function add_triggers(around, connection, names)
  for _, row in ipairs(connection:query(TRIGGERS, names)) do
    table.insert(around.before, ("ALTER TABLE %s DISABLE TRIGGER %s"):format(row.of, row.name))
    table.insert(around.after, ("ALTER TABLE %s %s TRIGGER %s"):format(row.of, ENABLE[row.enabled],
      row.name))
  end
end

local function add_foreign_keys(around, connection, names)
  for _, row in ipairs(connection:query(FOREIGN_KEYS, names)) do
    table.insert(around.before, ("ALTER TABLE %s DROP CONSTRAINT %s"):format(row.of, row.name))
    table.insert(around.after, ("ALTER TABLE %s ADD CONSTRAINT %s %s"):format(row.of, row.name,
      row.definition))
    if row.comment then
      table.insert(around.after, ("COMMENT ON CONSTRAINT %s ON %s IS %s"):format(row.name, row.of,
        pg.literal(row.comment)))
    end
  end
end

local function names_of(archive, connection)
  local list, seen = {}, {}
  for _, entry in ipairs(archive.entries) do
    local name = entry.kind == "TABLE DATA" and entry.has_data and
      connection:value("SELECT quote_ident($1) || '.' || quote_ident($2)", entry.schema, entry.name)
    if name and not seen[name] then
      seen[name], list[#list + 1] = true, name
    end
  end
  return list
end

--- Whether a restore's options ask for more than rows in order.
function M.is_asked(options)
  return options.truncate or options.disable_triggers or options.foreign_keys == "after"
end

-- The statements before and after the rows of an archive's tables: { before, after }.
local function around_rows(archive, connection, options)
  local around = { before = {}, after = {} }
  connection:query "SET search_path = ''"
  sessions.set(connection, "client_encoding", toc.encoding(archive) or "UTF8")
  local names = array(names_of(archive, connection))
  if options.disable_triggers then
    add_triggers(around, connection, names)
  end
  if options.foreign_keys == "after" then
    add_foreign_keys(around, connection, names)
  end
  local truncated = options.truncate and connection:value(TRUNCATED, names)
  if truncated then
    table.insert(around.before, "TRUNCATE " .. truncated)
  end
  if #around.after > 0 then -- what is deferred would be in the way
    table.insert(around.after, 1, "SET CONSTRAINTS ALL IMMEDIATE")
  end
  return around
end

-- ---- the archive ----------------------------------------------------------------------------------

-- What pg_restore --data-only would restore.
local OBJECTS = { BLOB = true, ["BLOB METADATA"] = true, BLOBS = true }

local function is_data(entry)
  return OBJECTS[entry.kind] or entry.section == "data" and (entry.has_data or
    entry.kind ~= "TABLE DATA") or entry.name:find "^LARGE OBJECTS? " ~= nil
end

local function statement(id, section, sql)
  return { id = id, has_data = false, catalog = "0", oid = "0", name = "around the rows",
    kind = "MOONKEEP", section = section, create = sql .. ";\n", drop = "", relkind = 0, owner = "",
    with_oids = "false", needs = {} }
end

-- Adds statements to a list of entries. Returns the last number.
local function add_statements(entries, section, list, last)
  for _, sql in ipairs(list) do
    last = last + 1
    entries[#entries + 1] = statement(last, section, sql)
  end
  return last
end

--- Leaves only what has to do with rows in an archive (as the option `data_only` does for pg_restore),
--- and puts around them what is asked for, after the database of the connection.
function M.put_around(archive, connection, options)
  local kept, entries, last = {}, {}, 0
  for _, entry in ipairs(archive.entries) do
    kept[#kept + 1] = is_data(entry) and contents.is_chosen(entry, options) and entry or nil
    last = math.max(last, entry.id)
  end
  toc.reduce(archive, kept)
  local around = around_rows(archive, connection, options)
  last = add_statements(entries, "pre-data", around.before, last)
  table.move(archive.entries, 1, #archive.entries, #entries + 1, entries)
  add_statements(entries, "post-data", around.after, last)
  archive.entries = entries
end

return M
