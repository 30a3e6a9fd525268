--- What only pg_dump knows: the table of contents. It is run under the leader's snapshot as a custom
--- archive to a pipe, which begins with it, and is ended once the leader has locks of its own on
--- every table whose rows will be copied.
---
--- Between the snapshot and the lock a table may have been rewritten, truncated, dropped or renamed;
--- its rows would then be missing in the snapshot. So after locking, the tables are compared with
--- what the snapshot says of them; a difference, and a lock that is not free at once, begin all
--- anew.
local dump_options = require "moonkeep.pg.dump_options"
local errors = require "moonkeep.errors"
local host = require "moonkeep.core.host"
local log = require "moonkeep.log"
local merge = require "moonkeep.merge"
local pg = require "moonkeep.pg"
local process = require "moonkeep.process"
local toc = require "moonkeep.pg.toc"
local tools = require "moonkeep.pg.tools"

local M = {}

-- Ending pg_dump leaves two lines in the server's log, unless its session may say that it shall not.
local function is_quiet_allowed(connection)
  if connection:major() >= 15 then
    return connection:value(
      "SELECT pg_catalog.has_parameter_privilege(session_user, 'log_min_messages', 'SET')")
  end
  return connection:value "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = session_user"
end

-- The options of pg_dump's session. (Poolers refuse any.)
local function quiet_options(leader)
  local set = leader.source.keys.options or os.getenv "PGOPTIONS"
  if leader.options.pooler or not is_quiet_allowed(leader.connection) then
    return set
  end
  return (set and set .. " " or "") .. "-c log_min_messages=panic"
end

-- Options that the leader has carried out already.
local function pg_dump_options(options)
  local copy = merge(options)
  copy.serializable_deferrable = nil
  return copy
end

local Contents = {}
Contents.__index = Contents

--- Ends pg_dump, and with it its locks; tells what it has warned of.
function Contents:finish()
  self.child:kill "KILL"
  local _, stderr = self.child:wait()
  for text in stderr:gmatch "pg_dump: warning: ([^\n]+)" do
    log.warn("pg_dump: %s", text)
  end
end

function Contents:close()
  self.child:close()
end
Contents.__close = Contents.close

-- The child has ended before its table of contents was complete.
local function raise_ended(child)
  local code, stderr = child:wait()
  error(errors.explain(errors.new("PROCESS_FAILED", ("pg_dump %s"):format(code == 0 and
    "ended inside its table of contents" or "exited with " .. code), { detail = stderr })), 0)
end

--- Runs pg_dump until the table of contents is there: a closable { archive }. pg_dump stays, holding
--- its locks, until this is closed. `watcher` is told by which name the server knows it. Raises
--- NOT_NATIVE for an archive of a version that is not known.
function M.read(leader, watcher)
  local major = leader.connection:major()
  local name = "moonkeep " .. host.random(4)
  local conninfo, env = leader.source:with({ application_name = name,
    options = quiet_options(leader) }):for_program()
  local argv = { tools.find("pg_dump", leader.options.pg_dump or major), "--format=custom",
    "--compress=0", "--no-password", "--snapshot=" .. leader.snapshot }
  dump_options.add_dump(argv, pg_dump_options(leader.options), major)
  argv[#argv + 1] = "--dbname=" .. conninfo
  watcher.name = name
  local self = setmetatable({}, Contents)
  self.child = process.spawn { argv = argv, env = env, read = true }
  local ok, err = pcall(function()
    local reader = toc.reader()
    repeat
      local bytes = self.child:read()
      if not bytes then
        raise_ended(self.child)
      end
      self.archive = reader:feed(bytes)
    until self.archive
  end)
  if not ok then
    self:close()
    if errors.of(err).code == "UNSUPPORTED" then -- a newer pg_dump, which knows what it writes
      errors.raise("NOT_NATIVE", err.message)
    end
    error(err, 0)
  end
  return self
end

-- ---- locks --------------------------------------------------------------------------------------

local LOCKED_AT_ONCE = 200

--- Tables whose rows are copied. `table`: { oid, schema, name, kind }.
local function lock(connection, tables)
  for from = 1, #tables, LOCKED_AT_ONCE do
    local names = {}
    for i = from, math.min(from + LOCKED_AT_ONCE - 1, #tables) do
      names[#names + 1] = "ONLY " .. pg.quoted(tables[i])
    end
    connection:query("LOCK TABLE " .. table.concat(names, ", ") .. " IN ACCESS SHARE MODE NOWAIT")
  end
end

-- Queries see the snapshot, these functions the present.
local CHANGED = [[
  SELECT n.nspname AS schema, c.relname AS name
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.oid = ANY ($1::pg_catalog.oid[])
    AND (pg_catalog.to_regclass(pg_catalog.quote_ident(n.nspname) || '.' ||
           pg_catalog.quote_ident(c.relname)) IS DISTINCT FROM c.oid::pg_catalog.regclass
      OR pg_catalog.pg_relation_filenode(c.oid) IS DISTINCT FROM nullif(c.relfilenode, 0))
  LIMIT 1]]

-- The errors of a table that is being, or has been, changed by somebody.
local CHANGING = { ["55P03"] = true, ["42P01"] = true, ["3F000"] = true }

--- Locks the tables and makes sure that they are what the snapshot shows. Returns nil when somebody
--- is changing one: then its name.
function M.lock(leader, tables)
  local lockable, oids = {}, {}
  for _, t in ipairs(tables) do
    lockable[#lockable + 1] = t.kind ~= "f" and t or nil -- LOCK TABLE does not take foreign tables
    oids[#oids + 1] = t.oid
  end
  local ok, err = pcall(lock, leader.connection, lockable)
  if not ok and errors.is_error(err) and CHANGING[err.sqlstate or ""] then
    return nil, err.message:match '"(.+)"' or "a table"
  elseif not ok then
    error(err, 0)
  end
  local changed = leader.connection:row(CHANGED, "{" .. table.concat(oids, ",") .. "}")
  if changed then
    return nil, changed.schema .. "." .. changed.name
  end
  return true
end

return M
