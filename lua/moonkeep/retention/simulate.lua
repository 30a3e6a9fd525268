--- A year ahead: what a store would hold if every scheduled run went well. Nothing is asked of a store
--- here; backups are as large as the newest one is.
local clock = require "moonkeep.clock"
local core_task = require "moonkeep.core.task"
local judge = require "moonkeep.retention.judge"
local merge = require "moonkeep.merge"
local schedule = require "moonkeep.schedule"

local M = {}

local YEAR = 365 * 86400
local MAX_JUDGED = 400 -- of a job that runs each minute, not every run is judged

-- The instants of the runs of a year.
local function runs_of(rule, now)
  local times = {}
  for _, time in ipairs(schedule.upcoming(rule, now, YEAR // 60)) do
    if time > now + YEAR then
      break
    end
    times[#times + 1] = time
  end
  return times
end

local function judged(backups, keep, context, now)
  context.now = now
  local alive = {}
  for _, verdict in ipairs(judge.judge(backups, keep, context)) do
    alive[#alive + 1] = verdict.keep and verdict.backup or nil
  end
  return alive
end

--- What becomes of the backups of a series (retention/facts.lua): { n, most (at once), oldest (of Unix),
--- size }, in a year from context.now. `rule`: the job's schedule; `tags`: those of its backups;
--- `lock_seconds`: for so long the store locks each, or nil. No policy is asked.
function M.year(backups, keep, rule, context, tags, lock_seconds)
  local now, times, last = context.now, runs_of(rule, context.now), backups[#backups] or {}
  context = merge(context)
  context.veto = nil
  local alive, most = judged(backups, keep, context, now), 0
  local step = math.max(1, #times // MAX_JUDGED)
  for i, time in ipairs(times) do
    alive[#alive + 1] = { id = ("%s-%06x"):format(clock.compact(time), i), time = time,
      tags = tags or {}, proof = "checked", size = last.size or 0, database = last.database, marks = {},
      locked_until = lock_seconds and time + lock_seconds }
    if i % step == 0 or i == #times then
      alive = judged(alive, keep, context, time)
      most = math.max(most, #alive + 1) -- the next one comes before what expires goes
      core_task.sleep(0) -- it may take long: the watchdog is for recipes
    end
  end
  local oldest, total = nil, 0
  for _, backup in ipairs(alive) do
    oldest, total = math.min(oldest or backup.time, backup.time), total + (backup.size or 0)
  end
  return { n = #alive, most = most, oldest = oldest, size = total }
end

return M
