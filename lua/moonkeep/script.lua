--- Runs a plain Lua script as the main task: tests, benchmarks. Not for recipes.
local host = require "moonkeep.core.host"

local M = {}

function M.main(path)
  local chunk = assert(loadfile(path, "t"))
  return chunk(table.unpack(host.arguments()))
end

function M.failed(err)
  io.stderr:write(tostring(err), "\n", err.traceback or "", "\n")
  return 1
end

return M
