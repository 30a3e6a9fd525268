--- Looking a database over after a restore: what it has, how recent that is, and what in it is not
--- sound. It knows nothing of any backup, but can be told what there should be.
---
---   tables     rows, counted, and the latest value of the columns that say when a row was made
---   problems   what is not sound: invalid indexes, constraints that nobody has checked, sequences that
---              are behind their columns, triggers that are off
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local pg = require "moonkeep.pg"
local sessions = require "moonkeep.pg.session"
local verify = require "moonkeep.verify"

local M = { DEFAULT_JOBS = 2 }

-- ---- tables -------------------------------------------------------------------------------------

-- Columns that say when a row was made or changed, by their names; the first of a table counts.
local LATEST = "^(created|inserted|detected|occurred|recorded|logged|updated|modified|changed)" ..
  "(_?(at|on|date|time|timestamp))?$|^(at|ts|time|timestamp|date)$"

local TABLES = [[
  SELECT n.nspname AS schema, c.relname AS name, c.relkind = 'p' AS is_partitioned,
    (SELECT a.attname FROM pg_catalog.pg_attribute a
     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
       AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype)
       AND a.attname ~* $1
     ORDER BY pg_catalog.array_position(ARRAY['c', 'i', 'd', 'o', 'r', 'l', 'u', 'm'],
       left(a.attname, 1)), a.attnum LIMIT 1) AS latest_column
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  ORDER BY pg_catalog.pg_total_relation_size(c.oid) DESC, 1, 2]]

-- One reading of a table for both. (What inherits from a table is a table of its own, but for
-- partitions.)
local function count(connection, t, problems)
  local ok, row = pcall(connection.row, connection, ("SELECT count(*) AS rows, %s AS latest FROM %s%s")
    :format(t.latest_column and ("max(%s)::text"):format(pg.identifier(t.latest_column)) or "NULL",
    t.is_partitioned and "" or "ONLY ", pg.quoted(t)))
  if ok then
    t.rows, t.latest = row.rows, row.latest
    return
  end
  local err = errors.of(row)
  if err.code ~= "PG_ERROR" then
    error(err, 0)
  end
  t.rows = 0
  problems[#problems + 1] = ("%s.%s cannot be counted: %s"):format(t.schema, t.name, err.message)
end

-- ---- what is not sound --------------------------------------------------------------------------

-- Each: SQL of names, and what is wrong with them.
local PROBLEMS = {
  { [[SELECT indexrelid::regclass::text AS name FROM pg_catalog.pg_index
      WHERE NOT indisvalid OR NOT indisready ORDER BY 1]],
    "index %s is not valid: REINDEX INDEX %s" },
  { [[SELECT conrelid::regclass::text AS name, quote_ident(conname) AS part
      FROM pg_catalog.pg_constraint c WHERE NOT convalidated AND conrelid <> 0
        AND to_jsonb(c) ->> 'conenforced' IS DISTINCT FROM 'false' ORDER BY 1, 2]],
    "constraint %2$s of %1$s has not been checked: ALTER TABLE %1$s VALIDATE CONSTRAINT %2$s" },
  { [[SELECT tgrelid::regclass::text AS name, quote_ident(tgname) AS part
      FROM pg_catalog.pg_trigger WHERE tgenabled = 'D' AND NOT tgisinternal ORDER BY 1, 2]],
    "trigger %2$s of %1$s is off" },
  { [[SELECT c.oid::regclass::text AS name FROM pg_catalog.pg_class c
      WHERE c.relkind = 'm' AND NOT c.relispopulated ORDER BY 1]],
    "materialized view %s has no rows: REFRESH MATERIALIZED VIEW %s" },
}

-- %1$s and %2$s stand for the first and the second; %s for the first.
local function fill(text, first, second)
  return (text:gsub("%%(%d?)%$?s", function(which)
    return which == "2" and second or first
  end))
end

local SEQUENCES = [[
  SELECT s.oid::regclass::text AS name, t.oid::regclass::text AS of, quote_ident(a.attname) AS part
  FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S' AND s.relpersistence <> 't'
  JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid
  JOIN pg_catalog.pg_class t ON t.oid = d.refobjid
  JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
    AND d.deptype IN ('a', 'i') AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
    AND q.seqincrement > 0 AND CASE s.relkind WHEN 'S' THEN has_sequence_privilege(s.oid, 'SELECT') END
    AND has_column_privilege(t.oid, a.attnum, 'SELECT')
  ORDER BY 1]]

-- A sequence that is behind its column gives numbers that are taken.
local function check_sequences(connection, problems)
  for _, row in ipairs(connection:query(SEQUENCES)) do
    local highest = connection:value(("SELECT max(%s) FROM %s"):format(row.part, row.of))
    local next_value = connection:value(("SELECT last_value + is_called::int FROM %s"):format(row.name))
    if highest and next_value <= highest then
      problems[#problems + 1] = ("sequence %s gives %d next, but %s.%s has %d: SELECT setval(%s, %d)")
        :format(row.name, next_value, row.of, row.part, highest, pg.literal(row.name), highest)
    end
  end
end

local function find_problems(connection)
  local problems = {}
  for _, problem in ipairs(PROBLEMS) do
    for _, row in ipairs(connection:query(problem[1])) do
      problems[#problems + 1] = fill(problem[2], row.name, row.part)
    end
  end
  check_sequences(connection, problems)
  return problems
end

-- ---- what there should be -----------------------------------------------------------------------

-- Rows of a backup's manifest, partitions summed up under their tables by the database's own catalog.
local ROOTS = [[
  SELECT n.nspname || '.' || c.relname AS name, rn.nspname || '.' || r.relname AS root
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_class r ON r.oid = pg_catalog.pg_partition_root(c.oid)
  JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
  WHERE c.relispartition]]

local function compare_rows(connection, tables, manifest, problems)
  local roots, expected, there = {}, {}, {}
  for _, row in ipairs(connection:query(ROOTS)) do
    roots[row.name] = row.root
  end
  for _, known in ipairs(manifest.tables) do
    local name = known.schema .. "." .. known.name
    name = roots[name] or name
    expected[name] = (expected[name] or 0) + known.rows
  end
  for _, t in ipairs(tables) do
    local name = t.schema .. "." .. t.name
    there[name], t.expected = true, expected[name]
    if t.expected and t.expected ~= t.rows then
      problems[#problems + 1] = ("%s has %d rows, the backup has %d"):format(name, t.rows, t.expected)
    end
  end
  for name, rows in pairs(expected) do
    if not there[name] then
      problems[#problems + 1] = ("%s is missing, of which the backup has %d rows"):format(name, rows)
    end
  end
end

-- ---- all of it ----------------------------------------------------------------------------------

-- Rows that a policy hides are to be an error, not to be missing.
local function connect(source)
  local connection = source:connect { patient = true }
  sessions.pin(connection, { { "row_security", "off" } })
  return connection
end

local function count_all(source, tables, jobs, problems)
  local next_table = 0
  local scope <close> = core_task.scope()
  for _ = 1, math.min(jobs, #tables) do
    scope:spawn(function()
      local connection <close> = connect(source)
      while next_table < #tables do
        next_table = next_table + 1
        count(connection, tables[next_table], problems)
      end
    end)
  end
  scope:join()
end

--- Looks a database over. `options`: backup (whose rows it should have), jobs. Returns { tables = {
--- { schema, name, rows, latest, latest_column, expected }... } biggest first, rows, bytes, problems = {
--- text... } }.
function M.look(source, options)
  options = options or {}
  if options.backup then
    verify.unlock(options.backup)
  end
  if options.backup and not options.backup.manifest.tables then
    errors.raise("UNSUPPORTED", ("%s is a stream of pg_dump's, and does not say what rows it has")
      :format(options.backup.id), { hint = "look the database over without it" })
  end
  local connection <close> = connect(source)
  local tables = connection:query(TABLES, LATEST)
  tables.affected = nil
  local problems = find_problems(connection)
  count_all(source, tables, math.max(1, options.jobs or M.DEFAULT_JOBS), problems)
  local report = { tables = tables, rows = 0, problems = problems,
    bytes = connection:value "SELECT pg_database_size(current_database())" }
  for _, t in ipairs(tables) do
    report.rows, t.is_partitioned = report.rows + t.rows, nil
  end
  if options.backup then
    compare_rows(connection, tables, options.backup.manifest, report.problems)
  end
  return report
end

--- The same; raises CHECK_FAILED with all problems when there are any.
function M.check(source, options)
  local report = M.look(source, options)
  if #report.problems > 0 then
    errors.raise("CHECK_FAILED", ("%s is not as it should be"):format(tostring(source)),
      { detail = table.concat(report.problems, "\n") })
  end
  return report
end

return M
