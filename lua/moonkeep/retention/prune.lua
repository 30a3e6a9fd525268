--- Retention at work: what of a job's backups in each of its stores goes, and its removal.
---
--- Every store is judged by itself, by its own `keep` or the job's, and only when everything about it
--- could be read. A backup goes in steps that a kill does not harm: it is marked `expired`, which is
--- the decision; its manifest is removed, so nothing incomplete is ever seen; then its objects and
--- marks. Whoever comes next finishes what was begun. The mark stays for as long as another store has
--- the backup, so that `copy --all` does not bring it back.
---
--- Under the lock of each backup, whether it is held is asked once more.
local catalog = require "moonkeep.catalog"
local clock = require "moonkeep.clock"
local errors = require "moonkeep.errors"
local facts = require "moonkeep.retention.facts"
local globals = require "moonkeep.pg.globals"
local identity = require "moonkeep.store.identity"
local judge = require "moonkeep.retention.judge"
local log = require "moonkeep.log"
local merge = require "moonkeep.merge"
local names_of = require "moonkeep.names_of"
local policy = require "moonkeep.policy"
local rules = require "moonkeep.retention.rules"
local units = require "moonkeep.units"
local zone = require "moonkeep.schedule.zone"

local M = {}

--- The rules for a store: its own or the job's; nil: nothing expires.
function M.keep_of(job, store)
  if store.options.keep ~= nil then
    return store.options.keep or nil
  end
  return job.keys.keep or nil
end

--- Whether anything of a job ever expires.
function M.is_asked(job)
  for _, store in ipairs(job.keys.upload or {}) do
    if M.keep_of(job, store) then
      return true
    end
  end
  return false
end

--- The proof from which on backups in a store count, unless `keep` says otherwise: what a file system
--- says of its files proves little.
function M.standard_proof(store)
  return store.kind == "file" and "read" or "stored"
end

--- How backups of a job are judged in a store at a time (seconds since 1970).
function M.context(job, store, now)
  return { now = now, tz = zone.get(job.rule and job.rule.tz or (job.keys.schedule or {}).tz),
    proof = M.standard_proof(store), veto = policy.veto_of(job) }
end

-- ---- what would go --------------------------------------------------------------------------------

-- Series in the order in which they are judged: those that others need come last.
local function in_order(by_series)
  local names, last = names_of(by_series), nil
  for i = #names, 1, -1 do
    last = names[i] == globals.SERIES and table.remove(names, i) or last
  end
  names[#names + 1] = last
  return names
end

-- Globals cannot be restored by themselves, so they are never proved further than decoded.
local function keep_of_series(keep, name)
  if name == globals.SERIES and type(keep) == "table" and judge.RANK[keep.proof or "stored"] >
    judge.RANK.decoded then
    return merge(keep, { proof = "decoded" })
  end
  return keep
end

-- Verdicts on a series. What is to stand for those that go is looked at once more: a manifest that the
-- catalog knows may be damaged in the store.
local function judge_series(backups, keep, context, store)
  local verdicts, any_goes, any_broken = judge.judge(backups, keep, context), false, false
  for _, verdict in ipairs(verdicts) do
    any_goes = any_goes or not verdict.keep
  end
  local n = any_goes and rules.floor_of(keep) or 0
  for _, verdict in ipairs(verdicts) do
    if n > 0 and verdict.counts then
      facts.check_manifest(store, verdict.backup)
      any_broken = any_broken or verdict.backup.broken ~= nil
      n = n - (verdict.backup.broken and 0 or 1)
    end
  end
  return any_broken and judge.judge(backups, keep, context) or verdicts
end

-- Notes which globals the backups that stay need.
local function note_needs(verdicts, needed)
  for _, verdict in ipairs(verdicts) do
    if verdict.keep and verdict.backup.globals then
      needed[verdict.backup.globals] = needed[verdict.backup.globals] or verdict.backup.id
    end
  end
end

local function everything()
  return "there is no `keep`"
end

--- What would become of a job's backups in a store: { job, store, keep, series = { { name, verdicts }
--- ... }, expired, folders (retention/facts.lua), n, n_going, size_going }. Raises what the store or the
--- recipe raise.
function M.plan(job, store, now)
  local keep, needed = M.keep_of(job, store), {}
  local plan = { job = job, store = store, keep = keep, series = {}, n = 0, n_going = 0,
    size_going = 0 }
  local by_series, expired, folders = facts.of(job:folders(), store)
  plan.expired, plan.folders = expired, folders
  for i, name in ipairs(in_order(by_series)) do
    for _, fact in ipairs(by_series[name]) do
      fact.needed_by = name == globals.SERIES and needed[fact.id] or nil
    end
    local verdicts = judge_series(by_series[name], keep_of_series(keep or everything, name),
      M.context(job, store, now), store)
    note_needs(verdicts, needed)
    plan.series[i] = { name = name, verdicts = verdicts }
    for _, verdict in ipairs(verdicts) do
      plan.n = plan.n + 1
      if not verdict.keep then
        plan.n_going, plan.size_going = plan.n_going + 1, plan.size_going + (verdict.backup.size or 0)
      end
    end
  end
  return plan
end

--- Calls fn(verdict) for every backup of a plan: by series, newest first.
function M.each(plan, fn)
  for _, series in ipairs(plan.series) do
    for _, verdict in ipairs(series.verdicts) do
      fn(verdict)
    end
  end
end

-- ---- what goes --------------------------------------------------------------------------------------

-- Whether a backup was held since it was judged.
local function is_held_now(store, backup)
  local hold = store:hold_of(backup)
  return hold ~= nil and not (backup.hold and backup.hold["until"] == hold["until"])
end

local function expire(store, verdict)
  local backup, is_gone = verdict.backup, false
  store:locked(backup, function(take_out)
    if is_held_now(store, backup) then
      verdict.keep, verdict.reasons = true, { "held meanwhile" }
      return
    end
    take_out(table.concat(verdict.reasons, "; "))
    is_gone = true
  end)
  return is_gone
end

-- One that was to expire, and is kept after all.
local function keep_after_all(store, verdict)
  if verdict.backup.marks.expired then
    store:unmark(verdict.backup, "expired")
  end
end

-- Finishes what killed prunes have begun.
local function sweep(plan)
  for _, folder in ipairs(plan.folders) do
    for _, series in ipairs(plan.store:series(folder)) do
      plan.store:sweep(folder, series)
    end
  end
end

--- Removes what is to go. Returns { expected, deleted, size, errors }. What one backup meets does not
--- keep the next one from going.
function M.execute(plan)
  local result = { expected = plan.n_going, deleted = 0, size = 0, errors = {} }
  local gone, store, needed = {}, plan.store, {}
  sweep(plan)
  for _, series in ipairs(plan.series) do
    for i = #series.verdicts, 1, -1 do
      local verdict = series.verdicts[i]
      if series.name == globals.SERIES and needed[verdict.backup.id] then
        verdict.keep, verdict.reasons = true, { "needed by what has stayed after all" }
      end
      local ok, is_gone = xpcall(verdict.keep and keep_after_all or expire, errors.handler, store,
        verdict)
      if not ok and errors.of(is_gone).code == "CANCELED" then
        error(is_gone, 0)
      elseif not ok then
        verdict.error = errors.explain(errors.of(is_gone))
        table.insert(result.errors, { id = verdict.backup.id, error = verdict.error })
      elseif is_gone then
        verdict.is_gone, gone[#gone + 1] = true, verdict.backup
        result.deleted, result.size = result.deleted + 1, result.size + (verdict.backup.size or 0)
        table.insert(plan.expired, verdict.backup)
      end
      needed[verdict.backup.globals or ""] = not verdict.is_gone or needed[verdict.backup.globals or ""]
    end
  end
  catalog.forget(gone, store)
  return result
end

-- Of a store's expired backups, those that have left nothing but that mark.
local function finished(plan)
  local by_series, list = {}, {}
  for _, backup in ipairs(plan.expired) do
    local key = backup.job .. "\0" .. backup.series
    by_series[key] = by_series[key] or plan.store:survey_by_id(backup.job, backup.series)
    local state = by_series[key][backup.id]
    local is_over = state and not state.is_there and not state.has_folder and
      next(state.marks, next(state.marks)) == nil
    list[#list + 1] = is_over and backup or nil
  end
  return list
end

-- Takes away the marks of what no other store has any more. `plans`: of all stores of the job.
local function forget_expired(plans)
  local has = {}
  for _, plan in ipairs(plans) do
    M.each(plan, function(verdict)
      local key = verdict.backup.series .. "\0" .. verdict.backup.id
      has[key] = has[key] or not verdict.is_gone
    end)
  end
  for _, plan in ipairs(plans) do
    for _, backup in ipairs(finished(plan)) do
      if not has[backup.series .. "\0" .. backup.id] then
        plan.store:unmark(backup, "expired")
      end
    end
  end
end

-- ---- a job ------------------------------------------------------------------------------------------

local function prune_store(job, store, options, now)
  local plan = M.plan(job, store, now)
  if plan.n_going == 0 and #plan.expired == 0 then
    plan.result = not options.dry_run and M.execute(plan) or nil
    return plan
  end
  local ok, err = xpcall(function()
    for _, folder in ipairs(plan.folders) do
      identity.confirm(folder, store, job.keys.source)
    end
  end, errors.handler)
  if not ok and not options.dry_run then
    error(err, 0)
  elseif not ok then
    plan.refusal = errors.of(err)
  elseif not options.dry_run and plan.keep then
    plan.result = M.execute(plan)
  end
  return plan
end

--- Prunes the stores of a job. `options`: dry_run, store (only that one, by name). Returns a list of
--- plans, with a `result` of each that was carried out, and a list of { store, error } of those where
--- it could not be: nothing has been removed there, unless `result` says so.
function M.run(job, options)
  local plans, failures, is_all = {}, {}, true
  local now = clock.wall() // 1000
  for _, store in ipairs(job.keys.upload or {}) do
    if not options.store or options.store == store.name then
      local ok, plan = xpcall(prune_store, errors.handler, job, store, options, now)
      if ok then
        plans[#plans + 1] = plan
      elseif errors.of(plan).code == "CANCELED" then
        error(plan, 0)
      else
        failures[#failures + 1] = { store = store, error = errors.explain(errors.of(plan)) }
      end
    else
      is_all = false
    end
  end
  for _, plan in ipairs(plans) do
    is_all = is_all and #plan.folders > 0 -- or its disk may not be mounted
  end
  if is_all and #failures == 0 and not options.dry_run then
    forget_expired(plans)
  end
  return plans, failures
end

-- What kept a store's backups from expiring, as a text for the run; nil where credentials are meant to
-- be so.
local function problem_of(store, err)
  log.warn("%s: %s", store.name, tostring(err))
  if not errors.is_denied(err) then
    return ("what has expired in store %s stays: %s: %s"):format(store.name, err.code, err.message)
  end
end

--- After a run that went well, which has been written down. Returns { expected, deleted }, or nil when
--- nothing of the job expires, and a list of texts: what went wrong.
function M.after_run(job)
  if not M.is_asked(job) then
    return nil, {}
  end
  local done, problems = { expected = 0, deleted = 0 }, {}
  local plans, failures = M.run(job, {})
  for _, plan in ipairs(plans) do
    local result = plan.result or { expected = 0, deleted = 0, size = 0, errors = {} }
    done.expected, done.deleted = done.expected + result.expected, done.deleted + result.deleted
    if result.expected > 0 then
      log.info("%s: expected to delete %s, deleted %d, %s", plan.store.name, units.format_count(
        result.expected, "expired backup"), result.deleted, units.format_size(result.size))
    end
    if result.errors[1] then
      table.insert(problems, problem_of(plan.store, result.errors[1].error))
    end
  end
  for _, failure in ipairs(failures) do
    table.insert(problems, problem_of(failure.store, failure.error))
  end
  return done, problems
end

return M
