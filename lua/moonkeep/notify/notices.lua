--- What has been told, in the catalog: the same problem is not told again for a while, and nobody gets
--- more than MAX_PER_HOUR messages. Without a catalog everything is told.
local catalog = require "moonkeep.catalog"
local host = require "moonkeep.core.host"
local notify = require "moonkeep.notify"
local units = require "moonkeep.units"

local M = {}

local AGAIN = "4h"
local HOUR_MS = 3600 * 1000
local MAX_PER_HOUR = 20

local REPEATS = { failure = true, degraded = true, skipped = true, stale = true, size = true }

-- What the event is about, without what differs from time to time.
local function subject(event)
  local err = event.error or {}
  local text = table.concat({ event.kind, err.code or "", err.message or "",
    table.concat(event.problems or {}, "\n") }, "\0")
  return (text:gsub("%d%d%d%d%d%d%d%dT%d%d%d%d%d%dZ%-%x+", "ID"):gsub("%d+", "N"))
end

local function count(rows, i)
  return rows[i][1] and rows[i][1].n or 0
end

--- Whether a recipient is to be told of an event now; if so, that is written down, and the event says
--- how many were held back before.
function M.allow(recipient, event)
  local identity, job = recipient.identity, event.job or event.recipe or ""
  if notify.pings(recipient.descriptor) then
    return true
  end
  local now, what = host.wall(), subject(event)
  local again = units.duration(recipient.descriptor.options.again or AGAIN)
  local rows = catalog.run {
    { [[SELECT count(*) AS n FROM notices WHERE notifier = ?1 AND job = ?2 AND what = ?3
        AND told_ms > ?4]], identity, job, what, now - again },
    { "SELECT count(*) AS n FROM messages WHERE notifier = ?1 AND told_ms > ?2", identity,
      now - HOUR_MS },
    { "SELECT n FROM held WHERE notifier = ?1", identity },
  }
  if not rows then
    return true
  end
  local is_told = REPEATS[event.kind] and count(rows, 1) > 0
  if is_told or count(rows, 2) >= MAX_PER_HOUR then
    catalog.run { { "INSERT INTO held VALUES (?1, 1) ON CONFLICT DO UPDATE SET n = n + 1",
      identity } }
    return false
  end
  event.held_back = count(rows, 3)
  catalog.run {
    { "DELETE FROM messages WHERE told_ms <= ?1", now - HOUR_MS },
    { "INSERT INTO messages VALUES (?1, ?2)", identity, now },
    { "INSERT OR REPLACE INTO notices VALUES (?1, ?2, ?3, ?4)", identity, job, what, now },
    { "DELETE FROM held WHERE notifier = ?1", identity },
  }
  return true
end

--- A job is well: its next problem is a new one.
function M.forget(job)
  catalog.run { { "DELETE FROM notices WHERE job = ?1", job } }
end

return M
