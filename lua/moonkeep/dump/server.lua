--- Which server a dump reads from. Several hosts may be given, and a standby be preferred; from then
--- on every connection, pg_dump's too, goes to the one that was chosen.
local errors = require "moonkeep.errors"
local log = require "moonkeep.log"
local units = require "moonkeep.units"

local M = {}

-- libpq's target_session_attrs.
local ATTRIBUTES = { standby = "prefer-standby", standby_only = "standby" }

-- How old what a standby shows is. Its last transaction may be old because nothing happens; it is
-- not behind when all that has been received has been replayed.
local LAG = [[
  SELECT CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver) AND
      pg_catalog.pg_last_wal_receive_lsn() = pg_catalog.pg_last_wal_replay_lsn() THEN 0
    ELSE (extract(epoch FROM clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp()) * 1000)
      ::bigint END]]

-- The same source, but this one server of it.
local function pinned(source, connection)
  local host, port, address = connection.native:address()
  return source:with { host = host, port = port, hostaddr = address ~= "" and address or nil,
    target_session_attrs = "any" }
end

local function connect(source, attributes)
  local wanted = attributes and source:with { target_session_attrs = attributes } or source
  return wanted:connect { patient = true }
end

-- Why a standby is too far behind; nil when it is not.
local function lag_text(connection, max_lag)
  local lag = connection:value(LAG)
  if not lag then
    return "the standby has not replayed anything yet"
  elseif lag > units.duration(max_lag) then
    return ("the standby is %s behind, max_lag is %s"):format(units.format_duration(lag), max_lag)
  end
end

local function choose_primary(source, why)
  local ok, connection = pcall(connect, source, "primary")
  if not ok then
    errors.raise("STANDBY_LAG", ("%s, and there is no primary: %s"):format(why,
      errors.of(connection).message), { hint = "name the primary's host, too: " ..
      'mk.pg { host = "standby,primary" }; or allow more: max_lag' })
  end
  log.warn("%s: dumping from the primary", why)
  local chosen = pinned(source, connection)
  connection:close()
  return chosen
end

--- The one server to dump from. `options`: prefer, max_lag. Raises STANDBY_LAG.
function M.choose(source, options)
  local connection <close> = connect(source, ATTRIBUTES[options.prefer])
  if not connection:value "SELECT pg_catalog.pg_is_in_recovery()" then
    if options.prefer == "standby" then
      log.warn("no standby is to be had: dumping from the primary")
    end
    return pinned(source, connection)
  end
  local why = options.max_lag and lag_text(connection, options.max_lag)
  if not why then
    return pinned(source, connection)
  elseif options.prefer == "standby" then
    return choose_primary(source, why)
  end
  errors.raise("STANDBY_LAG", why, { hint = "see why replay is late: SELECT * FROM " ..
    "pg_stat_wal_receiver; or allow more: max_lag" })
end

--- The primary, after a standby has cancelled what it was asked.
M.choose_primary = choose_primary

return M
