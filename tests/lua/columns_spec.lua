local columns = require "moonkeep.core.columns"
local support = require "support"

local ID = "20261122T020000Z-3f9a2c"

describe("columns", function()
  it("show ids of backups, when they were made, and sizes, below heads that are texts", function()
    local rows = columns.new "lrics"
    rows:heads("TEXT", "N", "ID", "CREATED", "SIZE")
    rows:add("a", "12", ID, ID, 1536)
    rows:add("b", nil, ID, ID)
    assert.equal(table.concat({
      "TEXT   N  ID      CREATED                  SIZE",
      "a     12  3f9a2c  2026-11-22T02:00:00Z  1.5 KiB",
      "b         3f9a2c  2026-11-22T02:00:00Z        ?" }, "\n"), rows:show(10))
    assert.is_nil(rows:show(10))
  end)

  it("take no cell that is of another kind, and no half of a row", function()
    local rows = columns.new "lis"
    for _, row in ipairs { { "a", "no id", 1 }, { "a", ID:sub(1, 16), 1 }, { "a", ID, "much" }, { "a" },
      { {}, ID, 1 }, { "a", ID, 1, "more" } } do
      assert.matches("bad argument", support.caught(rows.add, rows, table.unpack(row)))
    end
    assert.is_nil(rows:show(1))
    assert.matches("no kind of column", support.caught(columns.new, "lx"))
  end)
end)
