--- moonkeep adopt: makes the folders of jobs in their stores this machine's and its cluster's.
local errors = require "moonkeep.errors"
local identity = require "moonkeep.store.identity"
local json = require "moonkeep.core.json"
local log = require "moonkeep.log"
local output = require "moonkeep.cli.output"
local runner = require "moonkeep.runner"
local targets = require "moonkeep.cli.targets"

local M = {}

local function adopt(job, folder, store, options)
  local result = { job = folder, store = store.url }
  local ok, found, system = xpcall(identity.adopt, errors.handler, folder, store, job.keys.source)
  result.ok = ok
  if not ok then
    local err = errors.explain(errors.of(found))
    result.error = runner.plain(err)
    runner.report(err, ("%s in %s"):format(folder, store.name))
    return result
  end
  result.was, result.system_identifier = found and found.system_identifier, system
  if not options.json then
    log.show("%s  %s in %s: of the cluster %s%s", output.paint("green", "ADOPTED"), folder, store.name,
      system or "that does not say which it is", found and found.system_identifier ~= system and
      (" (it was %s, by host %s)"):format(found.system_identifier or "unknown", tostring(found.host)) or
      "")
  end
  return result
end

function M.run(options)
  local results, n_bad = {}, 0
  for _, job in ipairs(targets.jobs(options)) do
    for _, store in ipairs(job.keys.upload or {}) do
      for i, folder in ipairs(job:folders()) do
        local is_chosen = not options.store or options.store == store.name
        if is_chosen and (i == 1 or #store:series(folder) > 0) then -- an old name, only where it is
          local result = adopt(job, folder, store, options)
          results[#results + 1], n_bad = result, n_bad + (result.ok and 0 or 1)
        end
      end
    end
  end
  if #results == 0 then
    errors.raise("USAGE", "there is no such job with a store here")
  elseif options.json then
    output.json("adopt", { ok = n_bad == 0, results = json.array(results) })
  end
  return n_bad == 0 and runner.OK or runner.FAILED
end

return M
