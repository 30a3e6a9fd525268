--- Messages of a run. Levels: debug, info, warn, error. Arguments as for string.format.
local host = require "moonkeep.core.host"
local json = require "moonkeep.core.json"

local M = {}

for _, level in ipairs { "debug", "info", "warn", "error" } do
  M[level] = function(text, ...)
    host.log(level, select("#", ...) > 0 and text:format(...) or tostring(text))
  end
end

--- One event to the supervisor; see docs/reference/events.md.
function M.event(event, important)
  host.emit(json.encode(event), important or false)
end

--- What the recipe says to its user: a line on stdout.
function M.show(text, ...)
  text = select("#", ...) > 0 and text:format(...) or tostring(text)
  M.event({ event = "output", text = text }, true)
end

return M
