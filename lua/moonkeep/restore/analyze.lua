--- Statistics of a database that was restored, without which the first queries on it would be planned
--- blindly: ANALYZE over several connections.
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local log = require "moonkeep.log"
local pg = require "moonkeep.pg"

local M = {}

-- Tables and materialized views, those with children together with them, the largest first. But what
-- has a foreign table below it would ask another server: of that its other tables.
local ANALYZED = [[
  WITH RECURSIVE below AS (
    SELECT inhparent AS top, inhrelid AS oid FROM pg_catalog.pg_inherits
    UNION SELECT b.top, i.inhrelid FROM below b JOIN pg_catalog.pg_inherits i ON i.inhparent = b.oid),
  remote AS (
    SELECT DISTINCT b.top FROM below b JOIN pg_catalog.pg_class c ON c.oid = b.oid
    WHERE c.relkind = 'f')
  SELECT n.nspname AS schema, c.relname AS name
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'm', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND c.oid NOT IN (SELECT top FROM remote)
    AND (NOT c.relispartition OR EXISTS (SELECT 1 FROM pg_catalog.pg_inherits i
      WHERE i.inhrelid = c.oid AND i.inhparent IN (SELECT top FROM remote)))
  ORDER BY pg_catalog.pg_relation_size(c.oid) DESC, 1, 2]]

-- A table that cannot be analyzed is there all the same.
local function analyze(connection, t)
  local ok, err = pcall(connection.query, connection, "ANALYZE " .. pg.quoted(t))
  err = not ok and errors.of(err)
  if not ok and err.code ~= "PG_ERROR" then
    error(err, 0)
  elseif not ok then
    log.warn("no statistics of %s.%s: %s", t.schema, t.name, err.message)
  end
end

--- Analyzes all tables. `connect`: gives a connection to the database; `jobs`: so many at a time.
function M.run(connect, jobs)
  local tables
  do
    local connection <close> = connect()
    tables = connection:query(ANALYZED)
  end
  local next_table = 0
  local scope <close> = core_task.scope()
  for _ = 1, math.min(jobs, #tables) do
    scope:spawn(function()
      local connection <close> = connect()
      while next_table < #tables do
        next_table = next_table + 1
        analyze(connection, tables[next_table])
      end
    end)
  end
  scope:join()
end

return M
