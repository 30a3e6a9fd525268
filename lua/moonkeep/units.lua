--- Durations and sizes: strings in recipes, numbers inside.
local core = require "moonkeep.core.units"
local errors = require "moonkeep.errors"

local M = {}

local duration_units = { ms = 1, s = 1000, m = 60000, h = 3600000, d = 86400000 }
local size_units = { B = 1, KiB = 1 << 10, MiB = 1 << 20, GiB = 1 << 30, TiB = 1 << 40,
  kB = 10 ^ 3 // 1 | 0, MB = 10 ^ 6 // 1 | 0, GB = 10 ^ 9 // 1 | 0, TB = 10 ^ 12 // 1 | 0 }

local function parse(text, units)
  local number, unit = tostring(text):match "^(%d+%.?%d*)%s*(%a+)$"
  return number and units[unit] and math.floor(tonumber(number) * units[unit] + 0.5)
end

--- "90m", "1.5h", "500ms" -> milliseconds. Returns nil, why for anything else.
function M.duration(text)
  local ms = type(text) == "string" and parse(text, duration_units)
  if not ms or ms == 0 then
    return nil, "must be a duration such as \"500ms\", \"30s\", \"90m\", \"3h\" or \"2d\""
  end
  return ms
end

--- "64MiB", "10GB" -> bytes. Returns nil, why for anything else.
function M.size(text)
  local bytes = type(text) == "string" and parse(text, size_units)
  if not bytes or bytes == 0 then
    return nil, "must be a size such as \"64MiB\" or \"10GB\""
  end
  return bytes
end

--- Like duration, but raises: for arguments of functions.
function M.check_duration(text, what)
  local ms, why = M.duration(text)
  if not ms then
    errors.raise("INVALID", ("%s %s, not %s"):format(what, why, tostring(text)))
  end
  return ms
end

--- 1536 -> "1.5 KiB"
M.format_size = core.format_size

--- 1, "row" -> "1 row"; 2, "row" -> "2 rows"; 2, "entry" -> "2 entries"
function M.format_count(n, noun)
  local many = noun:match "[^aeiou]y$" and noun:gsub("y$", "ies") or noun:match "x$" and noun .. "es" or
    noun .. "s"
  return ("%d %s"):format(n, n == 1 and noun or many)
end

local function two(n, unit, rest, next_unit)
  return rest > 0 and ("%d%s %d%s"):format(n, unit, rest, next_unit) or ("%d%s"):format(n, unit)
end

--- 5400000 -> "1h 30m"; of the two largest units that count.
function M.format_duration(ms)
  local seconds = ms // 1000
  if seconds < 1 then
    return ("%d ms"):format(ms)
  elseif seconds < 60 then
    return ("%ds"):format(seconds)
  elseif seconds < 3600 then
    return two(seconds // 60, "m", seconds % 60, "s")
  elseif seconds < 86400 then
    return two(seconds // 3600, "h", seconds // 60 % 60, "m")
  end
  return two(seconds // 86400, "d", seconds // 3600 % 24, "h")
end

--- "12.0 MiB of about 40.0 MiB  6.0 MiB/s  4s left" of the bytes moved so far, in how long, and how
--- many there will be, if that is known.
function M.format_progress(bytes, seconds, total)
  local text = M.format_size(bytes)
  if total and total > bytes then
    text = ("%s of about %s"):format(text, M.format_size(total))
  end
  text = ("%s  %s/s"):format(text, M.format_size(bytes / seconds))
  if total and total > bytes and bytes > 0 then
    local left_ms = (total - bytes) / (bytes / seconds) * 1000
    text = ("%s  %s left"):format(text, M.format_duration(math.max(1000, left_ms // 1 | 0)))
  end
  return text
end

return M
