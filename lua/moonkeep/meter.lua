--- Counting what one or several flows have read from their sources, and showing it: flow.run adds its
--- flow to the meter that it is given; meter:show() tells of the progress until its task is ended.
local core_task = require "moonkeep.core.task"
local host = require "moonkeep.core.host"
local log = require "moonkeep.log"
local units = require "moonkeep.units"

local M = {}

local PROGRESS_MS = 500

local Meter = {}
Meter.__index = Meter

--- `total`: how many bytes there will be, as far as is known.
function M.new(title, total)
  return setmetatable({ title = title, total = total, done = 0, flows = {} }, Meter)
end

function Meter:bytes()
  local bytes = self.done
  for flow in pairs(self.flows) do
    bytes = bytes + flow:report()[1].bytes_read
  end
  return bytes
end

function Meter:show()
  local began = host.monotonic()
  while true do
    core_task.sleep(PROGRESS_MS)
    local bytes, seconds = self:bytes(), (host.monotonic() - began) / 1000
    log.event { event = "progress", title = self.title, bytes = bytes, seconds = seconds,
      total = self.total,
      text = self.title .. "  " .. units.format_progress(bytes, seconds, self.total) }
  end
end

return M
