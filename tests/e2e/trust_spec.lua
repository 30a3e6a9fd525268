-- Signed manifests: what is believed of a store that others can write into.
local hash = require "moonkeep.core.hash"
local json = require "moonkeep.core.json"
local mk = require "moonkeep"
local support = require "support"

describe("a signed backup", function()
  local cluster, dir, key, other_key, public, other_public, n

  setup(function()
    cluster, dir, n = support.cluster_with("small", support.SMALL), mk.fs.tempdir(), 0
    local function keygen(name)
      local path = ("%s/%s.key"):format(dir.path, name)
      local done = support.start(dir.path, { "keygen", "--sign", path, "--json" }):finish()
      assert.equal(0, done.code, done.stderr)
      return path, json.decode(done.stdout).public_key
    end
    key, public = keygen "own"
    other_key, other_public = keygen "other"
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  -- A job of its own place: a folder with the recipe, the state, and the stores `one` and `two`.
  local function place(keys, stores)
    n = n + 1
    local at = ("%s/%d"):format(dir.path, n)
    mk.fs.mkdir(at)
    local list = {}
    for i, name in ipairs(stores or { "one" }) do
      list[i] = ('mk.store(%q, "file://%s/%s")'):format(name, at, name)
    end
    mk.fs.write(at .. "/nightly.lua", ([[
      local mk = require "moonkeep"
      return mk.job { name = "nightly", upload = { %s }, %s,
        source = mk.pg { host = %q, user = "postgres", dbname = "small" } }]]):format(
      table.concat(list, ", "), keys or ("sign = mk.secret.file %q, trust = { %q }"):format(key, public),
      cluster.folder))
    return at, at .. "/nightly.lua"
  end

  local function command(at, ...)
    return support.start(at, { ... }):finish()
  end

  local function run(at, ...)
    local done = command(at, "run", at .. "/nightly.lua", ...)
    assert.equal(0, done.code, done.stderr)
    return done.result.backups[1].id
  end

  local function path_of(at, id, store)
    return ("%s/%s/nightly/small/%s"):format(at, store or "one", id)
  end

  -- Every command that reads it must refuse it, with this reason.
  local function is_refused(at, why, ...)
    for _, arguments in ipairs { { "verify", "latest" }, { "ls", "latest" }, { "show", "latest" },
      { "copy", "latest", "--to", at .. "/elsewhere" }, { "cat", "latest", "first" }, { "restore",
      "latest", "--into", ("host=%s user=postgres"):format(cluster.folder), "-d", "no" } } do
      table.move({ "--from", ... }, 1, 1 + select("#", ...), #arguments + 1, arguments)
      local done = command(at, table.unpack(arguments))
      assert.equal(1, done.code, arguments[1] .. done.stdout)
      assert.matches("UNTRUSTED", done.stderr, 1, true)
      assert.matches(why, done.stderr, 1, true)
    end
    assert.is_false(mk.fs.exists(at .. "/elsewhere/nightly/small"))
  end

  it("is verified by stock minisign, and by everybody who trusts its key", function()
    local at, recipe = place()
    local id = run(at)
    local text = mk.process.run { argv = { "minisign", "-V", "-P", public, "-m",
      path_of(at, id) .. ".json", "-x", path_of(at, id) .. "/manifest.minisig" } }
    assert.matches("Trusted comment: nightly/small/" .. id, text, 1, true)
    for _, where in ipairs { { recipe }, { at .. "/one", "--trust", public },
      { at .. "/one", "--trust", other_public, "--trust", public } } do
      local done = command(at, "verify", "latest", "--from", table.unpack(where))
      assert.equal(0, done.code, done.stderr)
    end
    assert.matches("signed     by %x+", command(at, "show", "latest", "--from", recipe).stdout)
    is_refused(at, "which is not trusted", at .. "/one", "--trust", other_public)
    -- a copy is signed as well
    assert.equal(0, command(at, "copy", "latest", "--from", recipe, "--to", at .. "/copy").code)
    support.same_stores(at .. "/one", at .. "/copy")
    assert.equal(0, command(at, "verify", "latest", "--from", at .. "/copy", "--trust", public).code)
  end)

  it("that was tampered with, replaced, or is not signed is refused by name", function()
    local at, recipe = place()
    local first, second = run(at), run(at)
    local manifest = path_of(at, second) .. ".json"
    local signature = path_of(at, second) .. "/manifest.minisig"
    local text, signed = mk.fs.read(manifest), mk.fs.read(signature)
    -- a byte of it
    mk.fs.write(manifest, (text:gsub('"zstd"', '"none"')))
    is_refused(at, "is not of this text", recipe)
    -- another object, with the checksum that fits
    local forged = "forged"
    local fields = json.decode(text)
    mk.fs.write(path_of(at, second) .. "/" .. fields.objects[1].name, forged)
    fields.objects[1].size, fields.objects[1].sha256 = #forged, hash.hex(hash.sha256(forged))
    mk.fs.write(manifest, json.encode(fields, true) .. "\n")
    is_refused(at, "is not of this text", recipe)
    -- signed by somebody else
    local signer = require("moonkeep.signature").signer(mk.secret.file(other_key))
    mk.fs.write(signature, signer:sign(mk.fs.read(manifest), "nightly"))
    is_refused(at, "which is not trusted", recipe)
    -- not at all
    mk.fs.remove(signature)
    is_refused(at, "it is not signed", recipe)
    -- another backup's, with its signature
    mk.fs.write(manifest, mk.fs.read(path_of(at, first) .. ".json"))
    mk.fs.write(signature, mk.fs.read(path_of(at, first) .. "/manifest.minisig"))
    is_refused(at, ("it is the manifest of another backup: its id is %s, not %s"):format(first, second),
      recipe)
    -- as it was, but for the object
    mk.fs.write(manifest, text)
    mk.fs.write(signature, signed)
    local done = command(at, "verify", "latest", "--from", recipe, "--level", "read")
    assert.equal(1, done.code)
    assert.matches("CORRUPT", done.stderr)
    assert.matches(fields.objects[1].name, done.stderr, 1, true)
    assert.equal(0, command(at, "verify", first, "--from", recipe).code)
  end)

  it("is neither counted nor removed by retention when it is not to be trusted", function()
    local at, recipe = place(("sign = mk.secret.file %q, trust = %q, keep = { last = 2 }"):format(key,
      public))
    local ids = { run(at), run(at) }
    local forged = path_of(at, ids[2]) .. ".json"
    local text = mk.fs.read(forged)
    mk.fs.write(forged, text .. " ")
    mk.fs.remove(at .. "/state")
    ids[3] = run(at)
    ids[4] = run(at)
    assert.is_true(mk.fs.exists(path_of(at, ids[1]) .. ".json") or
      mk.fs.exists(path_of(at, ids[3]) .. ".json"))
    assert.is_true(mk.fs.exists(forged))
    assert.is_true(mk.fs.exists(path_of(at, ids[4]) .. ".json"))
    assert.is_true(mk.fs.exists(path_of(at, ids[3]) .. ".json"))
    assert.matches("not trusted", command(at, "list", "--from", recipe).stdout)
  end)

  it("that was changed in one store is repaired from another", function()
    local at, recipe = place(nil, { "one", "two" })
    local id = run(at)
    local manifest = path_of(at, id, "two") .. ".json"
    local text = mk.fs.read(manifest)
    mk.fs.write(manifest, (text:gsub("small", "smell")))
    local done = command(at, "verify", "--all", "--from", recipe)
    assert.equal(1, done.code)
    assert.matches("backup " .. id .. " in store two is not to be trusted", done.stderr, 1, true)
    assert.is_false(mk.fs.exists(path_of(at, id, "two") .. ".damaged"))
    done = command(at, "verify", "--all", "--from", recipe, "--repair")
    assert.equal(0, done.code, done.stderr)
    assert.equal(text, mk.fs.read(manifest))
    support.same_stores(at .. "/one", at .. "/two")
  end)

  it("needs no key to be made without, and none to be believed without", function()
    local at, recipe = place "verify = \"read\""
    run(at)
    assert.equal(0, command(at, "verify", "latest", "--from", recipe).code)
    is_refused(at, "it is not signed", recipe, "--trust", public)
    at = place(("sign = mk.secret.file %q"):format(at .. "/nowhere.key"))
    local done = command(at, "run", at .. "/nightly.lua")
    assert.equal(1, done.code)
    assert.matches("SECRET_MISSING", done.stderr)
    assert.equal(2, command(at, "list", "--from", at, "--trust", "no key").code)
    at = place(("trust = %q"):format(public))
    done = command(at, "check", at .. "/nightly.lua")
    assert.equal(2, done.code)
    assert.matches("trust without sign", done.stderr, 1, true)
    at = place(("sign = mk.secret.file %q, trust = %q"):format(key, other_public))
    done = command(at, "run", at .. "/nightly.lua")
    assert.equal(1, done.code)
    assert.matches("which its `trust` does not have", done.stderr, 1, true)
    assert.is_false(mk.fs.exists(at .. "/one/nightly/small"))
    -- a key whose halves do not fit would make what nobody believes
    local text = mk.fs.read(key)
    local bytes = hash.unbase64(text:match "\n(%S+)\n$")
    mk.fs.write(dir.path .. "/damaged.key", (text:gsub("\n%S+\n$", function()
      return "\n" .. hash.base64(bytes:sub(1, 70) .. "?" .. bytes:sub(72)) .. "\n"
    end)))
    at = place(("sign = mk.secret.file %q"):format(dir.path .. "/damaged.key"))
    done = command(at, "run", at .. "/nightly.lua")
    assert.matches("its two halves do not fit", done.stderr, 1, true)
    at = place 'trust = "RWno"'
    done = command(at, "check", at .. "/nightly.lua")
    assert.equal(2, done.code)
    assert.matches("must be a public key of minisign", done.stderr)
  end)

  it("is asked for by --trust alone, whatever the recipe trusts", function()
    local at, recipe = place()
    run(at)
    is_refused(at, "which is not trusted", recipe, "--trust", other_public)
  end)

  it("is looked at again when trust has changed, whatever the catalog knows", function()
    local at, recipe = place 'verify = "read"'
    local first = run(at)
    mk.fs.write(recipe, (mk.fs.read(recipe):gsub('verify = "read"', ("sign = mk.secret.file %q, " ..
      "trust = %q, keep = { last = 1, floor = 1 }"):format(key, public))))
    local done = command(at, "list", "--from", recipe)
    assert.matches("not trusted", done.stdout)
    local second = run(at)
    assert.is_true(mk.fs.exists(path_of(at, first) .. ".json")) -- it does not count, so it does not go
    assert.is_true(mk.fs.exists(path_of(at, second) .. ".json"))
    done = command(at, "status", recipe)
    assert.equal(0, done.code, done.stdout)
  end)

  it("comes from the store whose manifest is to be trusted", function()
    local at, recipe = place(nil, { "one", "two" })
    local id = run(at)
    mk.fs.write(path_of(at, id, "one") .. ".json", "forged")
    local done = command(at, "restore", "latest", "--from", recipe, "--into",
      ("host=%s user=postgres"):format(cluster.folder), "-d", "other_store")
    assert.equal(0, done.code, done.stderr)
    assert.matches("left out: backup " .. id .. " in store one", done.stderr, 1, true)
  end)

  it("that is encrypted takes no new key that is not signed", function()
    local function keygen(at, name)
      local done = command(at, "keygen", at .. "/" .. name)
      return at .. "/" .. name, done.stdout:match "^%S+"
    end
    local keys_at = place()
    local own, to_own = keygen(keys_at, "own.txt")
    local new, to_new = keygen(keys_at, "new.txt")
    local at, recipe = place(("sign = mk.secret.file %q, trust = %q, encrypt = { recipients = %q }")
      :format(key, public, to_own), { "one", "two" })
    local id = run(at)
    local path = path_of(at, id, "two")
    local good = mk.fs.read(path .. "/key.age")
    -- by whoever may write into a store
    local garbage = ("x"):rep(#good)
    mk.fs.write(path .. "/key.age", garbage)
    mk.fs.write(path .. ".key", json.encode { payload = json.encode { job = "nightly", series = "small",
      id = id, recipients = { to_own }, versions = { { size = #garbage,
      sha256 = hash.hex(hash.sha256(garbage)) } } } })
    local done = command(at, "verify", "--all", "--level", "read", "--from", recipe)
    assert.equal(1, done.code)
    assert.matches("is not believed: it is not signed", done.stderr, 1, true)
    assert.matches("key.age: its SHA-256 is not the recorded one", done.stderr, 1, true)
    -- so a repair takes the good one
    done = command(at, "verify", "--all", "--level", "read", "--repair", "--from", recipe)
    assert.equal(0, done.code, done.stderr)
    assert.equal(good, mk.fs.read(path .. "/key.age"))
    -- by whom the job trusts
    done = command(at, "rekey", "--all", "--from", at .. "/two", "--trust", public, "--identity", own,
      "--recipient", to_new)
    assert.equal(1, done.code)
    assert.matches("where `sign` is", done.stderr, 1, true)
    mk.fs.write(recipe, (mk.fs.read(recipe):gsub(to_own, to_new)))
    done = command(at, "rekey", "--all", "--from", recipe, "--identity", own)
    assert.equal(0, done.code, done.stderr)
    done = command(at, "verify", "--all", "--from", recipe, "--identity", new)
    assert.equal(0, done.code, done.stderr)
    done = command(at, "copy", "latest", "--from", recipe, "--to", at .. "/three")
    assert.equal(0, done.code, done.stderr)
    done = command(at, "verify", "latest", "--from", at .. "/three", "--trust", public, "--identity",
      new)
    assert.equal(0, done.code, done.stderr)
  end)

  -- ---- roll-back ----------------------------------------------------------------------------------

  local function set_back(at, store, id)
    mk.process.run { argv = { "sh", "-c", 'rm -r "$1" "$1".*', "sh", path_of(at, id, store) } }
  end

  local function into(name)
    return "--into", ("host=%s user=postgres"):format(cluster.folder), "-d", name
  end

  it("that a store has lost since is missed, by what the catalog knows", function()
    local at, recipe = place()
    local first, second = run(at), run(at)
    set_back(at, "one", second)
    local done = command(at, "restore", "latest", "--from", recipe, into "rolled")
    assert.equal(1, done.code)
    assert.matches("ROLLED_BACK", done.stderr)
    assert.matches(("is %s, but there was %s in file://%s/one"):format(first, second, at), done.stderr,
      1, true)
    done = command(at, "status", recipe)
    assert.equal(5, done.code)
    assert.matches("store one has lost " .. second .. " of small, or was set back", done.stdout, 1, true)
    assert.matches("LOST    nightly", done.stdout, 1, true)
    done = command(at, "restore", first, "--from", recipe, into "rolled") -- by its id
    assert.equal(0, done.code, done.stderr)
  end)

  it("that a store has lost is told of, also where nothing must be signed", function()
    local at, recipe = place "verify = \"read\""
    local first, second = run(at), run(at)
    set_back(at, "one", second)
    local done = command(at, "verify", "latest", "--from", recipe)
    assert.equal(0, done.code, done.stderr)
    assert.matches(("is %s, but there was %s in"):format(first, second), done.stderr, 1, true)
  end)

  it("that one of two stores has lost comes from the other, and that is told", function()
    local at, recipe = place(nil, { "one", "two" })
    run(at)
    local second = run(at)
    set_back(at, "two", second)
    local done = command(at, "show", "latest", "--from", recipe)
    assert.matches(second, done.stdout, 1, true)
    assert.matches(("%s/two has lost %s, or was set back"):format(at, second), done.stderr, 1, true)
  end)

  it("that one store never had is not missed there", function()
    local at, recipe = place(nil, { "one", "two" })
    local first = run(at)
    mk.fs.write(recipe, (mk.fs.read(recipe):gsub(', (mk.store%("two".-%))', ', copies = nil', 1)
      :gsub('upload = { (.-), copies = nil }', 'upload = { %1 }')))
    run(at)
    local done = command(at, "verify", "latest", "--from", at .. "/two", "--trust", public)
    assert.equal(0, done.code, done.stderr)
    assert.matches(first, done.stdout, 1, true)
  end)

  it("has no witness where there is one store and no catalog, and that is told", function()
    local at = place()
    local id = run(at)
    mk.fs.remove(at .. "/state")
    local done = command(at, "restore", "latest", "--from", at .. "/one", "--trust", public,
      into "alone")
    assert.equal(0, done.code, done.stderr)
    assert.matches("nobody but the store itself says that " .. id .. " is the newest", done.stderr, 1,
      true)
  end)

  it("that has expired is not missed", function()
    local at, recipe = place(("sign = mk.secret.file %q, trust = %q, keep = { last = 1, floor = 1 }")
      :format(key, public))
    run(at)
    local second = run(at)
    assert.equal(1, #support.manifests(at .. "/one"))
    local done = command(at, "verify", "latest", "--from", recipe)
    assert.equal(0, done.code, done.stderr)
    assert.matches(second, done.stdout, 1, true)
    assert.is_nil(done.stderr:find("witness", 1, true))
    assert.is_nil(done.stderr:find("was set back", 1, true))
  end)
end)
