--- moonkeep release: ends what `hold` has begun.
local hold = require "moonkeep.cli.hold"
local log = require "moonkeep.log"

local M = {}

function M.run(options)
  return hold.in_every_store(options, "release", "RELEASED", function(store, backup)
    if not store:hold_of(backup) then
      log.warn("it was not held in %s", store.name)
    end
    store:unmark(backup, "hold")
  end)
end

return M
