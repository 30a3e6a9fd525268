--- moonkeep run
local backup_id = require "moonkeep.core.backup_id"
local clock = require "moonkeep.clock"
local json = require "moonkeep.core.json"
local kept = require "moonkeep.notify.kept"
local host = require "moonkeep.core.host"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local output = require "moonkeep.cli.output"
local runner = require "moonkeep.runner"
local state = require "moonkeep.state"
local targets = require "moonkeep.cli.targets"

local M = {}

--- Opens the log file of a command that runs something; the supervisor writes it.
function M.open_log()
  local path = state.log_path(clock.compact() .. "-" .. host.random(3))
  if path then
    log.event({ event = "settings", journal = path }, true)
  end
  return path
end

--- A backup for people and programs: what JSON documents have of one.
function M.describe(backup, proof)
  local size, decoded = manifests.sizes(backup.manifest)
  local names = {}
  for i, store in ipairs(backup.stores) do
    names[i] = store.url
  end
  return { id = backup.id, job = backup.job, series = backup.series,
    database = backup.manifest.source.database, created_at = backup_id.created_at(backup.id),
    size = size, decoded_size = decoded, proof = proof or backup.proof, stores = names,
    missing = runner.missing(backup), encrypted = backup.manifest.encryption ~= nil or nil,
    format = backup.manifest.dump.format,
    globals = backup.manifest.globals }
end

-- Says to the supervisor which recipe is to be told of, and, once it is loaded, whom. Returns what
-- targets.chosen is to call then.
local function announce(options)
  if not options.recipe then
    return nil
  end
  local path = kept.path(options.recipe)
  log.event({ event = "settings", alerts = path }, true)
  return function(list)
    local known = kept.of(path, list)
    kept.save(known)
    log.event({ event = "settings", alerts = path, known = known }, true)
  end
end

function M.run(options)
  if options.dry_run then
    return require("moonkeep.cli.plan").run(options)
  end
  local chosen = targets.chosen(options, announce(options))
  local results = {}
  local code = runner.run_all(chosen, { log = M.open_log(), consent = options.yes }, results)
  if options.json then
    for _, result in ipairs(results) do
      for i, backup in ipairs(result.backups) do
        result.backups[i] = M.describe(backup)
      end
      result.backups = json.array(result.backups)
    end
    output.json("run", { results = results })
  end
  return code
end

return M
