local mk = require "moonkeep"

describe("the types for editors", function()
  local text = mk.fs.read "lua/_meta/moonkeep.d.lua"

  it("have every function that a recipe can call", function()
    for name, value in pairs(mk) do
      local is_table = type(value) == "table"
      assert.is_truthy(text:find(is_table and ("\nmk.%s = {}"):format(name) or
        ("\nfunction mk.%s("):format(name), 1, true), name)
      for key, member in pairs(is_table and value or {}) do
        if type(member) == "function" then
          assert.is_truthy(text:find(("\nfunction mk.%s.%s("):format(name, key), 1, true),
            name .. "." .. key)
        end
      end
    end
  end)

  it("have every method of the context", function()
    local source = mk.fs.read "lua/moonkeep/job.lua"
    local n = 0
    for method in source:gmatch "\nfunction Context:([%w_]+)" do
      assert.is_truthy(text:find(("\nfunction Context:%s("):format(method), 1, true), method)
      n = n + 1
    end
    assert.is_true(n > 5)
  end)

  it("have nothing that is not there", function()
    for path in text:gmatch "\nfunction mk%.([%w_.]+)" do
      local value = mk
      for part in path:gmatch "[%w_]+" do
        value = value[part]
      end
      assert.is_not_nil(value, path)
    end
  end)
end)
