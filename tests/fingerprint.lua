--- An oracle for tests, independent of moonkeep.compare: the number of rows of every table, and the
--- sum of a 64-bit hash of every row's text, which the servers compute themselves.
local pg = require "moonkeep.pg"

local M = {}

-- What the text form of values depends on.
local SETTINGS = [[
  SET search_path = ''; SET datestyle = 'ISO'; SET intervalstyle = 'postgres';
  SET timezone = 'UTC'; SET bytea_output = 'hex'; SET extra_float_digits = 3;
  SET quote_all_identifiers = off; SET row_security = off]]

-- The alias that stands for the whole row. A column of the same name would shadow it, so it is one
-- that no column has.
local ROW = '"moonkeep: the whole row of a table"'

local TABLES = [[
  SELECT n.nspname AS schema, c.relname AS name
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  ORDER BY 1, 2]]

--- Counts and hashes of every table, in one snapshot: { ["public.users"] = { rows, hash } }.
--- Partitioned tables are taken as a whole.
function M.of(source)
  local connection <close> = source:connect()
  connection:query(SETTINGS)
  return connection:transaction({ isolation = "repeatable read", read_only = true }, function()
    local tables = {}
    for _, t in ipairs(connection:query(TABLES)) do
      local row = connection:row(([[
        SELECT count(*) AS rows,
               coalesce(sum(pg_catalog.hashtextextended(%s::text, 0)::numeric), 0)::text AS hash
        FROM %s.%s AS %s]]):format(ROW, pg.identifier(t.schema), pg.identifier(t.name), ROW))
      tables[t.schema .. "." .. t.name] = row
    end
    return tables
  end)
end

--- Compares two fingerprints. Returns the number of tables and of rows when they are equal,
--- otherwise nil and a list of differences as text.
function M.compare(a, b)
  local differences, n_tables, n_rows = {}, 0, 0
  for name, left in pairs(a) do
    local right = b[name]
    n_tables, n_rows = n_tables + 1, n_rows + left.rows
    if not right then
      differences[#differences + 1] = name .. " is missing"
    elseif left.rows ~= right.rows then
      differences[#differences + 1] = ("%s has %d rows, not %d"):format(name, right.rows, left.rows)
    elseif left.hash ~= right.hash then
      differences[#differences + 1] = name .. " has the same number of rows, but other content"
    end
  end
  for name in pairs(b) do
    if not a[name] then
      differences[#differences + 1] = name .. " is new"
    end
  end
  if #differences > 0 then
    table.sort(differences)
    return nil, differences
  end
  return n_tables, n_rows
end

return M
