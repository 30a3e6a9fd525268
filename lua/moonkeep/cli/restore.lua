--- moonkeep restore: with only a store and an id, or `latest`.
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

local function describe(backup, keys, look)
  local what = not look.exists and "into a new database" or
    ACTIONS[keys.existing or ""] and "and " .. ACTIONS[keys.existing] .. " the database" or
    look.objects == 0 and "into the empty database" or "into the database"
  return ("%s of %s, %s, %s %s on %s"):format(backup.id, backup.manifest.source.database,
    backup.manifest.created_at, what, look.database, keys.into.keys.host or "the local server")
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
  local look = restores.look(keys, backup.manifest)
  if options.dry_run then
    if options.json then
      output.json("restore", { dry_run = true, backup = run.describe(backup), target = look })
    else
      log.show("would restore %s", describe(backup, keys, look))
      if look.objects > 0 and (keys.existing or "refuse") == "refuse" then
        log.show("but it is not empty (%d objects), and would be left alone", look.objects)
      end
    end
    return runner.OK
  end
  local touches = look.objects > 0 or keys.existing == "replace"
  if look.exists and touches and ACTIONS[keys.existing or ""] then
    prompt.confirm(ACTIONS[keys.existing] .. " the database", look.database, options.yes)
  end
  run.open_log()
  local began = clock.monotonic()
  keys.database = look.database
  local target = restores.restore(backup, keys)
  local seconds = (clock.monotonic() - began) / 1000
  if options.json then
    output.json("restore", { backup = run.describe(backup), database = look.database,
      created = not look.exists, seconds = seconds })
  else
    log.show("%s  restored %s into %s in %s", output.paint("green", "OK"), backup.id,
      tostring(target), units.format_duration(math.floor(seconds * 1000)))
  end
  return runner.OK
end

return M
