--- moonkeep restore: with only a store and an id, or `latest`.
local backup_id = require "moonkeep.core.backup_id"
local clock = require "moonkeep.clock"
local errors = require "moonkeep.errors"
local log = require "moonkeep.log"
local output = require "moonkeep.cli.output"
local prompt = require "moonkeep.prompt"
local restores = require "moonkeep.restore"
local run = require "moonkeep.cli.run"
local runner = require "moonkeep.runner"
local settings = require "moonkeep.settings"
local spec = require "moonkeep.spec"
local targets = require "moonkeep.cli.targets"
local units = require "moonkeep.units"

local M = {}

local ACTIONS = { add = "add to", clean = "drop objects of, and restore into",
  replace = "replace" }

local function keys_of(options)
  local keys = { into = targets.server(options.into), database = options.database,
    existing = options.existing, resume = options.resume }
  local dbname = keys.into.keys.dbname
  if not keys.database and dbname and dbname ~= "postgres" then
    keys.database = dbname
  end
  local list = settings.parse(options.set)
  for _, item in ipairs(list) do
    if item.key == "into" then
      errors.raise("USAGE", "--set cannot set `into`: that is --into")
    end
  end
  return settings.apply("restore", "restore", keys, list)
end

local function describe(backup, keys, plan)
  local what = not plan.exists and "into a new database" or
    ACTIONS[keys.existing or ""] and "and " .. ACTIONS[keys.existing] .. " the database" or
    plan.objects_there == 0 and "into the empty database" or "into the database"
  return ("%s of %s, %s, %s %s on %s"):format(backup.id, backup.manifest.source.database,
    backup_id.created_at(backup.id), what, plan.database, keys.into.keys.host or "the local server")
end

-- ---- plans --------------------------------------------------------------------------------------

local count, size = units.format_count, units.format_size

local function of_writes(writes)
  return writes and ("%s, %s, %s, %s"):format(count(writes.tables, "table"), count(writes.rows, "row"),
    count(writes.indexes, "index"), count(writes.foreign_keys, "foreign key"))
end

local EFFECTS = {
  refuse = "it is not empty, and would be left alone: say what may be done, with --existing",
  add = "what it has stays, and is added to",
  clean = "what the backup has, too, is dropped from it first",
  replace = "it is dropped when the new one is whole",
  swap = "it is kept under a dated name when the new one is whole",
}

local function of_space(plan)
  if not plan.bytes_needed then
    return nil
  end
  local free = not plan.bytes_free and "how much is free there cannot be seen from here" or
    ("%s free%s"):format(size(plan.bytes_free), plan.bytes_free < plan.bytes_needed and
    ": that is too little" or "")
  return ("about %s needed, %s"):format(size(plan.bytes_needed), free)
end

local function of_time(plan)
  if plan.seconds then
    return ("about %s, by the last %s of this series"):format(units.format_duration(
      math.floor(plan.seconds * 1000)), count(plan.restores, "restore"))
  end
  return "not known: no restore of this series is on record here" .. (plan.dump_seconds and
    ("; it was dumped in %s"):format(units.format_duration(math.floor(plan.dump_seconds * 1000))) or "")
end

local function show_line(label, text)
  if text then
    log.show("  %-8s %s", label, text)
  end
end

local function show_plan(backup, keys, plan)
  log.show("would restore %s", describe(backup, keys, plan))
  show_line("there", plan.objects_there > 0 and ("%s, %s; %s"):format(count(plan.objects_there,
    "object"), size(plan.bytes_there), EFFECTS[plan.effect]) or nil)
  show_line("reads", ("%s, %s (%s decompressed), from %s"):format(count(plan.reads.objects, "object"),
    size(plan.reads.size), size(plan.reads.decoded_size), backup.stores[1].url))
  show_line("writes", of_writes(plan.writes))
  show_line("space", of_space(plan))
  show_line("time", of_time(plan))
  for i, text in ipairs(plan.missing) do
    show_line(i == 1 and "missing" or "", text)
  end
  for i, text in ipairs(plan.hints) do
    show_line(i == 1 and "hint" or "", text)
  end
end

-- What would be done; 1 when it would be refused.
local function dry_run(options, backup, keys, plan)
  if options.json then
    output.json("restore", { dry_run = true, backup = run.describe(backup), plan = plan })
  else
    show_plan(backup, keys, plan)
  end
  local is_refused = plan.effect == "refuse" or #plan.missing > 0 and keys.on_error ~= "continue"
  return is_refused and runner.FAILED or runner.OK
end

function M.run(options)
  if not options.into then
    errors.raise("USAGE", "restore needs --into: the server to restore into", { hint =
      "for example: moonkeep restore latest --into host=db1; see: moonkeep restore --help" })
  end
  local keys = keys_of(options)
  spec.check("restore", "restore", keys)
  if keys.swap then
    keys.existing = "replace"
  end
  local backup = targets.find(options, options.backup)
  local plan = restores.plan(backup, keys)
  if options.dry_run then
    return dry_run(options, backup, keys, plan)
  end
  local touches = plan.objects_there > 0 or keys.existing == "replace"
  if plan.exists and touches and ACTIONS[keys.existing or ""] then
    prompt.confirm(ACTIONS[keys.existing] .. " the database", plan.database, options.yes)
  end
  run.open_log()
  local began = clock.monotonic()
  keys.database = plan.database
  local target = restores.restore(backup, keys)
  local seconds = (clock.monotonic() - began) / 1000
  if options.json then
    output.json("restore", { backup = run.describe(backup), database = plan.database,
      created = not plan.exists, seconds = seconds })
  else
    log.show("%s  restored %s into %s in %s", output.paint("green", "OK"), backup.id,
      tostring(target), units.format_duration(math.floor(seconds * 1000)))
  end
  return runner.OK
end

return M
