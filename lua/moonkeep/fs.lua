--- Files and folders. All functions wait without blocking; see runtime/bind/lua_fs.c.
local core = require "moonkeep.core.fs"

local M = {}
for name, fn in pairs(core) do
  M[name] = fn
end
M.stems, M.group = nil, nil -- for stores only

--- A temporary folder, removed when its block is left; see moonkeep.tempdir.
function M.tempdir()
  return require("moonkeep.tempdir").new()
end

--- Whether something is there.
function M.exists(path)
  return core.stat(path) ~= nil
end

return M
