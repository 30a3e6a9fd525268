--- moonkeep verify: proves backups again, in every store, and remembers it.
local catalog = require "moonkeep.catalog"
local errors = require "moonkeep.errors"
local log = require "moonkeep.log"
local output = require "moonkeep.cli.output"
local proof = require "moonkeep.proof"
local run = require "moonkeep.cli.run"
local runner = require "moonkeep.runner"
local targets = require "moonkeep.cli.targets"

local M = {}

-- Every backup of the places, one for each store: what is damaged in one may be whole in another.
local function all(options)
  local backups = {}
  targets.each(targets.places(options), options, function(store, job, series, id)
    local ok, backup = pcall(store.backup, store, job, series, id)
    backups[#backups + 1] = ok and backup or { id = id, job = job, series = series,
      stores = { store }, error = errors.of(backup) }
  end)
  return backups
end

local function one(options)
  local backup, list = targets.find(options, options.backup), {}
  for i, store in ipairs(backup.stores) do
    list[i] = store:backup(backup.job, backup.series, backup.id)
  end
  return list
end

local function prove(backup, level)
  if backup.error then
    return false, backup.error
  end
  local ok, err = xpcall(proof.prove, errors.handler, backup, level)
  if ok then
    catalog.record_proof(backup)
  elseif errors.of(err).code == "CORRUPT" then
    catalog.record_damage(backup, backup.stores[1])
  end
  return ok, not ok and errors.of(err) or nil
end

function M.run(options)
  if not options.backup and not options.all then
    errors.raise("USAGE", "say which backup: an id, latest, or --all")
  end
  local level = options.level or "decoded"
  run.open_log()
  local list = options.all and all(options) or one(options)
  local results, n_bad = {}, 0
  for i, backup in ipairs(list) do
    local ok, err = prove(backup, level)
    if not ok and err.code == "CANCELED" then
      error(err, 0)
    end
    results[i] = { id = backup.id, job = backup.job, series = backup.series,
      store = backup.stores[1].url, ok = ok, proof = ok and backup.proof or nil,
      error = err and runner.plain(errors.explain(err)) }
    if not ok then
      n_bad = n_bad + 1
      runner.report(err, backup.id)
    elseif not options.json then
      log.show("%s  %s  %s in %s", output.paint("green", "OK"), backup.id, level,
        backup.stores[1].name)
    end
  end
  if options.json then
    output.json("verify", { ok = n_bad == 0, level = level, results = results })
  elseif options.all then
    log.show("%d of %d are %s", #list - n_bad, #list, level)
  end
  return n_bad == 0 and runner.OK or runner.FAILED
end

return M
