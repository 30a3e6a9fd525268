--- Messages of a run. Levels: debug, info, warn, error. Arguments as for string.format.
local host = require "moonkeep.core.host"
local redact = require "moonkeep.redact"

local M = {}

for _, level in ipairs { "debug", "info", "warn", "error" } do
  M[level] = function(text, ...)
    host.log(level, redact.text(select("#", ...) > 0 and text:format(...) or tostring(text)))
  end
end

--- One event to the supervisor; see docs/reference/events.md.
function M.event(event, important)
  event.time = event.time or host.iso_time()
  host.emit(redact.value(event), important or false)
end

-- What one event carries of a long text: the supervisor takes lines of up to 16 MiB, JSON's escapes
-- included.
local PIECE_BYTES = 1 << 20

-- Where a piece that begins at `from` ends: not inside a UTF-8 sequence.
local function piece_end(text, from)
  local last = from + PIECE_BYTES - 1
  for _ = 1, 3 do
    local byte = text:byte(last + 1)
    if not byte or byte < 0x80 or byte > 0xbf then
      break
    end
    last = last - 1
  end
  return last
end

--- What the recipe says to its user: a line on stdout.
function M.show(text, ...)
  text = redact.text(select("#", ...) > 0 and text:format(...) or tostring(text))
  local from = 1
  while #text - from >= PIECE_BYTES do
    local last = piece_end(text, from)
    M.event({ event = "output", text = text:sub(from, last), partial = true }, true)
    from = last + 1
  end
  M.event({ event = "output", text = from > 1 and text:sub(from) or text }, true)
end

return M
