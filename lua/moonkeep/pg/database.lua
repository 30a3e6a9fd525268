--- What belongs to a database itself and is in no dump of it: encoding, locale, owner, settings
--- (ALTER DATABASE ... SET, ALTER ROLE ... IN DATABASE ... SET), grants, comment, limits.
local list_of = require "moonkeep.list_of"
local pg = require "moonkeep.pg"

-- The comment that marks a database that is being restored: see pg/working.lua.
local M = { WORKING_MARK = "moonkeep: a restore in progress" }

-- Columns of pg_database by name, for some came with 15, 16 and 17, and one was renamed in 17.
local DESCRIBE = [[
  SELECT d.datname AS database, current_setting('server_version') AS server_version,
         pg_catalog.pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS collate,
         d.datctype AS ctype, coalesce(to_jsonb(d)->>'datlocprovider', 'c') AS locale_provider,
         coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale') AS locale,
         to_jsonb(d)->>'daticurules' AS icu_rules,
         to_jsonb(d)->>'datcollversion' AS collation_version,
         pg_catalog.pg_get_userbyid(d.datdba) AS owner,
         pg_catalog.shobj_description(d.oid, 'pg_database') AS comment,
         d.datconnlimit AS connection_limit, d.datistemplate AS is_template,
         t.spcname AS tablespace, d.datacl IS NOT NULL AS has_acl,
         pg_catalog.pg_database_size(d.oid) AS bytes
  FROM pg_catalog.pg_database d
  LEFT JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace
  WHERE d.datname = current_database()]]

local ACL = [[
  SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(a.grantee) END AS role,
         a.grantee = 0 AS public, a.privilege_type AS privilege, a.is_grantable AS grantable
  FROM pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl)
    WITH ORDINALITY AS a (grantor, grantee, privilege_type, is_grantable, n)
  WHERE d.datname = current_database() ORDER BY a.n]]

local SETTINGS = [[
  SELECT r.rolname AS role, c AS setting
  FROM pg_catalog.pg_db_role_setting s
  JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
  LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) WITH ORDINALITY AS u (c, n)
  WHERE d.datname = current_database() ORDER BY 1 NULLS FIRST, n]]

-- What a restore needs to find: extensions, roles, tablespaces. (A bootstrap superuser who owns
-- things is not among the roles: the server keeps no record of that.)
local EXTENSIONS = [[
  SELECT extname AS name, extversion AS version FROM pg_catalog.pg_extension ORDER BY 1]]
local ROLES = [[
  SELECT DISTINCT r.rolname AS name FROM pg_catalog.pg_shdepend s
  JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid
  WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
    AND s.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  ORDER BY 1]]
local TABLESPACES = [[
  SELECT DISTINCT t.spcname AS name FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_tablespace t ON t.oid = c.reltablespace
  WHERE t.spcname <> 'pg_global' ORDER BY 1]]

local function names_of(rows)
  local list = {}
  for i, row in ipairs(rows) do
    list[i] = row.name
  end
  return #list > 0 and list or nil
end

local function add_needs(row, connection)
  row.extensions = connection:query(EXTENSIONS)
  row.extensions.affected = nil
  row.roles, row.tablespaces = names_of(connection:query(ROLES)), names_of(connection:query(TABLESPACES))
  row.checksums = connection:value "SELECT current_setting('data_checksums') = 'on'"
end

--- All of it, as the manifest keeps it, of the database that is connected to; also what a restore
--- needs: extensions { name, version }, roles, tablespaces; and whether the server's pages have
--- checksums.
function M.describe(connection)
  local row = connection:row(DESCRIBE)
  add_needs(row, connection)
  row.acl = row.has_acl and connection:query(ACL) or nil
  row.settings = connection:query(SETTINGS)
  for _, list in ipairs { row.acl or {}, row.settings } do
    list.affected = nil
  end
  row.has_acl = nil
  -- left by a restore that died at its very end
  if row.comment and row.comment:find(M.WORKING_MARK, 1, true) == 1 then
    row.comment = nil
  end
  return row
end

-- Settings whose value is a list of names, each quoted where it must be.
local LISTS = { search_path = true, local_preload_libraries = true, session_preload_libraries = true,
  shared_preload_libraries = true, temp_tablespaces = true, unix_socket_directories = true }

local function split_names(text)
  local names, at = {}, 1
  while at <= #text do
    at = text:find("%S", at) or #text + 1
    local quoted = text:match('^"[^"]*"', at)
    while quoted and text:sub(at + #quoted, at + #quoted) == '"' do -- "" is one quote
      local more = text:match('^"[^"]*"', at + #quoted)
      if not more then
        return nil
      end
      quoted = quoted .. more
    end
    local name = quoted or text:match("^[^,]*", at)
    if name ~= "" then
      names[#names + 1] = quoted and quoted:sub(2, -2):gsub('""', '"') or name:match "^(.-)%s*$"
    end
    at = (text:find(",", at + #name, true) or #text) + 1
  end
  return names
end

-- "TO 'a', 'b'" for ALTER ... SET.
local function setting_value(name, value)
  local names = LISTS[name:lower()] and split_names(value)
  if not names then
    return pg.literal(value)
  end
  for i, item in ipairs(names) do
    names[i] = pg.literal(item)
  end
  return #names > 0 and table.concat(names, ", ") or "''"
end

-- "my.setting" is two identifiers.
local function setting_name(name)
  return (name:gsub("[^.]+", function(part) return pg.identifier(part) end))
end

--- The statements that give a database its properties: a list of { sql, role }, where `role`, if
--- there is one, must exist. `quoted` is the database's name as SQL writes it. `skip`: no_owner,
--- no_privileges, no_comments.
function M.statements(source, quoted, skip)
  local list = {}
  local function add(role, sql, ...)
    list[#list + 1] = { sql = sql:format(...), role = role }
  end
  if not skip.no_owner and source.owner then
    add(source.owner, "ALTER DATABASE %s OWNER TO %s", quoted, pg.identifier(source.owner))
  end
  if not skip.no_privileges and source.acl then
    add(nil, "REVOKE ALL ON DATABASE %s FROM PUBLIC", quoted)
    add(source.owner, "REVOKE ALL ON DATABASE %s FROM %s", quoted, pg.identifier(source.owner))
    for _, grant in ipairs(source.acl) do
      add(not grant.public and grant.role or nil, "GRANT %s ON DATABASE %s TO %s%s",
        grant.privilege, quoted, grant.public and "PUBLIC" or pg.identifier(grant.role),
        grant.grantable and " WITH GRANT OPTION" or "")
    end
  end
  for _, entry in ipairs(source.settings or {}) do
    local name, value = entry.setting:match "^([^=]+)=(.*)$"
    local whose = entry.role and ("ROLE %s IN DATABASE %s"):format(pg.identifier(entry.role),
      quoted) or "DATABASE " .. quoted
    add(entry.role, "ALTER %s SET %s TO %s", whose, setting_name(name), setting_value(name, value))
  end
  if not skip.no_comments then
    add(nil, "COMMENT ON DATABASE %s IS %s", quoted,
      source.comment and pg.literal(source.comment) or "NULL")
  end
  if source.connection_limit and source.connection_limit ~= -1 then
    add(nil, "ALTER DATABASE %s CONNECTION LIMIT %d", quoted, source.connection_limit)
  end
  if source.is_template then
    add(nil, "ALTER DATABASE %s IS_TEMPLATE true", quoted)
  end
  return list
end

--- The options of CREATE DATABASE that cannot be changed later, for a server of `major`. An empty
--- collation is not known: then it is the server's own.
function M.create_options(source, major)
  local parts = { "TEMPLATE template0", "ENCODING " .. pg.literal(source.encoding) }
  for _, key in ipairs { "collate", "ctype" } do
    parts[#parts + 1] = source[key] ~= "" and ("LC_%s %s"):format(key:upper(),
      pg.literal(source[key])) or nil
  end
  if source.locale_provider == "c" and major >= 15 then
    parts[#parts + 1] = "LOCALE_PROVIDER libc" -- the target's template0 may have another one
  elseif source.locale_provider == "i" then
    parts[#parts + 1] = ("LOCALE_PROVIDER icu ICU_LOCALE %s"):format(pg.literal(source.locale))
    if source.icu_rules and major >= 16 then
      parts[#parts + 1] = "ICU_RULES " .. pg.literal(source.icu_rules)
    end
  elseif source.locale_provider == "b" then
    parts[#parts + 1] = ("LOCALE_PROVIDER builtin BUILTIN_LOCALE %s"):format(
      pg.literal(source.locale))
  end
  return table.concat(parts, " ")
end

-- The catalogs whose rows are somebody's work, beyond relations, functions and types.
local COUNTED = { "pg_namespace", "pg_extension", "pg_collation", "pg_conversion", "pg_ts_config",
  "pg_ts_dict", "pg_ts_parser", "pg_ts_template", "pg_opclass", "pg_opfamily", "pg_operator",
  "pg_cast", "pg_am", "pg_language", "pg_statistic_ext", "pg_foreign_data_wrapper",
  "pg_foreign_server", "pg_event_trigger", "pg_publication", "pg_default_acl",
  "pg_largeobject_metadata" }
local FIRST_OID = 16384 -- FirstNormalObjectId: below are the system's own

--- How many objects of its own a database has: 0 means that nothing can be lost in it. Objects that
--- belong to an extension count as that one.
function M.count_objects(connection)
  local parts = {}
  for i, name in ipairs(COUNTED) do
    parts[i] = ([[(SELECT count(*) FROM pg_catalog.%s c WHERE c.oid >= %d AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.%s'::regclass
        AND d.objid = c.oid AND d.deptype = 'e'))]]):format(name, FIRST_OID, name)
  end
  local sql = table.concat(parts, "\n + ")
  return connection:value([[
    WITH own AS (
      SELECT n.oid FROM pg_catalog.pg_namespace n
      WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'),
    member AS (SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e')
    SELECT (SELECT count(*) FROM pg_catalog.pg_class c WHERE c.relnamespace IN (SELECT oid FROM own)
              AND (1259, c.oid) NOT IN (SELECT classid::int, objid FROM member))
         + (SELECT count(*) FROM pg_catalog.pg_proc p WHERE p.pronamespace IN (SELECT oid FROM own)
              AND (1255, p.oid) NOT IN (SELECT classid::int, objid FROM member))
         + (SELECT count(*) FROM pg_catalog.pg_type t WHERE t.typnamespace IN (SELECT oid FROM own)
              AND t.typtype IN ('d', 'e', 'r')
              AND (1247, t.oid) NOT IN (SELECT classid::int, objid FROM member))
         + ]] .. sql)
end

--- The names of the databases that allow connections and match: `wanted` is "all" or a list of
--- names and patterns with * and ?, `excluded` the same. Raises NOT_FOUND for a name that is none.
function M.match(connection, wanted, excluded)
  local names = {}
  for _, row in ipairs(connection:query [[SELECT datname AS name FROM pg_catalog.pg_database
    WHERE datallowconn AND NOT datistemplate ORDER BY 1]]) do
    names[#names + 1] = row.name
  end
  local patterns = require "moonkeep.patterns"
  local found = wanted == "all" and names or patterns.select(names, wanted, "database")
  if not excluded then
    return found
  end
  local kept = {}
  for _, name in ipairs(found) do
    if not patterns.matches_any(name, list_of(excluded)) then
      kept[#kept + 1] = name
    end
  end
  return kept
end

return M
