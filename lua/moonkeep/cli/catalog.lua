--- moonkeep catalog rebuild: the list of backups anew, from what the stores hold.
local catalog = require "moonkeep.catalog"
local errors = require "moonkeep.errors"
local log = require "moonkeep.log"
local output = require "moonkeep.cli.output"
local runner = require "moonkeep.runner"
local surveys = require "moonkeep.surveys"
local targets = require "moonkeep.cli.targets"
local units = require "moonkeep.units"

local M = {}

function M.run(options)
  local places, found = surveys.places_of(targets.load(options, options.recipe)), {}
  targets.each(places, {}, function(store, job, series, id)
    local ok, backup = pcall(store.backup, store, job, series, id)
    if ok then
      found[#found + 1] = { store = store, backup = backup }
    else
      log.warn("left out: %s", errors.of(backup).message)
    end
  end)
  local n = catalog.rebuild(found)
  if not n then
    errors.raise("IO_ERROR", "the catalog cannot be written", { hint = "the warning above says why" })
  end
  if options.json then
    output.json("catalog", { backups = n })
  else
    log.show("the catalog has %s", units.format_count(n, "backup"))
  end
  return runner.OK
end

return M
