-- Digests of small texts, and their spellings.
local hash = require "moonkeep.core.hash"

describe("a small digest", function()
  it("is that of its standard", function()
    assert.equal("f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8",
      hash.hex(hash.hmac_sha256("key", "The quick brown fox jumps over the lazy dog")))
    assert.equal("d41d8cd98f00b204e9800998ecf8427e", hash.hex(hash.md5 ""))
    assert.same({ "", "Zg==", "Zm8=", "Zm9v" }, { hash.base64 "", hash.base64 "f", hash.base64 "fo",
      hash.base64 "foo" })
    for _, text in ipairs { "", "f", "fo", "foo", "foo\0\xff" } do
      assert.equal(text, hash.unbase64(hash.base64(text)))
    end
    assert.has_error(function() hash.unbase64 "Zg" end)
    assert.has_error(function() hash.unbase64 "Z*==" end)
    assert.equal("\0\xff\x10", hash.unhex "00fF10")
    assert.has_error(function() hash.unhex "0g" end)
    assert.has_error(function() hash.unhex "012" end)
  end)
end)
