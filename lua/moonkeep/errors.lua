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

--- One error of a list of them, with the others beside it; nil when there are none.
function M.together(list)
  local first = list[1]
  if #list > 1 then
    first.also = table.move(list, 2, #list, #(first.also or {}) + 1, first.also or {})
  end
  return first
end

--- Whether a store's service does not allow what was asked for: credentials may lack some rights, and
--- what they allow be enough all the same.
function M.is_denied(raised)
  return M.of(raised).status == 403
end

-- What a program quotes of the user's own: it could look like anything.
local QUOTED = { "\n[^\n]*Command was:.*", "\n[^\n]*CONTEXT:[^\n]*", "\n[^\n]*STATEMENT:[^\n]*" }

local function fill(hint, captures)
  return (hint:gsub("%%(%d)", function(n)
    return captures[tonumber(n)] or "?"
  end))
end

local LOOKED_AT = 64 * 1024 -- bytes of what is said: more is not shown either, and there are many faults

--- Gives an error value the name (`fault`) and the hint of a known fault, if it has no hint that
--- helps: the server's own ("Check free disk space.") gives way. See moonkeep.pg.faults.
function M.explain(err)
  if not core.is_error(err) or err.fault or err.hint and err.code ~= "PG_ERROR" then
    return err
  end
  local text = (err.message or ""):sub(1, LOOKED_AT) .. "\n" .. (err.detail or ""):sub(1, LOOKED_AT)
  for _, pattern in ipairs(QUOTED) do
    text = text:gsub(pattern, "")
  end
  for _, fault in ipairs(require "moonkeep.pg.faults") do
    local found = table.pack(text:find(fault[2]))
    if found[1] then
      err.fault = fault[1]
      err.hint = fill(fault[3], { table.unpack(found, 3, found.n) })
      break
    end
  end
  return err
end

return M
