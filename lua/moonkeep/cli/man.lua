--- moonkeep man
local log = require "moonkeep.log"
local man = require "moonkeep.docs.man"
local runner = require "moonkeep.runner"

local M = {}

function M.run()
  log.show("%s", man.page())
  return runner.OK
end

return M
