--- What every session of a dump or a restore has pinned, whatever the server, the database or the role
--- sets: what the text of values depends on, and no time limits.
local errors = require "moonkeep.errors"

local M = {}

-- As pg_dump and pg_restore set them, and what content hashes need beside.
local SETTINGS = {
  { "search_path", "" }, { "datestyle", "ISO" }, { "intervalstyle", "postgres" },
  { "extra_float_digits", "3" }, { "timezone", "UTC" }, { "bytea_output", "hex" },
  { "statement_timeout", "0" }, { "lock_timeout", "0" }, { "transaction_timeout", "0" },
  { "idle_in_transaction_session_timeout", "0" }, { "idle_session_timeout", "0" },
}

--- Sets a setting, where the server knows it.
function M.set(connection, name, value)
  connection:query("SELECT pg_catalog.set_config(name, $2, false) FROM pg_catalog.pg_settings " ..
    "WHERE lower(name) = $1", name, value)
end

local INVALID_VALUE = "22023"

--- Sets the locale that the text of the type money depends on; false: the server does not have it.
function M.set_monetary(connection, locale)
  local ok, err = pcall(M.set, connection, "lc_monetary", locale)
  if not ok and errors.of(err).sqlstate ~= INVALID_VALUE then
    error(err, 0)
  end
  return ok
end

--- Pins all of them, and these: { { name, value }... }.
function M.pin(connection, more)
  for _, list in ipairs { SETTINGS, more or {} } do
    for _, setting in ipairs(list) do
      M.set(connection, setting[1], setting[2])
    end
  end
end

--- Raises POOLER when a pooler stands between us and the server, unless it is said to give whole
--- sessions (`pooler` is "session"). Returns the backend's pid.
function M.check_pooler(connection, pooler, hint)
  local pid = connection:value "SELECT pg_catalog.pg_backend_pid()"
  if pid ~= connection.native:backend_pid() and pooler ~= "session" then
    errors.raise("POOLER", "a connection pooler stands between moonkeep and the server",
      { hint = hint })
  end
  return pid
end

return M
