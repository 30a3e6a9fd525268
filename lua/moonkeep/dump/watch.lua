--- Who waits for whom while a dump runs: said aloud, and ended when it takes too long.
---
--- A connection of its own asks the server every few seconds, for that of the leader is in its
--- transaction. Two things are told: what keeps our own processes waiting, and who waits for them
--- (a migration that wants a table which is being dumped). With `lock_timeout`, nobody waits for the
--- dump longer than that: then the dump gives way.
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local log = require "moonkeep.log"
local units = require "moonkeep.units"

local M = {}

local INTERVAL_MS = 1000
local TOLD_AGAIN_MS = 60000

-- Pairs of a process that waits and one that it waits for, one of the two ours.
local WAITING = [[
  WITH ours AS (SELECT pid FROM pg_catalog.pg_stat_activity
    WHERE pid = ANY ($1::int[]) OR application_name = $2)
  SELECT w.pid, b.pid AS blocker, w.pid IN (SELECT pid FROM ours) AS we_wait,
    (extract(epoch FROM clock_timestamp() - w.query_start) * 1000)::bigint AS ms,
    w.usename AS waiting_role, b.usename AS blocking_role,
    left(regexp_replace(w.query, '\s+', ' ', 'g'), 100) AS waiting_query,
    left(regexp_replace(b.query, '\s+', ' ', 'g'), 100) AS blocking_query
  FROM pg_catalog.pg_stat_activity w,
    unnest(pg_catalog.pg_blocking_pids(w.pid)) AS p (pid)
  JOIN pg_catalog.pg_stat_activity b ON b.pid = p.pid
  WHERE w.wait_event_type = 'Lock' AND w.datname = current_database()
    AND (w.pid IN (SELECT pid FROM ours)) <> (b.pid IN (SELECT pid FROM ours))]]

local function text_of(row)
  local duration = units.format_duration(row.ms)
  if row.we_wait then
    return ("the dump has been waiting for %s for process %d of role %s: %s"):format(duration,
      row.blocker, tostring(row.blocking_role), tostring(row.blocking_query))
  end
  return ("process %d of role %s has been waiting for %s for the dump to end: %s"):format(row.pid,
    tostring(row.waiting_role), duration, tostring(row.waiting_query))
end

local Watch = {}
Watch.__index = Watch

function Watch:tell(row)
  local key = row.we_wait and row.pid .. ":" .. row.blocker or row.pid -- several of ours block it
  if row.ms - (self.told[key] or -TOLD_AGAIN_MS) < TOLD_AGAIN_MS then
    return
  end
  self.told[key] = row.ms
  log.warn("%s", text_of(row))
end

function Watch:give_way(row)
  errors.raise("LOCK_TIMEOUT", ("the dump gave way: %s"):format(text_of(row)), {
    hint = "dump when no migrations run, or allow more: dump = { lock_timeout = ... }" })
end

function Watch:look()
  local pids = {}
  for pid in pairs(self.pids) do
    pids[#pids + 1] = pid
  end
  for _, row in ipairs(self.connection:query(WAITING, "{" .. table.concat(pids, ",") .. "}",
    self.name or "")) do
    self:tell(row)
    if not row.we_wait and self.lock_timeout_ms and row.ms > self.lock_timeout_ms then
      self:give_way(row)
    end
  end
end

--- Looks until its task is ended; raises LOCK_TIMEOUT. Without it a dump is as good, so a server
--- that does not answer here only ends the watching.
function Watch:run()
  while true do
    core_task.sleep(INTERVAL_MS)
    local ok, err = pcall(self.look, self)
    if not ok then
      err = errors.of(err)
      if err.code ~= "PG_ERROR" and err.code ~= "PG_CONNECTION_LOST" then
        error(err, 0)
      end
      log.warn("what the dump waits for is no longer watched: %s", err.message)
      return
    end
  end
end

function Watch:close()
  self.connection:close()
end
Watch.__close = Watch.close

--- A watch that is not running yet. Its fields `pids`, the set of our server processes, and `name`,
--- pg_dump's application_name, change as the dump goes on.
function M.new(source, lock_timeout_ms)
  return setmetatable({ connection = source:connect { patient = true }, pids = {}, told = {},
    lock_timeout_ms = lock_timeout_ms }, Watch)
end

return M
