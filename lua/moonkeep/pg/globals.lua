--- Globals: roles and tablespaces, which belong to the whole server and are in no dump of a
--- database. They are a series of their own, `_globals`, as pg_dumpall writes them.
---
--- Nothing ties pg_dumpall to the snapshot of the dumps, so what can be read of the roles is read
--- before and after, and a difference is reported.
local errors = require "moonkeep.errors"
local log = require "moonkeep.log"
local pg = require "moonkeep.pg"

local M = { SERIES = "_globals" }

-- Everything about globals that everybody may read, one line each.
local LINES = [[
  SELECT 'role ' || rolname || ' ' || (to_jsonb(r) - 'oid' - 'rolpassword' - 'rolconfig')::text
    AS line FROM pg_catalog.pg_roles r WHERE rolname !~ '^pg_'
  UNION ALL
  SELECT 'grant ' || a.rolname || ' to ' || b.rolname || ' ' || m.admin_option
    FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles a ON a.oid = m.roleid
    JOIN pg_catalog.pg_roles b ON b.oid = m.member
  UNION ALL
  SELECT 'setting ' || coalesce(r.rolname, '') || ' ' || c
    FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole,
    unnest(s.setconfig) c WHERE s.setdatabase = 0
  UNION ALL
  SELECT 'tablespace ' || spcname || ' ' || pg_catalog.pg_tablespace_location(oid)
    FROM pg_catalog.pg_tablespace WHERE spcname !~ '^pg_'
  ORDER BY 1]]

--- What is seen of the globals: a set of lines.
function M.read(connection)
  local seen = {}
  for _, row in ipairs(connection:query(LINES)) do
    seen[row.line] = true
  end
  return seen
end

--- How two readings differ: a list of lines, "+ role x ..." and "- role x ...".
function M.difference(before, after)
  local lines = {}
  for line in pairs(before) do
    lines[#lines + 1] = not after[line] and "- " .. line or nil
  end
  for line in pairs(after) do
    lines[#lines + 1] = not before[line] and "+ " .. line or nil
  end
  table.sort(lines, function(a, b) return a:sub(3) < b:sub(3) end)
  return lines
end

--- Whether password hashes are to be in the dump; decides aloud. `wanted`: true or
--- "with_passwords"; `are_local`: all stores are file:.
function M.with_passwords(connection, wanted, are_local)
  local may = connection:value "SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')"
  if wanted == "with_passwords" then
    if not may then
      errors.raise("PG_PERMISSION", "the passwords of roles cannot be read: there is no access to " ..
        "pg_authid", { hint = "connect as a superuser, or write globals = true: then roles are " ..
        "backed up without passwords (managed services allow no more)" })
    end
    return true
  end
  if are_local and may then
    return true
  end
  log.info("roles are backed up without passwords: %s", are_local and
    "pg_authid cannot be read (as on managed services)" or
    "the backup is not encrypted and leaves this machine; globals = \"with_passwords\" insists")
  return false
end

-- Statements of a globals dump, one a line, as pg_dumpall writes them.
local function statements(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do
    local role = line:match '^CREATE ROLE (.+);$' or line:match '^ALTER ROLE ("[^"]+") ' or
      line:match "^ALTER ROLE (%S+) "
    local granted, member = line:match "^GRANT (.-) TO (.-) "
    if not granted then
      granted, member = line:match "^GRANT (.-) TO (.-);$"
    end
    if role or granted then
      list[#list + 1] = { sql = line, role = role or member, kind = line:match "^%a+" }
    end
  end
  return list
end

local function bare(name)
  return name:sub(1, 1) == '"' and name:sub(2, -2):gsub('""', '"') or name
end

--- Creates, from the text of a globals dump, the roles that the server has not, with their
--- attributes, settings and memberships. Roles that exist stay as they are. Returns the names.
function M.create_missing(connection, text)
  local exists, created = {}, {}
  for _, row in ipairs(connection:query "SELECT rolname AS name FROM pg_catalog.pg_roles") do
    exists[row.name] = true
  end
  for _, statement in ipairs(statements(text)) do
    local name = bare(statement.role)
    if not exists[name] then
      created[name] = created[name] or statement.kind == "CREATE"
      -- pg_dumpall names the grantor, who may not exist here.
      local sql = statement.kind == "GRANT" and statement.sql:gsub(" GRANTED BY .-;$", ";") or
        statement.sql
      local ok, err = pcall(connection.query, connection, sql)
      if not ok then
        errors.raise("PG_ERROR", ("the role %s cannot be created: %s"):format(name, err.message),
          { sqlstate = err.sqlstate, hint = err.hint or
            "restore as a role with CREATEROLE, or create it first: CREATE ROLE " ..
            pg.identifier(name) })
      end
    end
  end
  local names = {}
  for name in pairs(created) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

return M
