--- What happened, as templates and services get it. All of it is plain data:
---
---   kind            why this notifier is told: "start", "success", "recovered", "size", "degraded",
---                   "failure", "skipped", "stale"
---   job, recipe     names; no job: the recipe did not load
---   run, host, time of the run; time is UTC
---   status          "started", "ok", "degraded", "failed", "skipped", "stale"
---   seconds, usual_seconds   how long it took; the median of the last 7 (from 3 on)
---   error           { code, message, hint, detail, where, left, also, mistakes }
---   problems        texts: what makes it degraded, or unusual
---   backups         { id, database, series, size, decoded_size, proof, stores (names), missing ({
---                   store, error }), usual = { size, seconds } }
---   last_good       { id, created_at, age_seconds }
---   log             the path of the run's log
---   text, hint      what else there is to say
---   held_back       how many messages were not sent before this one
---   delayed_since   when it happened, if it is delivered later
---   is_test         `moonkeep notify test`
local backup_id = require "moonkeep.core.backup_id"
local catalog = require "moonkeep.catalog"
local host = require "moonkeep.core.host"
local stores = require "moonkeep.store"
local usual = require "moonkeep.usual"

local M = {}

local STATUS = { start = "started", ok = "ok", degraded = "degraded", failed = "failed",
  skipped = "skipped" }

local BY_SUPERVISOR = { WORKER_DIED = true, DEADLINE = true, CANCELED = true }

local function last_good(job)
  local id = catalog.last_good(job)
  return id and { id = id, created_at = backup_id.created_at(id),
    age_seconds = math.max(1, host.wall() // 1000 - backup_id.time_of(id)) }
end

-- What the catalog knows of the job. `limits`: the job's `unusual`.
local function enrich(event, limits)
  if event.status ~= "started" then
    event.usual_seconds = usual.median(catalog.durations(event.job, event.run))
  end
  for _, backup in ipairs(event.backups or {}) do
    backup.database = stores.unseries(backup.series)
    backup.usual = usual.of(catalog.backups_before(event.job, backup.series, backup.id))
    for _, problem in ipairs(usual.problems(backup, backup.usual, limits)) do
      event.has_unusual_size = true
      event.problems = event.problems or {}
      table.insert(event.problems, problem)
    end
  end
  event.last_good = event.status ~= "ok" and event.status ~= "started" and last_good(event.job) or nil
  event.log = event.log or catalog.log_of(event.run)
  local before = event.status == "ok" and catalog.status_before(event.job, event.run)
  event.has_recovered = before == "failed" or before == "killed" or before == "degraded"
end

--- Of what the supervisor has seen: `seen` is an event `start` or `result`.
function M.of_run(seen, recipe)
  local job = seen.job ~= "" and seen.job or nil
  local is_supervisors = BY_SUPERVISOR[(seen.error or {}).code] -- which does not know the run
  local event = { job = job, recipe = recipe,
    run = seen.run or job and is_supervisors and catalog.latest_run(job) or nil,
    host = host.name(), time = seen.time, status = STATUS[seen.status or seen.event] or "failed",
    seconds = seen.seconds, error = seen.error, problems = seen.problems, hint = seen.hint,
    backups = seen.backups, text = seen.status == "skipped" and seen.text or nil }
  if job then
    enrich(event, seen.unusual)
  end
  return event
end

--- Of a recipe that does not load. `err`: as runner.plain makes it.
function M.of_recipe(recipe, err)
  return { recipe = recipe, host = host.name(), time = host.iso_time(), status = "failed", error = err }
end

--- Of a job whose last good backup is too old. `fresh`: how old it may be.
function M.of_stale(job, recipe, fresh)
  return { job = job, recipe = recipe, host = host.name(), time = host.iso_time(), status = "stale",
    last_good = last_good(job), text = ("there is no good backup that is newer than %s"):format(
    fresh or "its schedule") }
end

return M
