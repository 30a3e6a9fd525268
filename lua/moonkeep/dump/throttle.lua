--- How fast a dump may read: a fixed rate, or what a function of the recipe says, which is asked every
--- few seconds with a connection to the server.
local core = require "moonkeep.core.flow"
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local log = require "moonkeep.log"
local units = require "moonkeep.units"

local M = {}

local INTERVAL_MS = 2000

local Throttle = {}
Throttle.__index = Throttle

local function rate_of(value)
  if value == nil then
    return 0
  end
  local rate, why = units.size(value)
  if not rate or rate == 0 then
    errors.raise("INVALID", ("throttle returned %s; it %s a second, or nil for no limit"):format(
      tostring(value), why or "must be a size"))
  end
  return rate
end

-- Asks the function, and says when it has changed its mind.
function Throttle:ask()
  local rate = rate_of(self.fn(self.connection))
  if rate ~= self.rate then
    self.rate = rate
    self.limiter:set(rate)
    log.info("throttle: %s", rate == 0 and "no limit" or units.format_size(rate) .. "/s")
  end
end

--- Keeps asking until its task is ended.
function Throttle:run()
  while true do
    core_task.sleep(INTERVAL_MS)
    self:ask()
  end
end

function Throttle:close()
  if self.connection then
    self.connection:close()
  end
end
Throttle.__close = Throttle.close

--- A closable throttle, or nil when reading is not limited: { limiter, fn }. With a function, it has
--- been asked once, and run() is to be a task of its own. `throttle`: the key of `dump`.
function M.new(source, throttle)
  if not throttle then
    return nil
  end
  local self = setmetatable({ limiter = core.limiter() }, Throttle)
  if type(throttle) == "string" then
    self.limiter:set(rate_of(throttle))
    return self
  end
  self.fn, self.connection = throttle, source:connect { patient = true }
  local ok, err = pcall(self.ask, self)
  if not ok then
    self:close()
    error(err, 0)
  end
  return self
end

return M
