-- Signatures in minisign's format: the stock command takes ours, and we take its.
local mk = require "moonkeep"
local secret = require "moonkeep.secret"
local signature = require "moonkeep.signature"
local support = require "support"

local TEXT = "{ \"a\": \"manifest\" }\n"

describe("a signature", function()
  local dir, key_line, signer, number

  local function path(name)
    return dir.path .. "/" .. name
  end

  -- A signer of a secret key's text.
  local function signer_of(text)
    number = (number or 0) + 1
    mk.fs.write(path("key" .. number), text, 384)
    return signature.signer(secret.file(path("key" .. number)))
  end

  local function minisign(...)
    return mk.process.run { argv = { "minisign", ... } }
  end

  setup(function()
    dir = mk.fs.tempdir()
    local private
    private, key_line = signature.generate()
    signer = signer_of(private)
  end)
  teardown(function()
    dir:close()
  end)

  it("of ours is verified by the stock command, comment and all", function()
    mk.fs.write(path "m.json", TEXT)
    mk.fs.write(path "m.json.minisig", signer:sign(TEXT, "nightly/app/some-id"))
    local out = minisign("-V", "-P", key_line, "-m", path "m.json")
    assert.matches("Signature and comment signature verified", out)
    assert.matches("Trusted comment: nightly/app/some%-id", out)
    assert.equal(key_line, signer:public_line())
  end)

  it("of the stock command's, by a key of its own, is verified by us", function()
    minisign("-G", "-W", "-p", path "stock.pub", "-s", path "stock.key")
    mk.fs.write(path "t.json", TEXT)
    minisign("-S", "-W", "-s", path "stock.key", "-m", path "t.json", "-t", "a comment")
    local line = mk.fs.read(path "stock.pub"):match "\n(%S+)\n$"
    local key = signature.public_key(line)
    assert.is_true(signature.verify(TEXT, mk.fs.read(path "t.json.minisig"), { key }))
    local stock = signer_of(mk.fs.read(path "stock.key"))
    assert.equal(line, stock:public_line())
    assert.is_true(signature.verify(TEXT, stock:sign(TEXT, "c"), { key }))
    assert.matches(key.id, mk.fs.read(path "stock.pub"))
  end)

  it("is found among several keys, and refused without its own", function()
    local private, other = signature.generate()
    local signed = signer_of(private):sign(TEXT, "c")
    local ours, theirs = signature.public_key(key_line), signature.public_key(other)
    assert.is_true(signature.verify(TEXT, signed, { ours, theirs }))
    local ok, why = signature.verify(TEXT, signed, { ours })
    assert.is_nil(ok)
    assert.matches("signed by " .. theirs.id .. ", which is not trusted", why)
  end)

  it("with any byte of it, or of the text, changed is refused", function()
    local key, signed = signature.public_key(key_line), signer:sign(TEXT, "comment")
    local first_line_ends = signed:find "\n"
    local n = 0
    for i = 1, #signed do
      local changed = signed:sub(1, i - 1) .. string.char(signed:byte(i) ~ 1) .. signed:sub(i + 1)
      local ok, verdict = pcall(signature.verify, TEXT, changed, { key })
      -- what is untrusted is not signed, but must still be a comment
      if i > first_line_ends or i < #"untrusted comment: " then
        assert.is_true(ok)
        assert.is_nil(verdict, ("byte %d: %q"):format(i, changed))
        n = n + 1
      end
    end
    assert.is_true(n > 200)
    for i = 1, #TEXT do
      local changed = TEXT:sub(1, i - 1) .. "?" .. TEXT:sub(i + 1)
      assert.is_nil((signature.verify(changed, signed, { key })))
    end
    assert.is_nil((signature.verify(TEXT, signed .. "more\n", { key })))
    assert.is_nil((signature.verify(TEXT, "", { key })))
  end)

  it("has no key in what is no key, or needs a password", function()
    assert.is_nil(signature.public_key "RWQ")
    assert.is_nil(signature.public_key "")
    assert.is_nil(signature.public_key(key_line:gsub("^R", "S")))
    assert.equal("INVALID", support.caught(signer_of, "not a key").code)
    local locked = mk.fs.read(path "key1"):gsub("\nRWQAAEIy", "\nRWRTY0Iy")
    local err = support.caught(signer_of, locked)
    assert.equal("INVALID", err.code)
    assert.matches("needs a password", err.message)
  end)
end)
