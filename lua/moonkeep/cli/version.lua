--- moonkeep version
local host = require "moonkeep.core.host"
local log = require "moonkeep.log"
local manifests = require "moonkeep.manifest"
local output = require "moonkeep.cli.output"
local runner = require "moonkeep.runner"

local M = {}

function M.run(options)
  if options.json then
    output.json("version", { moonkeep = host.version(), lua = _VERSION, -- luacheck: ignore
      backup_format = manifests.FORMAT })
  else
    log.show("moonkeep %s", host.version())
  end
  return runner.OK
end

return M
