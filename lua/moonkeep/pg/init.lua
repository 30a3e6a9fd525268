--- PostgreSQL servers: what `mk.pg { ... }` makes, and connections to it.
---
--- A source only describes a database, by libpq's own keys (host, port, dbname, user, service,
--- sslmode, ...), a conninfo string or a URI. Nothing is connected until something is asked of it,
--- and everything that libpq knows (~/.pgpass, service files, PG* variables) counts.
local core = require "moonkeep.core.pg"
local errors = require "moonkeep.errors"
local host = require "moonkeep.core.host"
local merge = require "moonkeep.merge"
local redact = require "moonkeep.redact"
local secret = require "moonkeep.secret"
local spec = require "moonkeep.spec"
local task = require "moonkeep.core.task"
local units = require "moonkeep.units"

local M = {}

local CONNECT_TIMEOUT = "30s"
-- From this version on a server can be told to look, during a long query, whether its client is
-- still there: so a run that was killed leaves no query running.
local CHECKS_CLIENT = 140000

-- libpq 15's keys; PQconndefaults lists the same.
local KEYS = { keys = {} }
for key in ([[service user password passfile channel_binding connect_timeout dbname host hostaddr
  port client_encoding options application_name fallback_application_name keepalives
  keepalives_idle keepalives_interval keepalives_count tcp_user_timeout sslmode sslcompression
  sslcert sslkey sslpassword sslrootcert sslcrl sslcrldir sslsni requirepeer
  ssl_min_protocol_version ssl_max_protocol_version gssencmode krbsrvname gsslib
  target_session_attrs]]):gmatch "%S+" do
  KEYS.keys[#KEYS.keys + 1] = { key, "conninfo_value" }
end
local SECRET_KEYS = { "password", "sslpassword" }

-- ---- connections --------------------------------------------------------------------------------

local Connection = { __name = "moonkeep.Connection" }
Connection.__index = Connection

--- Runs SQL and returns its rows: a list of tables by column name (SQL NULL: absent key), with
--- `affected`. Parameters $1, $2, ... follow. Raises PG_ERROR with sqlstate, detail and hint.
function Connection:query(sql, ...)
  local ok, rows = pcall(self.native.query, self.native, sql, ...)
  if not ok then
    if errors.is_error(rows) and not rows.query then
      rows.query = sql
    end
    error(errors.explain(rows), 0)
  end
  return rows
end

--- The first row, or nil.
function Connection:row(sql, ...)
  return self:query(sql, ...)[1]
end

--- The value of the only column of the first row; nil when there is no row, or it is NULL.
function Connection:value(sql, ...)
  local row = self:row(sql, ...)
  if row then
    local name, value = next(row)
    if name and next(row, name) then
      errors.raise("INVALID", "connection:value takes a query with one column")
    end
    return value
  end
end

local ISOLATION = { ["read committed"] = true, ["repeatable read"] = true, serializable = true }

--- Calls fn(connection) between BEGIN and COMMIT and returns its results; any error rolls back.
--- Options: isolation = "repeatable read", read_only = true.
function Connection:transaction(options, fn)
  if fn == nil then
    options, fn = {}, options
  end
  local isolation = options.isolation or "read committed"
  if not ISOLATION[isolation] then
    errors.raise("INVALID", ("there is no isolation level %q"):format(isolation))
  end
  self:query(("BEGIN ISOLATION LEVEL %s %s"):format(isolation,
    options.read_only and "READ ONLY" or "READ WRITE"))
  local results = table.pack(pcall(fn, self))
  if not results[1] then
    task.shield(function()
      pcall(self.query, self, "ROLLBACK")
    end, 5000)
    error(results[2], 0)
  end
  self:query "COMMIT"
  return table.unpack(results, 2, results.n)
end

--- For example 15.
function Connection:major()
  return self.native:version() // 10000
end

function Connection:close()
  self.native:close()
end
Connection.__close = Connection.close

--- Quotes a name for SQL.
function M.identifier(name)
  return '"' .. name:gsub('"', '""') .. '"'
end

--- Quotes the name of something that has { schema, name }.
function M.quoted(thing)
  return M.identifier(thing.schema) .. "." .. M.identifier(thing.name)
end

--- Quotes a text for SQL.
function M.literal(text)
  return "'" .. text:gsub("'", "''") .. "'"
end

-- ---- sources ------------------------------------------------------------------------------------

-- PGPASSWORD is taken out of the environment: only the programs that connect are given it.
local function environment_password()
  return secret.reveal(secret.optional_env "PGPASSWORD")
end

local function give_back_password()
  local password = environment_password()
  if password then
    host.set_env("PGPASSWORD", password)
  end
end

local Source = { __name = "moonkeep.Source" }
Source.__index = Source

--- Connects and returns a connection, closed when its block is left. `timeout`: default 30s;
--- `patient`: the role's timeouts of statements and locks do not count.
function Source:connect(options)
  options = options or {}
  spec.check("source:connect", "connect", options)
  local timeout = units.duration(options.timeout or CONNECT_TIMEOUT)
  local ok, native = pcall(core.connect, self:revealed(), timeout)
  if not ok then
    error(errors.explain(native), 0)
  end
  local connection = setmetatable({ native = native, source = self }, Connection)
  if native:version() >= CHECKS_CLIENT then
    connection:query "SET client_connection_check_interval = '10s'"
  end
  if options.patient then
    connection:query "SET statement_timeout = 0; SET lock_timeout = 0"
  end
  return connection
end

-- The keys with secrets revealed; a URI that is a secret is taken apart only now.
function Source:revealed()
  if self.secret then
    local parsed = core.parse(secret.reveal(self.secret))
    for key, value in pairs(self.keys) do
      parsed[key] = value
    end
    self.keys, self.secret = parsed, nil
  end
  local keys = {}
  for key, value in pairs(self.keys) do
    keys[key] = secret.reveal(value)
  end
  if keys.service or os.getenv "PGSERVICE" then
    give_back_password() -- a service's own password comes before it: libpq decides
  else
    keys.password = keys.password or environment_password()
  end
  for _, key in ipairs(SECRET_KEYS) do
    redact.add(keys[key])
  end
  return keys
end

--- The same server with other keys: source:with { dbname = "other" }. The values are taken as they
--- are: a database may be called "host=elsewhere".
function Source:with(keys)
  local merged = merge(self.keys, keys)
  for key, value in pairs(merged) do
    merged[key] = secret.is_secret(value) and value or tostring(value)
  end
  return setmetatable({ keys = merged, secret = self.secret }, Source)
end

-- libpq's quoting of conninfo values.
local function conninfo_quote(value)
  return "'" .. value:gsub("[\\']", "\\%0") .. "'"
end

--- For client programs: a conninfo for their argument list, which never holds the password, and
--- the environment that does.
function Source:for_program()
  local parts, keys = {}, self:revealed()
  for key, value in pairs(keys) do
    if key ~= "password" and key ~= "sslpassword" then
      parts[#parts + 1] = key .. "=" .. conninfo_quote(value)
    end
  end
  table.sort(parts)
  return table.concat(parts, " "), { PGPASSWORD = keys.password }
end

--- "app on db1:5432": for messages.
function Source:__tostring()
  local keys = self.keys
  if self.secret and not keys.dbname then
    return tostring(self.secret)
  end
  return ("%s on %s%s"):format(keys.dbname or keys.service or os.getenv "PGDATABASE" or "database",
    keys.host or os.getenv "PGHOST" or "the local socket", keys.port and ":" .. keys.port or "")
end

--- Makes a source of a table of libpq's keys, a conninfo string, a URI, or a secret that holds one
--- of the two.
function M.source(what)
  if secret.is_secret(what) then
    return setmetatable({ keys = {}, secret = what }, Source)
  end
  if type(what) == "string" then
    local ok, parsed = pcall(core.parse, what)
    if not ok then
      spec.report("mk.pg", { { text = parsed.message, hint = parsed.hint } })
      return setmetatable({ keys = {} }, Source)
    end
    what = parsed
  end
  if not spec.check("mk.pg", KEYS, what) then
    return setmetatable({ keys = {} }, Source)
  end
  local keys = {}
  for key, value in pairs(what) do
    keys[key] = secret.is_secret(value) and value or tostring(value)
  end
  -- libpq takes a whole conninfo or URI as dbname; taken apart, its password is in no argument.
  local dbname = keys.dbname
  if type(dbname) == "string" and (dbname:find "=" or dbname:find "://") then
    keys.dbname = nil
    for key, value in pairs(core.parse(dbname)) do
      keys[key] = value
    end
  end
  return setmetatable({ keys = keys }, Source)
end

return M
