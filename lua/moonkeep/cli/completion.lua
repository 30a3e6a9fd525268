--- moonkeep completion: argparse writes the script from the same definitions that parse.
local log = require "moonkeep.log"
local parser = require "moonkeep.cli.parser"
local runner = require "moonkeep.runner"

local M = {}

function M.run(options)
  local made = parser.make()
  log.show("%s", made["get_" .. options.shell .. "_complete"](made))
  return runner.OK
end

return M
