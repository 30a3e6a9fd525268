-- The table of definitions against what is really there, and what is made from it.
local functions = require "moonkeep.definitions.functions"
local mk = require "moonkeep"

describe("the definitions", function()
  local documented = {}
  for _, group in ipairs(functions) do
    for _, item in ipairs(group.functions) do
      documented[item.name] = true
    end
    for _, value in ipairs(group.values or {}) do
      documented[value[1]] = true
    end
  end

  it("have every function that a recipe can call", function()
    local n = 0
    for name, value in pairs(mk) do
      if type(value) == "function" then
        n = n + 1
        assert.is_true(documented["mk." .. name], name)
      end
      for key in pairs(type(value) == "table" and value or {}) do
        n = n + 1
        assert.is_true(documented[("mk.%s.%s"):format(name, key)], name .. "." .. key)
      end
    end
    assert.is_true(n > 50)
  end)

  it("have every method of the context, and of what functions return", function()
    local classes = { Context = "context", Source = "pg/init", Connection = "pg/init",
      Cluster = "pg/scratch", Store = "store/layout" }
    local internal = { ["Source:revealed"] = true, ["Store:begin"] = true,
      ["Store:source"] = true, ["Store:path"] = true, ["Store:text"] = true, ["Store:stat"] = true,
      ["Store:manifest_text"] = true, ["Store:stall"] = true, ["Store:remove"] = true,
      ["Store:survey"] = true, ["Store:survey_by_id"] = true,
      ["Store:mark"] = true, ["Store:read_mark"] = true,
      ["Store:unmark"] = true, ["Store:read_job"] = true, ["Store:write_beside"] = true,
      ["Store:read_beside"] = true,
      ["Store:sweep"] = true, ["Store:locked"] = true, ["Store:is_there"] = true,
      ["Store:remarks"] = true, ["Store:hold_of"] = true, ["Store:marks_of"] = true,
      ["Store:replace"] = true }
    local n = 0
    for class, file in pairs(classes) do
      local source = mk.fs.read(("lua/moonkeep/%s.lua"):format(file))
      for method in source:gmatch("\nfunction " .. class .. ":([%l][%w_]*)") do
        n = n + 1
        local name = class .. ":" .. method
        assert.is_true(documented[name] or internal[name], name)
      end
    end
    assert.is_true(n > 25)
  end)

  it("have nothing that is not there", function()
    for path in pairs(documented) do
      local value = mk
      for part in (path:match "^mk%.(.*)" or ""):gmatch "[%w_]+" do
        value = value[part]
      end
      assert.is_true(not path:match "^mk%." or value ~= nil, path)
    end
  end)

  it("are what the reference, the types for editors and the manual page were made from", function()
    local out = mk.process.run { argv = { os.getenv "MOONKEEP" or "build/release/moonkeep",
      "--script", "docs/generate.lua", "--check" } }
    assert.equal("", out)
  end)
end)
