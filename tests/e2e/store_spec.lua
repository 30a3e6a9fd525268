-- The suite of all stores on a folder.
local mk = require "moonkeep"
local suite = require "store_suite"
local support = require "support"

describe("a store in a folder", function()
  local dir

  setup(function() dir = mk.fs.tempdir() end)
  teardown(function() dir:close() end)

  local n = 0
  suite(it, function()
    n = n + 1
    local root = ("%s/%d"):format(dir.path, n)
    mk.fs.mkdir(root)
    local function leftovers()
      local hidden = 0
      for _, file in ipairs(support.files(root)) do
        hidden = hidden + (file:find "partial" and 1 or 0)
      end
      return hidden
    end
    return assert(require("moonkeep.store.file").new(root)), leftovers
  end)
end)
