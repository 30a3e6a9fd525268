--- The connections of a native dump: a leader, whose snapshot is exported and whose locks hold off
--- changes of the tables, and followers that see the same snapshot. All have the settings that the
--- text of values depends on pinned, as pg_dump has them.
---
--- The leader does nothing but lead, so nothing of it is lost with a COPY; a follower that is lost
--- can be replaced for as long as the leader lives.
local errors = require "moonkeep.errors"
local pg = require "moonkeep.pg"
local sessions = require "moonkeep.pg.session"

local M = {}

-- As pg_dump sets them (setup_connection).
local SETTINGS = { { "synchronize_seqscans", "off" },
  { "restrict_nonsystem_relation_kind", "view, foreign-table" } }

-- How long a follower waits for a table's lock. It is waited for only behind a change of the table
-- that waits for the leader: see copy.lua.
local FOLLOWER_LOCK_TIMEOUT = "1s"

-- The role comes first: what follows is asked of it.
local function prepare(connection, options)
  if options.role then
    connection:query("SET ROLE " .. pg.identifier(options.role))
  end
  sessions.pin(connection, SETTINGS)
  if options.lc_monetary then
    sessions.set_monetary(connection, options.lc_monetary)
  end
  sessions.set(connection, "row_security", options.enable_row_security and "on" or "off")
  sessions.set(connection, "quote_all_identifiers", options.quote_all_identifiers and "on" or "off")
end

local POOLER_HINT = "connect to the server itself; or, if the pooler gives a whole session to each " ..
  'client, say so: dump = { pooler = "session" }'

--- Lets foreign tables be read, or not.
function M.allow_foreign(connection, on)
  sessions.set(connection, "restrict_nonsystem_relation_kind", on and "view" or "view, foreign-table")
end

local Leader = {}
Leader.__index = Leader

--- Begins the transaction that all of a dump sees. `options`: the table `dump`. A closable leader:
--- { connection, snapshot, lsn, pid }.
function M.lead(source, options)
  local connection = source:connect { patient = true }
  local self = setmetatable({ source = source, options = options, connection = connection }, Leader)
  local ok, err = pcall(function()
    self.pid = sessions.check_pooler(connection, options.pooler, POOLER_HINT)
    prepare(connection, options)
    self.is_standby = connection:value "SELECT pg_catalog.pg_is_in_recovery()"
    connection:query("BEGIN ISOLATION LEVEL " .. (options.serializable_deferrable and
      "SERIALIZABLE, READ ONLY, DEFERRABLE" or "REPEATABLE READ, READ ONLY"))
    self.snapshot = connection:value "SELECT pg_catalog.pg_export_snapshot()"
    self.lsn = connection:value(self.is_standby and
      "SELECT pg_catalog.pg_last_wal_replay_lsn()::text" or
      "SELECT pg_catalog.pg_current_wal_lsn()::text")
  end)
  if not ok then
    connection:close()
    error(err, 0)
  end
  return self
end

--- From now on text has this encoding: the one that the archive says it has.
function Leader:set_encoding(encoding)
  self.encoding = encoding
  sessions.set(self.connection, "client_encoding", encoding)
end

-- Why there is no follower: the leader may be gone, and its server with it.
function Leader:explain(err)
  local ok, lost = pcall(self.connection.value, self.connection, "SELECT 1")
  if ok then
    return err
  end
  return errors.new("PG_CONNECTION_LOST", "the connection that holds the dump's snapshot was lost: " ..
    errors.of(lost).message, { hint = "run the dump again; see the server's log for the cause" })
end

--- A connection that sees the leader's snapshot.
function Leader:follower()
  local connection
  local ok, err = pcall(function()
    connection = self.source:connect { patient = true }
    prepare(connection, self.options)
    sessions.set(connection, "client_encoding", self.encoding)
    sessions.set(connection, "lock_timeout", FOLLOWER_LOCK_TIMEOUT)
    connection:query "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
    connection:query("SET TRANSACTION SNAPSHOT " .. pg.literal(self.snapshot))
  end)
  if not ok then
    if connection then
      connection:close()
    end
    error(self:explain(err), 0)
  end
  return connection
end

function Leader:close()
  self.connection:close()
end
Leader.__close = Leader.close

return M
