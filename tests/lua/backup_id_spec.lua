local backup_id = require "moonkeep.core.backup_id"
local clock = require "moonkeep.clock"
local support = require "support"

describe("the id of a backup", function()
  it("tells when it was made", function()
    assert.equal(0, backup_id.time_of "19700101T000000Z-000000")
    assert.equal(951782400, backup_id.time_of "20000229T000000Z-abcdef")
    assert.equal("2000-02-29T00:00:00Z", backup_id.created_at "20000229T000000Z-abcdef")
    for time = 0, 4102444800, 86400 * 97 + 12345 do
      local id = clock.compact(time) .. "-3f9a2c"
      assert.equal(time, backup_id.time_of(id))
      assert.equal(clock.iso(time), backup_id.created_at(id))
    end
  end)

  it("is refused when it is none", function()
    for _, text in ipairs { "", "2026", "20261122T02000", "20261122 020000Z-1", "2026112aT020000Z-1",
      "20261122T020000z" } do
      assert.matches("no id of a backup", support.caught(backup_id.time_of, text))
      assert.matches("no id of a backup", support.caught(backup_id.created_at, text))
    end
  end)
end)
