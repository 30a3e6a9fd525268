local json = require "moonkeep.core.json"

describe("JSON", function()
  it("keeps 64-bit integers exact", function()
    for _, n in ipairs { 0, -1, 9007199254740993, math.maxinteger, math.mininteger } do
      assert.equal(n, json.decode(json.encode(n)))
      assert.equal("integer", math.type(json.decode(json.encode(n))))
    end
  end)

  it("writes equal values as equal text", function()
    assert.equal('{"a":1,"b":[true,"x"],"c":{}}', json.encode { c = {}, b = { true, "x" }, a = 1 })
    assert.equal("[]", json.encode(json.array {}))
  end)

  it("reads null as an absent key", function()
    local value = json.decode '{"a":null,"b":1.5}'
    assert.is_nil(value.a)
    assert.equal(1.5, value.b)
  end)

  it("refuses what has no form in JSON", function()
    assert.has_error(function() json.encode(print) end)
    assert.has_error(function() json.encode(0 / 0) end)
    assert.has_error(function() json.encode "\xff" end)
    local circle = {}
    circle.self = circle
    assert.has_error(function() json.encode(circle) end)
  end)

  it("says where a text is damaged", function()
    for _, bad in ipairs { "", "{", '{"a":1,}', "[1 2]", '{"a":1,"a":2}', '"\\q"' } do
      local ok, err = pcall(json.decode, bad)
      assert.is_false(ok, bad)
      assert.equal("CORRUPT", err.code)
      assert.matches("line %d", err.message)
    end
  end)
end)
