--- What of a restore has been done, kept in the database that it makes: a row for each unit of rows in
--- the transaction that loads it, and one for each entry that comes after the rows in the transaction
--- that creates it. So a restore that was interrupted goes on exactly where it was.
---
---   moonkeep_restore.progress   done: "unit 3 17.dat", "entry 215"; sum: of large objects
---   moonkeep_restore.witness    unlogged, one row: a server that crashes empties it, and with it all
---                               unlogged tables that had been loaded
local merge = require "moonkeep.merge"
local pg = require "moonkeep.pg"

local M = {}

local SCHEMA = "moonkeep_restore"
local PROGRESS, WITNESS = SCHEMA .. ".progress", SCHEMA .. ".witness"
local INSERT = "INSERT INTO " .. PROGRESS .. " VALUES "

--- Creates it, and waits until that, and so all before it, is on the server's disk. `role`: who may
--- write it, too.
function M.begin(connection, role)
  connection:transaction(function()
    connection:query "SET LOCAL synchronous_commit = on"
    connection:query(([[CREATE SCHEMA %s; CREATE TABLE %s (done text PRIMARY KEY, sum text);
      CREATE UNLOGGED TABLE %s AS SELECT true AS here]]):format(SCHEMA, PROGRESS, WITNESS))
    if role then
      role = pg.identifier(role)
      connection:query(("GRANT USAGE ON SCHEMA %s TO %s; GRANT SELECT, INSERT ON %s TO %s"):format(
        SCHEMA, role, PROGRESS, role))
    end
  end)
end

local HAS_UNLOGGED = [[
  SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n
    ON n.oid = c.relnamespace WHERE c.relpersistence = 'u' AND n.nspname <> $1)]]

--- What has been done: { [done] = sum or "" }; or nil, and why the database is of no use.
function M.read(connection)
  if not connection:value("SELECT pg_catalog.to_regclass($1)", PROGRESS) then
    return nil, "it has no rows yet"
  elseif not connection:value("SELECT here FROM " .. WITNESS) and
    connection:value(HAS_UNLOGGED, SCHEMA) then
    return nil, "the server crashed since, which empties unlogged tables"
  end
  local done = {}
  for _, row in ipairs(connection:query("SELECT done, sum FROM " .. PROGRESS)) do
    done[row.done] = row.sum or ""
  end
  return done
end

function M.unit(key)
  return "unit " .. key
end

--- Notes that a unit has been loaded, in the transaction that does.
function M.add(connection, unit)
  connection:query(INSERT .. "($1, $2)", M.unit(unit.key), unit.sum)
end

--- Notes that an entry has been restored, in the transaction that does.
function M.add_entry(connection, entry)
  connection:query(INSERT .. "($1, NULL)", M.entry(entry))
end

--- Whether a unit's transaction has been committed.
function M.has(connection, unit)
  return connection:value("SELECT 1 FROM " .. PROGRESS .. " WHERE done = $1", M.unit(unit.key)) ~= nil
end

function M.entry(entry)
  return "entry " .. entry.id
end

-- What takes time. All else is dropped and made again: what has an owner gets it by a query of its own.
local NOTED = { INDEX = true, CONSTRAINT = true, ["FK CONSTRAINT"] = true,
  ["MATERIALIZED VIEW DATA"] = true }

--- The entry, which notes when it is restored, if that takes time: pg_restore sends the SQL of such an
--- entry as one query, which is one transaction.
function M.noting(entry)
  if not NOTED[entry.kind] or (entry.create or "") == "" then
    return entry
  end
  return merge(entry, { create = ("%s\n%s('%s', NULL);\n"):format(entry.create, INSERT,
    M.entry(entry)) })
end

local UNLOGGED = [[
  SELECT n.nspname AS schema, c.relname AS name FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relpersistence = 'u' AND c.relkind = 'r']]

--- When the notes are gone: whether an unlogged table has lost the rows that a manifest's has.
function M.is_emptied(connection, manifest)
  local rows = {}
  for _, known in ipairs(manifest.tables or {}) do
    rows[known.schema .. "." .. known.name] = known.rows
  end
  for _, t in ipairs(connection:query(UNLOGGED)) do
    if (rows[t.schema .. "." .. t.name] or 0) > 0 and
      not connection:value(("SELECT EXISTS (SELECT 1 FROM ONLY %s)"):format(pg.quoted(t))) then
      return true
    end
  end
  return false
end

--- Removes it, if it is there: an event trigger would also hear of a DROP that has nothing to drop.
function M.drop(connection)
  if connection:value("SELECT pg_catalog.to_regnamespace($1)", SCHEMA) then
    connection:query(("SET client_min_messages = error; DROP SCHEMA %s CASCADE"):format(SCHEMA))
  end
end

return M
