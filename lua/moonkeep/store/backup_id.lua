--- What an id of a backup, "20261122T020000Z-3f9a2c", tells: when what it has was read from the server.
--- (Its manifest is written when all of it is there, which may be hours later.)
local zone = require "moonkeep.schedule.zone"

local M = {}

--- Seconds since 1970.
function M.time_of(id)
  local date, clock = tonumber(id:sub(1, 8)), tonumber(id:sub(10, 15))
  return zone.unix(date // 10000, date // 100 % 100, date % 100, clock // 10000, clock // 100 % 100,
    clock % 100)
end

--- The same as text, "2026-11-22T02:00:00Z".
function M.created_at(id)
  return (id:gsub("^(....)(..)(..)T(..)(..)(..)Z.*$", "%1-%2-%3T%4:%5:%6Z"))
end

return M
