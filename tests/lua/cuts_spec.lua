-- Where a table is cut: moonkeep/dump/cuts.lua.
local cuts = require "moonkeep.dump.cuts"

describe("ranges of pages", function()
  -- A sample of every fifth of 1,000 pages; bytes_of(page) says what they have.
  local function sample(bytes_of)
    local list = {}
    for page = 0, 995, 5 do
      list[#list + 1] = { page = page, bytes = bytes_of(page) }
    end
    return list
  end

  local function check(ranges)
    local share = 0
    for i, range in ipairs(ranges) do
      share = share + range.share
      assert.is_true(i == 1 and range.first == 0 or range.first > ranges[i - 1].first)
      assert.is_true(range.first < 1000)
    end
    assert.is_true(math.abs(share - 1) < 1e-9)
  end

  it("are of the same length when pages are alike", function()
    local ranges = cuts.even(1000, 4, sample(function() return 8000 end))
    check(ranges)
    assert.same({ 0, 250, 500, 750 }, { ranges[1].first, ranges[2].first, ranges[3].first,
      ranges[4].first })
  end)

  it("are short where the bytes are", function()
    local ranges = cuts.even(1000, 10, sample(function(page)
      return page >= 900 and 800000 or 8000
    end))
    check(ranges)
    assert.equal(10, #ranges)
    for _, range in ipairs(ranges) do
      assert.is_true(range.share < 0.15, range.first .. ": " .. range.share)
    end
    assert.is_true(ranges[3].first > 900)
  end)

  it("are fewer when one page has most of the bytes", function()
    local ranges = cuts.even(1000, 8, sample(function(page)
      return page == 500 and 1000000000 or 1
    end))
    check(ranges)
    assert.is_true(#ranges <= 3)
  end)

  it("are of the same length when too few pages were sampled", function()
    local ranges = cuts.even(1000, 3, { { page = 7, bytes = 5 } })
    check(ranges)
    assert.same({ 0, 333, 666 }, { ranges[1].first, ranges[2].first, ranges[3].first })
  end)

  it("cover a table of which the sample has not a row", function()
    check(cuts.even(1000, 5, {}))
  end)
end)
