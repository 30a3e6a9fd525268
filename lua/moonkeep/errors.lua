--- Raising error values, and what the library knows about other programs' errors.
---
--- An error value is a table { code, op, message, hint, detail, sqlstate, where, traceback, also,
--- left }; tostring gives "CODE: message". `code` is stable: tests and policies may rely on it.
local core = require "moonkeep.core.error"

local M = { is_error = core.is_error, handler = core.handler }

--- Makes an error value. `fields` may have hint, detail, op, where.
function M.new(code, message, fields)
  local err = { code = code, message = message }
  for key, value in pairs(fields or {}) do
    err[key] = value
  end
  return core.new(err)
end

function M.raise(code, message, fields)
  error(M.new(code, message, fields), 0)
end

--- The error value of whatever was raised. Lua itself raises the text "not enough memory", for it
--- could not make a table then.
function M.of(raised)
  if core.is_error(raised) then
    return raised
  end
  if raised == "not enough memory" then
    return M.new("LUA_MEMORY", "the recipe needs more memory than Lua is given",
      { hint = "don't collect large data in Lua tables, or raise --lua-memory" })
  end
  return M.new("LUA_ERROR", tostring(raised))
end

-- What servers and their client programs say, and what to do about it. The texts are those of
-- PostgreSQL's sources (lc_messages = C); an error in another language just gets no hint.
local known_faults = {
  { "Connection refused",
    "is PostgreSQL running there, and is this its port? Try: pg_isready -h HOST -p PORT" },
  { "No such file or directory.*Is the server running locally",
    "no server listens on that socket: start it, or give host and port" },
  { "could not translate host name", "the host name does not resolve: check its spelling and DNS" },
  { "password authentication failed",
    "check user and password: ~/.pgpass (mode 0600), PGPASSWORD, or the service file" },
  { "no password supplied",
    "the server wants a password: put it into ~/.pgpass (mode 0600) or PGPASSWORD" },
  { "no pg_hba.conf entry", "allow this user, database and address in the server's pg_hba.conf" },
  { "Peer authentication failed",
    "run as the operating-system user of that name, or connect over TCP with a password" },
  { "database \".-\" does not exist", "list the databases with: psql -l" },
  { "role \".-\" does not exist",
    "create the role first, or restore with no_owner = true, no_privileges = true" },
  { "permission denied for",
    "give the backup role read access: GRANT pg_read_all_data TO backup_role" },
  { "server version mismatch", "install the client programs of the server's major version" },
  { "No space left on device", "free space there, or store the backup elsewhere" },
  { "too many clients already", "no connection is free: raise max_connections, or wait" },
  { "the database system is starting up", "the server is starting: try again in a moment" },
  { "terminating connection due to administrator command",
    "somebody ended the session (pg_terminate_backend or a server restart): run it again" },
  { "server closed the connection unexpectedly",
    "look into the server's log: it may have crashed or restarted" },
}

--- Gives an error value the hint of a known fault, if it has none that helps.
function M.explain(err)
  if not core.is_error(err) or err.hint then
    return err
  end
  local text = (err.message or "") .. "\n" .. (err.detail or "")
  for _, fault in ipairs(known_faults) do
    if text:find(fault[1]) then
      err.hint = fault[2]
      break
    end
  end
  return err
end

return M
