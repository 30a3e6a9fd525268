--- moonkeep verify: proves backups again, in every store, and remembers it.
local errors = require "moonkeep.errors"
local log = require "moonkeep.log"
local output = require "moonkeep.cli.output"
local run = require "moonkeep.cli.run"
local runner = require "moonkeep.runner"
local surveys = require "moonkeep.surveys"
local targets = require "moonkeep.cli.targets"
local units = require "moonkeep.units"
local verification = require "moonkeep.verification"

local M = {}

local function parsed(option, value, parse)
  local result, why = parse(value)
  if not result then
    errors.raise("USAGE", ("--%s %s, not %q"):format(option, why, value))
  end
  return result
end

-- The copies that are meant, how many there are in all, and what was left out.
local function chosen(options, level)
  local list, add = verification.collector()
  local sample = options.limit and parsed("limit", options.limit, verification.sample)
  local again = options.again and parsed("again", options.again, units.duration)
  if not options.all then
    if sample or again then
      errors.raise("USAGE", "--limit and --again go with --all")
    end
    local backup = targets.find(options, options.backup)
    for _, store in ipairs(backup.stores) do
      add({ store = store, job = backup.job, series = backup.series }, backup.id,
        store:marks_of(backup))
    end
    return list, #list, backup.left_out
  end
  local found, left_out = targets.surveys(targets.places(options), options)
  surveys.each(found, add)
  return verification.choose(list, level, { sample = sample, again = again and again // 1000 }), #list,
    left_out
end

local function show(result, item, level)
  if result.repaired_from then
    log.show("%s  %s  in %s, from %s; %s", output.paint("yellow", "REPAIRED"), item.id, item.store.name,
      result.repaired_from.name, level)
  elseif result.is_gone then
    log.show("%s  %s  has expired in %s meanwhile", output.paint("dim", "GONE"), item.id,
      item.store.name)
  elseif result.ok then
    log.show("%s  %s  %s in %s", output.paint("green", "OK"), item.id, level, item.store.name)
  end
end

function M.run(options)
  targets.check_named(options)
  local level = options.level or "decoded"
  run.open_log()
  local list, n, left_out = chosen(options, level)
  local results, n_bad = {}, 0
  targets.report(left_out)
  for i, item in ipairs(list) do
    local result = verification.prove(item, level, options.repair)
    results[i] = { id = item.id, job = item.job, series = item.series, store = item.store.url,
      ok = result.ok, proof = result.proof, gone = result.is_gone,
      repaired_from = result.repaired_from and result.repaired_from.url,
      error = result.error and runner.plain(result.error) }
    n_bad = n_bad + (result.ok and 0 or 1)
    if not result.ok then
      runner.report(result.error, item.id)
    elseif not options.json then
      show(result, item, level)
    end
  end
  local ok = n_bad == 0 and #left_out == 0
  if options.json then
    output.json("verify", { ok = ok, level = level, results = results,
      left_out = targets.plain(left_out) })
  elseif options.all then
    log.show("%d of %d are %s%s", #list - n_bad, #list, level, n > #list and
      ("; %d others were not looked at"):format(n - #list) or "")
  end
  return ok and runner.OK or runner.FAILED
end

return M
