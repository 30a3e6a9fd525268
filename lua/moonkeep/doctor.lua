--- Looking for what would keep a job from working, before the night in which it does. Each check
--- adds findings { level, check, text, fix }; level is "ok", "note", "warn" or "error".
local database = require "moonkeep.pg.database"
local errors = require "moonkeep.errors"
local fs = require "moonkeep.fs"
local host = require "moonkeep.core.host"
local keys = require "moonkeep.encryption.checks"
local pg = require "moonkeep.pg"
local schedule = require "moonkeep.schedule"
local tools = require "moonkeep.pg.tools"
local units = require "moonkeep.units"

local M = {}

local Findings = {}
Findings.__index = Findings

function Findings:add(level, check, text, fix)
  self[#self + 1] = { level = level, check = check, text = text, fix = fix,
    database = self.database }
end

-- Runs a check; what it raises is a finding too.
function Findings:try(check, fn, ...)
  local ok, err = pcall(fn, self, ...)
  if not ok then
    err = errors.explain(errors.of(err))
    if err.code == "CANCELED" then
      error(err, 0)
    end
    self:add("error", check, err.message, err.hint)
  end
end

-- ---- the server ---------------------------------------------------------------------------------

local function check_programs(findings, major, job)
  local dump = job.keys.dump or {}
  local names = { "pg_dump", dump.format == "plain" and "psql" or "pg_restore" }
  names[#names + 1] = dump.globals and "pg_dumpall" or nil
  for _, name in ipairs(names) do
    local path = tools.find(name, major)
    findings:add("ok", "programs", ("%s %s, %s"):format(name, tools.version(path), path))
  end
end

local MAX_CLOCK_MS = 5000

local function check_server(findings, connection)
  local row = connection:row [[SELECT current_setting('server_version') AS version,
    current_user AS role, pg_is_in_recovery() AS standby, pg_backend_pid() AS pid,
    (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms]]
  findings:add("ok", "server", ("PostgreSQL %s, as role %s"):format(row.version, row.role))
  if row.pid ~= connection.native:backend_pid() then
    findings:add("error", "pooler", "a connection pooler stands between moonkeep and the server",
      "connect to the server itself: pg_dump needs one session for the whole dump")
  end
  local skew = host.wall() - row.now_ms
  if math.abs(skew) > MAX_CLOCK_MS then
    findings:add("warn", "clock", ("the server's clock differs from this machine's by %.1f s"):format(
      skew / 1000), "let both use NTP: timedatectl set-ntp true")
  end
  return row
end

local function check_standby(findings, connection)
  local row = connection:row [[SELECT current_setting('max_standby_streaming_delay') AS delay,
    current_setting('hot_standby_feedback') AS feedback,
    coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 0)::bigint AS lag]]
  findings:add("ok", "standby", ("this is a standby; its last replayed transaction is %s old"):format(
    units.format_duration(math.max(row.lag, 0) * 1000)))
  if row.feedback == "off" and row.delay ~= "-1" then
    findings:add("warn", "standby", ("replay may cancel the dump after %s"):format(row.delay),
      "on the standby: ALTER SYSTEM SET hot_standby_feedback = on; or max_standby_streaming_delay " ..
      "= -1; then SELECT pg_reload_conf()")
  end
end

-- ---- rights -------------------------------------------------------------------------------------

local UNREADABLE = [[
  SELECT n.nspname AS schema, c.relname AS name, c.relkind = 'S' AS sequence,
         NOT has_schema_privilege(n.oid, 'USAGE') AS no_usage
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'm', 'S', 'f') AND n.nspname !~ '^pg_'
    AND n.nspname <> 'information_schema' AND c.relpersistence <> 't'
    AND (NOT has_schema_privilege(n.oid, 'USAGE') OR NOT has_table_privilege(c.oid, 'SELECT'))
  ORDER BY 1, 2]]

local FILTERED = [[
  SELECT n.nspname || '.' || c.relname AS name
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relrowsecurity AND row_security_active(c.oid) ORDER BY 1]]

-- The role that a backup needs and no more, as SQL.
local function role_sql(role, major, database_name)
  local name = pg.identifier(role)
  local lines = { ("CREATE ROLE %s LOGIN;  -- then: \\password %s"):format(name, role),
    ("GRANT CONNECT ON DATABASE %s TO %s;"):format(pg.identifier(database_name), name) }
  if major >= 14 then
    lines[#lines + 1] = ("GRANT pg_read_all_data TO %s;"):format(name)
  else
    lines[#lines + 1] = ("GRANT USAGE ON SCHEMA public TO %s;  -- and every other schema"):format(name)
    lines[#lines + 1] = ("GRANT SELECT ON ALL TABLES IN SCHEMA public TO %s;"):format(name)
    lines[#lines + 1] = ("GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO %s;"):format(name)
  end
  lines[#lines + 1] = ("ALTER ROLE %s BYPASSRLS;  -- where row-level security is used"):format(name)
  return table.concat(lines, "\n")
end

local MAX_NAMED = 5

local function check_rights(findings, connection, role)
  local rows = connection:query(UNREADABLE)
  local schemas, grants, names = {}, {}, {}
  for i, row in ipairs(rows) do
    if i <= MAX_NAMED then
      names[i] = row.schema .. "." .. row.name
    end
    if not schemas[row.schema] then
      schemas[row.schema] = true
      local schema, to = pg.identifier(row.schema), pg.identifier(role)
      grants[#grants + 1] = ("GRANT USAGE ON SCHEMA %s TO %s; GRANT SELECT ON ALL TABLES IN SCHEMA " ..
        "%s TO %s; GRANT SELECT ON ALL SEQUENCES IN SCHEMA %s TO %s;"):format(schema, to, schema, to,
        schema, to)
    end
  end
  if #rows > 0 then
    local more = #rows > MAX_NAMED and (" and %d more"):format(#rows - MAX_NAMED) or ""
    findings:add("error", "rights", ("role %s cannot read %s%s"):format(role,
      table.concat(names, ", "), more), table.concat(grants, "\n") ..
      (connection:major() >= 14 and ("\nor, once for all: GRANT pg_read_all_data TO %s;"):format(
        pg.identifier(role)) or ""))
    findings:add("note", "rights", "a role that can read everything and change nothing:",
      role_sql("moonkeep", connection:major(), connection:value "SELECT current_database()"))
  else
    findings:add("ok", "rights", "every table and sequence can be read")
  end
  local filtered = connection:query(FILTERED)
  for i, row in ipairs(filtered) do
    filtered[i] = row.name
  end
  if #filtered > 0 then
    findings:add("error", "rights", ("row-level security hides rows of %s from role %s"):format(
      table.concat(filtered, ", ", 1, math.min(#filtered, MAX_NAMED)), role),
      ("ALTER ROLE %s BYPASSRLS;"):format(pg.identifier(role)))
  end
end

local function check_globals(findings, connection, job)
  local wanted = (job.keys.dump or {}).globals
  if not wanted then
    findings:add("warn", "globals", "roles are not backed up: another server would lack them",
      "dump = { globals = true }")
  elseif not connection:value "SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')" then
    findings:add(wanted == "with_passwords" and "error" or "warn", "globals",
      "roles are backed up without their passwords: pg_authid cannot be read",
      "connect as a superuser for them; managed services allow it to nobody")
  else
    findings:add("ok", "globals", "roles can be read with their passwords")
  end
end

-- ---- what goes on there -------------------------------------------------------------------------

local function check_activity(findings, connection)
  local locks = connection:query [[
    SELECT c.oid::regclass::text AS name, l.pid FROM pg_catalog.pg_locks l
    JOIN pg_catalog.pg_class c ON c.oid = l.relation
    WHERE l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
      AND l.mode = 'AccessExclusiveLock' AND l.pid <> pg_backend_pid() LIMIT 5]]
  for _, row in ipairs(locks) do
    findings:add("warn", "locks", ("process %d holds or wants an exclusive lock on %s: a dump " ..
      "would wait for it"):format(row.pid, row.name),
      'dump = { lock_timeout = "1m" } makes the dump give up')
  end
  local old = connection:query [[
    SELECT pid, usename AS role, extract(epoch FROM now() - xact_start)::bigint AS age
    FROM pg_catalog.pg_stat_activity
    WHERE xact_start < now() - interval '1 hour' AND pid <> pg_backend_pid() ORDER BY age DESC LIMIT 3]]
  for _, row in ipairs(old) do
    findings:add("warn", "transactions", ("process %d of role %s has a transaction that is %s old")
      :format(row.pid, row.role, units.format_duration(row.age * 1000)),
      ("see what it does: SELECT * FROM pg_stat_activity WHERE pid = %d"):format(row.pid))
  end
  if #locks + #old == 0 then
    findings:add("ok", "locks", "no lock and no old transaction is in the way")
  end
end

local function check_extensions(findings, connection)
  local names = {}
  for i, row in ipairs(connection:query [[SELECT extname || ' ' || extversion AS name
    FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql' ORDER BY 1]]) do
    names[i] = row.name
  end
  if #names > 0 then
    findings:add("ok", "extensions", "a restore needs: " .. table.concat(names, ", "))
  end
end

-- ---- this machine -------------------------------------------------------------------------------

-- A compressed dump without indexes is seldom more than half of the database.
local ESTIMATE = 2

local PROBE = "probe\n"

-- What is lost where credentials do not allow something.
local LOST = {
  read = { "nothing can be verified, restored or copied from here, and verify = \"read\" fails",
    "allow s3:GetObject, or write verify = \"stored\" and read with other credentials" },
  list = { "what killed runs have left stays, and `list` and `status` see nothing",
    "allow s3:ListBucket, or look with other credentials" },
  delete = { "what killed runs have left stays, and nothing can expire",
    "allow s3:DeleteObject, or a lifecycle rule of the bucket" },
}

-- A store that is no folder: writes a small object, and tries what else is needed.
local function check_bucket(findings, store)
  local key, driver = ".moonkeep-doctor-" .. host.random(4), store.driver
  driver:write(key, PROBE)
  local can = { "written" }
  for _, try in ipairs { { "read", "read", driver.read, key }, { "list", "listed", driver.names, "" },
    { "delete", "deleted from", driver.remove, { key } } } do
    local what, done = try[1], try[2]
    local ok, err = pcall(try[3], driver, try[4])
    if ok and what == "read" and err ~= PROBE then
      findings:add("error", "store", store.url .. " does not give back what it was given")
    elseif ok then
      can[#can + 1] = done
    elseif errors.is_denied(err) then
      findings:add("warn", "store", ("%s: the credentials may not %s: %s"):format(store.url, what,
        LOST[what][1]), LOST[what][2])
    else
      error(err, 0)
    end
  end
  findings:add("ok", "store", ("%s can be %s"):format(store.url, table.concat(can, ", ")))
  for _, remark in ipairs(store:remarks()) do
    findings:add("note", "store", ("%s %s"):format(store.url, remark))
  end
end

-- Nothing is made: a folder that is missing may be a mistyped one.
local function check_store(findings, store, bytes)
  if not store.root then
    return check_bucket(findings, store)
  end
  local folder = store.root
  while folder ~= "" and not fs.exists(folder) do
    folder = folder:match "^(.*)/[^/]*$"
  end
  folder = folder == "" and "/" or folder
  local probe = ("%s/.moonkeep-doctor-%s"):format(folder, host.random(4))
  fs.write(probe, PROBE, 384, true) -- synced, as backups are
  fs.remove(probe)
  if folder ~= store.root then
    findings:add("note", "store", ("%s is not there yet: the first run makes it, in %s"):format(
      store.root, folder))
  end
  local free = fs.space(folder)
  if bytes and free < bytes // ESTIMATE then
    findings:add("warn", "space", ("store %s has %s left; the databases are %s"):format(store.name,
      units.format_size(free), units.format_size(bytes)),
      "a compressed dump is often a third of it: free space, or use another store")
  else
    findings:add("ok", "store", ("%s can be written, %s left"):format(store.url,
      units.format_size(free)))
  end
end

local function sources_of(job)
  local source = job.keys.source
  local connection <close> = source:connect()
  local names = job.keys.databases and
    database.match(connection, job.keys.databases, job.keys.exclude_databases) or nil
  if not names then
    return { source }
  end
  local list = {}
  for i, name in ipairs(names) do
    list[i] = source:with { dbname = name }
  end
  return list
end

-- What is the same for every database of the server.
local function check_server_once(findings, source, job)
  local connection <close> = source:connect()
  local row = check_server(findings, connection)
  findings:try("programs", check_programs, connection:major(), job)
  if row.standby then
    findings:try("standby", check_standby, connection)
  end
  findings:try("globals", check_globals, connection, job)
end

local function check_source(findings, source)
  local connection <close> = source:connect()
  findings.database = connection:value "SELECT current_database()"
  findings:try("rights", check_rights, connection, connection:value "SELECT current_user")
  findings:try("locks", check_activity, connection)
  findings:try("extensions", check_extensions, connection)
  findings.database = nil
  return connection:value "SELECT pg_database_size(current_database())"
end

--- The findings for a job.
function M.examine(job)
  local findings, bytes = setmetatable({}, Findings), 0
  if job.rule then
    findings:try("schedule", function()
      schedule.check_zone(job.rule)
      findings:add("ok", "schedule", schedule.describe(job.rule))
    end)
  else
    findings:add("note", "schedule", "the job has no schedule", 'schedule = { cron = "0 2 * * *" }')
  end
  if job.keys.source then
    findings:try("server", function()
      check_server_once(findings, job.keys.source, job)
      local sources = sources_of(job)
      for _, source in ipairs(sources) do
        bytes = bytes + check_source(findings, source)
      end
    end)
  end
  for _, store in ipairs(job.keys.upload or {}) do
    findings:try("store", check_store, store, bytes)
  end
  if job.keys.encrypt then
    findings:try("encrypt", keys.encryption, job)
  end
  if job.keys.sign then
    findings:try("sign", keys.signatures, job)
  end
  if not job.keys.fresh then
    findings:add("note", "freshness", "`status` cannot tell when the backup is too old",
      'fresh = "26h"')
  end
  if not job.keys.notify then
    findings:add("note", "notify", "nobody is told when the job fails",
      'notify = { problem = mk.notify.slack(mk.secret.env "SLACK_URL") }')
  end
  return findings
end

return M
