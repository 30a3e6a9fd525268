-- age files, ours and those of the stock command, each read by the other; and what nobody may read.
local age = require "moonkeep.encryption.age"
local flow = require "moonkeep.flow"
local mk = require "moonkeep"
local support = require "support"

local CHUNK = 65536

describe("an age file", function()
  local dir, identity, recipient, key_file

  setup(function()
    dir = mk.fs.tempdir()
    identity, recipient = age.generate()
    key_file = dir.path .. "/key.txt"
    mk.fs.write(key_file, "# a comment\n" .. identity .. "\n")
  end)
  teardown(function()
    dir:close()
  end)

  -- A shell pipeline of the stock command; what it prints.
  local function shell(script, ...)
    return mk.process.run { argv = { "bash", "-c", "set -euo pipefail; " .. script, "bash", ... } }
  end

  local function path(name)
    return dir.path .. "/" .. name
  end

  -- A file of so many bytes that do not compress.
  local function random_file(name, bytes)
    shell([[head -c "$1" /dev/urandom >"$2"]], tostring(bytes), path(name))
    return path(name)
  end

  local function through(from, stage, to)
    mk.fs.remove(to)
    flow.run { { kind = "file", path = from }, stage, { kind = "file", path = to } }
  end

  local function seal(from, to)
    through(from, { kind = "seal", recipients = { recipient } }, to)
  end

  local function open(from, to)
    through(from, { kind = "open", identities = { identity } }, to)
  end

  for _, bytes in ipairs { 0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1,
    16 * CHUNK, 16 * CHUNK + 1, 5000000 } do
    it(("of %d bytes is read by the stock command, and the stock command's by us"):format(bytes),
      function()
        local plain = random_file("plain", bytes)
        seal(plain, path "ours")
        shell([[age --decrypt --identity "$1" "$2" | cmp - "$3"]], key_file, path "ours", plain)
        shell([[age --recipient "$1" --output "$2" "$3"]], recipient, path "theirs", plain)
        open(path "theirs", path "back")
        shell([[cmp "$1" "$2"]], path "back", plain)
        mk.fs.remove(path "theirs")
      end)
  end

  it("of 1 GiB is read by the stock command, and the stock command's by us", function()
    local GIB = "1073741824"
    local zeros = { kind = "process", argv = { "head", "-c", GIB, "/dev/zero" } }
    local sum = flow.run { zeros, { kind = "seal", recipients = { recipient } }, { kind = "process",
      keep_stdout = true, label = "out", argv = { "sh", "-c", [[age --decrypt --identity "$0" |
        sha256sum]], key_file } } }.out.result
    local report = flow.run { { kind = "process", argv = { "sh", "-c",
      [[head -c "$1" /dev/zero | age --recipient "$0"]], recipient, GIB } },
      { kind = "open", identities = { identity } }, { kind = "sha256", label = "sum" } }
    assert.equal(tonumber(GIB), report.sum.bytes_in)
    assert.equal(report.sum.result, sum:match "^%x+")
  end)

  -- The stock command asks a terminal for a passphrase.
  local function with_passphrase(passphrase, ...)
    return mk.process.run { argv = { "python3", "tests/e2e/terminal.py", "assphrase=" .. passphrase,
      "assphrase=" .. passphrase, "--", ... } }
  end

  it("with a passphrase is read by the stock command, and the stock command's by us", function()
    mk.fs.write(path "ours.pass", age.seal("a small secret", { passphrase = "correct horse" }))
    with_passphrase("correct horse", "age", "--decrypt", "--output", path "back.pass", path "ours.pass")
    assert.equal("a small secret", mk.fs.read(path "back.pass"))
    mk.fs.write(path "plain.pass", "another one")
    with_passphrase("correct horse", "age", "--passphrase", "--output", path "theirs.pass",
      path "plain.pass")
    local theirs = mk.fs.read(path "theirs.pass")
    assert.equal("another one", age.open(theirs, { passphrase = "correct horse" }))
    for _, with in ipairs { { passphrase = "correct house" }, { identities = { identity } } } do
      assert.equal("WRONG_KEY", support.caught(age.open, theirs, with).code)
    end
  end)

  it("for several recipients is opened by each of them, and by nobody else", function()
    local second, to_second = age.generate()
    local third = age.generate()
    local sealed = age.seal("text", { recipients = { recipient, to_second } })
    for _, one in ipairs { identity, second } do
      assert.equal("text", age.open(sealed, { identities = { third, one } }))
    end
    assert.equal("WRONG_KEY", support.caught(age.open, sealed, { identities = { third } }).code)
    assert.equal("WRONG_KEY", support.caught(age.open, sealed, { passphrase = "text" }).code)
  end)

  it("is as the published format has it, for the stock command's own other kinds of recipients",
    function()
      shell([[ssh-keygen -q -t ed25519 -N "" -f "$1"]], path "ssh")
      mk.fs.write(path "plain.ssh", "for two")
      shell([[age -R "$1" -r "$2" -o "$3" "$4"]], path "ssh.pub", recipient, path "ssh.age",
        path "plain.ssh")
      assert.equal("for two", age.open(mk.fs.read(path "ssh.age"), { identities = { identity } }))
    end)

  -- ---- what was changed ---------------------------------------------------------------------------

  -- Every way of changing a text at a place: each returns another one.
  local CHANGES = {
    function(text, at) -- a bit
      local byte = text:byte(at) ~ (1 << at % 8)
      return text:sub(1, at - 1) .. string.char(byte) .. text:sub(at + 1)
    end,
    function(text, at) -- a byte less
      return text:sub(1, at - 1) .. text:sub(at + 1)
    end,
    function(text, at) -- one more
      return text:sub(1, at) .. string.char(at % 251) .. text:sub(at + 1)
    end,
    function(text, at) -- cut
      return text:sub(1, at - 1)
    end,
    function(text, at) -- a part twice
      return text:sub(1, at) .. text:sub(math.max(1, at - 100), at) .. text:sub(at + 1)
    end,
    function(text, at) -- two chunks in each other's place
      local sealed, first = CHUNK + 16, at % 3
      local head = #text - 4 * sealed - 516
      local chunk = function(i) return text:sub(head + i * sealed + 1, head + (i + 1) * sealed) end
      local chunks = { chunk(0), chunk(1), chunk(2), chunk(3) }
      chunks[first + 1], chunks[first + 2] = chunks[first + 2], chunks[first + 1]
      return text:sub(1, head) .. table.concat(chunks) .. text:sub(head + 4 * sealed + 1)
    end,
    function(text, at) -- something after its end
      return text .. text:sub(-(at % 1000) - 1)
    end,
  }

  it("that was changed in any of 2,000 ways is refused, and what comes out before is what went in",
    function()
      random_file("big", 4 * CHUNK + 500)
      local plain = mk.fs.read(path "big")
      local sealed = age.seal(plain, { recipients = { recipient } })
      assert.equal(plain, age.open(sealed, { identities = { identity } }))
      math.randomseed(20261128)
      local n, codes = 0, {}
      for i = 1, 2000 do
        local change = CHANGES[(i - 1) % #CHANGES + 1]
        -- half of them in the header and the first chunk's beginning
        local changed = change(sealed, math.random(i % 2 == 0 and 300 or #sealed))
        assert.are_not.equal(sealed, changed)
        local err = support.caught(age.open, changed, { identities = { identity } })
        codes[err.code] = (codes[err.code] or 0) + 1
        n = n + 1
      end
      assert.equal(2000, n)
      assert.equal(2000, codes.CORRUPT + (codes.WRONG_KEY or 0))
      assert.is_true(codes.CORRUPT > 1800)
    end)

  it("releases nothing of a chunk that was changed", function()
    random_file("plain", 40 * CHUNK)
    seal(path "plain", path "sealed")
    local sealed = mk.fs.read(path "sealed")
    local head = #sealed - 40 * (CHUNK + 16)
    for chunk = 0, 39, 13 do
      local at = head + chunk * (CHUNK + 16) + 5000
      mk.fs.write(path "changed", CHANGES[1](sealed, at))
      mk.fs.remove(path "released")
      local err = support.caught(flow.run, { { kind = "file", path = path "changed" },
        { kind = "open", identities = { identity } },
        { kind = "process", argv = { "dd", "status=none", "of=" .. path "released" } } })
      assert.equal("CORRUPT", err.code)
      assert.matches(("chunk %d of the age file"):format(chunk), err.message)
      local n = mk.fs.exists(path "released") and mk.fs.stat(path "released").size or 0
      assert.is_true(n <= chunk * CHUNK)
      shell([[head -c "$3" "$1" | cmp - "$2"]], path "plain",
        n > 0 and path "released" or "/dev/null", tostring(n))
    end
  end)

  it("is not made for nobody, or for what is no key", function()
    local other = recipient:sub(1, -2) .. (recipient:sub(-1) == "q" and "p" or "q")
    for _, to in ipairs { {}, { recipients = {} }, { recipients = { other } },
      { recipients = { identity } }, { recipients = { recipient }, passphrase = "both" } } do
      assert.equal("INVALID", support.caught(age.seal, "text", to).code)
    end
    assert.equal("INVALID", support.caught(age.open, "text", { identities = { recipient } }).code)
  end)

  it("that is armored, empty, or none at all is refused by name", function()
    mk.fs.write(path "plain.armored", "text")
    shell([[age --armor -r "$1" -o "$2" "$3"]], recipient, path "armored", path "plain.armored")
    local err = support.caught(age.open, mk.fs.read(path "armored"), { identities = { identity } })
    assert.equal("CORRUPT", err.code)
    assert.matches("armored", err.hint)
    for _, text in ipairs { "", "age", "age-encryption.org/v1\n", "hello, world, this is text" } do
      assert.equal("CORRUPT", support.caught(age.open, text, { identities = { identity } }).code)
    end
  end)
end)
