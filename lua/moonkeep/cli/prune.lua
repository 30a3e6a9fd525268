--- moonkeep prune: removes what expires, and says of every backup why it stays or goes.
local errors = require "moonkeep.errors"
local json = require "moonkeep.core.json"
local log = require "moonkeep.log"
local output = require "moonkeep.cli.output"
local prune = require "moonkeep.retention.prune"
local rules = require "moonkeep.retention.rules"
local run = require "moonkeep.cli.run"
local runner = require "moonkeep.runner"
local targets = require "moonkeep.cli.targets"
local units = require "moonkeep.units"

local M = {}

--- Prints a row for each backup of a plan, with its reasons.
function M.show_table(plan, is_dry)
  local keep, failed = output.paint("green", "KEEP"), output.paint("red", "FAILED")
  local goes = output.paint("yellow", is_dry and "WOULD GO" or "GONE")
  local rows = output.rows({ "", "ID", "CREATED", "DATABASE", "SIZE", "WHY" }, output.OF_BACKUPS)
  prune.each(plan, function(verdict)
    local backup = verdict.backup
    rows:add(verdict.keep and keep or verdict.error and failed or goes, backup.id, backup.id,
      backup.database, backup.size, table.concat(verdict.reasons, "; "))
  end)
  output.show_rows(rows)
end

local function show(plan, is_dry)
  log.show("Job %s in %s: keeps %s", output.paint("bold", plan.job.name), plan.store.name, plan.keep and
    rules.describe_all(plan.keep, prune.standard_proof(plan.store)) or "everything: it has no `keep`")
  if plan.n > 0 then
    M.show_table(plan, is_dry)
  end
  local size = units.format_size(plan.size_going)
  if is_dry then
    log.show("%s", output.paint("dim", ("%s, of which %d would go: %s"):format(units.format_count(
      plan.n, "backup"), plan.n_going, size)))
    if plan.refusal then
      log.show("But it is refused: %s", plan.refusal.message)
      log.show("  hint    %s", plan.refusal.hint or "")
    end
  elseif plan.result then
    log.show("%s", output.paint("dim", ("%s; expected to delete %d, deleted %d: %s"):format(
      units.format_count(plan.n, "backup"), plan.result.expected, plan.result.deleted,
      units.format_size(plan.result.size))))
  end
  for _, remark in ipairs(plan.n_going > 0 and plan.store:remarks() or {}) do
    log.show("%s %s", plan.store.name, remark)
  end
end

--- The same as a list for JSON.
function M.list_of(plan, is_dry)
  local list = {}
  prune.each(plan, function(verdict)
    local backup = verdict.backup
    list[#list + 1] = { id = backup.id, job = backup.job, series = backup.series, size = backup.size,
      proof = backup.proof, keep = verdict.keep, counts = verdict.counts,
      reasons = json.array(verdict.reasons), gone = not is_dry and verdict.is_gone or false,
      error = verdict.error and runner.plain(verdict.error) or nil }
  end)
  return json.array(list)
end

local function document(plan, is_dry)
  return { job = plan.job.name, store = plan.store.url, backups = M.list_of(plan, is_dry),
    refused = plan.refusal and runner.plain(plan.refusal) or nil,
    expected = plan.n_going, deleted = plan.result and plan.result.deleted or 0 }
end

local function prune_job(job, options, documents)
  local plans, failures = prune.run(job, options)
  local n_bad = #failures
  for _, plan in ipairs(plans) do
    documents[#documents + 1] = not options.json or document(plan, options.dry_run)
    if not options.json then
      show(plan, options.dry_run)
    end
    for _, failed in ipairs(plan.result and plan.result.errors or {}) do
      n_bad = n_bad + 1
      runner.report(failed.error, ("%s in %s"):format(failed.id, plan.store.name))
    end
    n_bad = n_bad + (plan.refusal and 1 or 0)
  end
  for _, failure in ipairs(failures) do
    documents[#documents + 1] = { job = job.name, store = failure.store.url,
      error = runner.plain(failure.error) }
    runner.report(failure.error, ("%s in store %s"):format(job.name, failure.store.name))
  end
  return n_bad
end

function M.run(options)
  run.open_log()
  local n_bad, documents = 0, {}
  for _, job in ipairs(targets.jobs(options)) do
    n_bad = n_bad + prune_job(job, options, documents)
  end
  if #documents == 0 then
    errors.raise("USAGE", options.store and ("no job here has a store %q"):format(options.store) or
      "no job here has a store (`upload`)")
  elseif options.json then
    output.json("prune", { ok = n_bad == 0, stores = json.array(documents) })
  end
  return n_bad == 0 and runner.OK or runner.FAILED
end

return M
