--- moonkeep release: ends what `hold` has begun.
local hold = require "moonkeep.cli.hold"

local M = {}

function M.run(options)
  return hold.in_every_store(options, "release", "RELEASED", function(store, backup)
    store:unmark(backup, "hold")
  end)
end

return M
