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

-- The statements of a script: they end with a semicolon outside of quotes. Comments and psql's own
-- commands are lines of their own.
local function split(text)
  local list, from, at = {}, 1, 1
  while at <= #text do
    local c = text:sub(at, at)
    if c == "'" or c == '"' then
      at = (text:find(c, at + 1, true) or #text) + 1 -- a doubled quote begins another one
    elseif at == from and (c == "\\" or text:sub(at, at + 1) == "--") then
      at = (text:find("\n", at, true) or #text) + 1
      from = at
    elseif c == ";" then
      list[#list + 1] = text:sub(from, at)
      at, from = at + 1, at + 1
    elseif at == from and c:match "%s" then
      at, from = at + 1, at + 1
    else
      at = at + 1
    end
  end
  return list
end

-- The identifier at the beginning of a text, bare, and what follows it.
local function identifier(text)
  local quoted = text:match '^"[^"]*"'
  while quoted and text:sub(#quoted + 1, #quoted + 1) == '"' do -- "" is one quote
    quoted = quoted .. text:match('^"[^"]*"', #quoted + 1)
  end
  local name = quoted or text:match "^[^%s;]+"
  return quoted and quoted:sub(2, -2):gsub('""', '"') or name, text:sub(#(name or "") + 1)
end

-- { sql, role } or { sql, role, member }; nil for what is not about a role.
local function parse(sql)
  local rest = sql:match "^CREATE ROLE (.*)$" or sql:match "^ALTER ROLE (.*)$" or
    sql:match "^COMMENT ON ROLE (.*)$"
  if rest then
    return { sql = sql, role = (identifier(rest)), creates = sql:find "^CREATE" ~= nil }
  end
  rest = sql:match "^GRANT (.*)$"
  if rest then
    local role, after = identifier(rest)
    local member = after:match "^ TO (.*)$"
    -- pg_dumpall names the grantor, who may not exist here.
    return member and { sql = sql:gsub(" GRANTED BY [^;]*;$", ";"), role = role,
      member = (identifier(member)) } or nil
  end
end
M.parse, M.split = parse, split

--- Creates, from the text of a globals dump, the roles that the server has not, with their
--- attributes, settings, comments and memberships. Roles that exist stay as they are, but for
--- memberships of and in the new ones. Returns the names of the new roles.
function M.create_missing(connection, text)
  local exists, created, names = {}, {}, {}
  for _, row in ipairs(connection:query "SELECT rolname AS name FROM pg_catalog.pg_roles") do
    exists[row.name] = true
  end
  for _, sql in ipairs(split(text)) do
    local statement = parse(sql)
    if statement and statement.creates and not exists[statement.role] then
      created[statement.role], names[#names + 1] = true, statement.role
    end
    if statement and (created[statement.role] or created[statement.member]) then
      local ok, err = pcall(connection.query, connection, statement.sql)
      if not ok then
        errors.raise("PG_ERROR", ("the role %s cannot be made: %s"):format(statement.role,
          err.message), { sqlstate = err.sqlstate, hint = err.hint or
            "restore as a role with CREATEROLE, or create it first: CREATE ROLE " ..
            pg.identifier(statement.role) })
      end
    end
  end
  return names
end

return M
