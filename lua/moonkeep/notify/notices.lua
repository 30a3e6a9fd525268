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

-- What the event is about, without what differs from time to time. It begins with its kind.
local function subject(event)
  local err = event.error or {}
  local text = table.concat({ event.kind, err.code or "", err.message or "",
    table.concat(event.problems or {}, "\n") }, "|")
  return (text:gsub("%d%d%d%d%d%d%d%dT%d%d%d%d%d%dZ%-%x+", "ID"):gsub("%d+", "N"):gsub("%z", "?"))
end

local function count(rows, i)
  return rows[i][1] and rows[i][1].n or 0
end

local function place(event)
  return event.job or event.recipe or ""
end

--- Whether a recipient is to be told of an event now. If so the event says how many messages were held
--- back before; if not, it is counted as one of them.
function M.allow(recipient, event)
  local identity = notify.identity(recipient.descriptor)
  if notify.pings(recipient.descriptor) then
    return true
  end
  local now = host.wall()
  local again = units.duration(recipient.descriptor.options.again or AGAIN)
  local rows = catalog.run { -- what was told in the future was told by a clock that was wrong
    { [[SELECT count(*) AS n FROM notices WHERE notifier = ?1 AND job = ?2 AND what = ?3
        AND told_ms > ?4 AND told_ms <= ?5]], identity, place(event), subject(event), now - again, now },
    { [[SELECT count(*) AS n FROM messages WHERE notifier = ?1 AND told_ms > ?2
        AND told_ms <= ?3]], identity, now - HOUR_MS, now },
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
  return true
end

--- A recipient's message is on its way.
function M.note(recipient, event)
  if notify.pings(recipient.descriptor) then
    return
  end
  local identity, now = notify.identity(recipient.descriptor), host.wall()
  catalog.run {
    { "DELETE FROM messages WHERE told_ms <= ?1 OR told_ms > ?2", now - HOUR_MS, now },
    { "INSERT INTO messages VALUES (?1, ?2)", identity, now },
    { "INSERT OR REPLACE INTO notices VALUES (?1, ?2, ?3, ?4)", identity, place(event),
      subject(event), now },
    { "DELETE FROM held WHERE notifier = ?1", identity },
  }
end

--- Whether somebody was told of a problem of a job, or of its recipe, that is not over yet.
function M.any(job, recipe)
  local rows = catalog.run { { [[SELECT count(*) AS n FROM notices WHERE job IN (?1, ?2)
    AND (what LIKE 'failure|%' OR what LIKE 'degraded|%')]], job, recipe or "" } }
  return rows ~= nil and count(rows, 1) > 0
end

--- A job is well, but for its size, perhaps: its next problem is a new one.
function M.forget(job, recipe, is_odd)
  catalog.run { { "DELETE FROM notices WHERE job IN (?1, ?2) AND NOT (?3 AND what LIKE 'size|%')", job,
    recipe or "", is_odd and 1 or 0 } }
end

return M
