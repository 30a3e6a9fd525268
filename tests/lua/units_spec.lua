local units = require "moonkeep.units"

describe("durations and sizes", function()
  it("are understood with every unit", function()
    assert.equal(500, units.duration "500ms")
    assert.equal(90 * 60000, units.duration "90m")
    assert.equal(5400000, units.duration "1.5h")
    assert.equal(172800000, units.duration "2d")
    assert.equal(64 << 20, units.size "64MiB")
    assert.equal(10000000000, units.size "10GB")
  end)

  it("are refused with what was expected when they are neither", function()
    for _, bad in ipairs { "", "90", "m", "90 minutes", "-5s", "1h30m", "0x10s", "1e3s" } do
      local value, why = units.duration(bad)
      assert.is_nil(value, bad)
      assert.matches("must be a duration", why)
    end
    assert.is_nil((units.duration(90)))
    assert.is_nil((units.size "64"))
  end)

  it("are shown for people", function()
    assert.equal("0 B", units.format_size(0))
    assert.equal("1023 B", units.format_size(1023))
    assert.equal("1.5 KiB", units.format_size(1536))
    assert.equal("2.0 GiB", units.format_size(2 << 30))
    assert.equal("1023.9 MiB", units.format_size((1 << 30) - (1 << 16)))
    assert.equal("8388608.0 TiB", units.format_size(2.0 ^ 63))
    assert.equal("101 B", units.format_size(100.9)) -- a rate, say
  end)
end)

describe("progress", function()
  it("has a rate, and what is left when that is known", function()
    assert.equal("2.0 MiB  1.0 MiB/s", units.format_progress(2 << 20, 2))
    assert.equal("2.0 MiB of about 10.0 MiB  1.0 MiB/s  8s left",
      units.format_progress(2 << 20, 2, 10 << 20))
    assert.equal("12.0 MiB  6.0 MiB/s", units.format_progress(12 << 20, 2, 10 << 20))
    assert.equal("0 B of about 1.0 KiB  0 B/s", units.format_progress(0, 1, 1024))
    assert.equal("10 B  3 B/s", units.format_progress(10, 3))
  end)
end)
