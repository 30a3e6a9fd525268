-- Verifying many backups in turn, and mending what is damaged.
local json = require "moonkeep.core.json"
local jobs = require "moonkeep.job"
local mk = require "moonkeep"
local support = require "support"
local tools = require "moonkeep.pg.tools"
local verification = require "moonkeep.verification"

describe("verifying in turn", function()
  local cluster, dir

  setup(function()
    cluster, dir = support.cluster_with("app", support.SMALL), mk.fs.tempdir()
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  local n = 0

  -- A recipe with a job of two stores and one that verifies it: { path, one, two, state }, with `count`
  -- backups.
  local function place(count, keys)
    n = n + 1
    local at = { folder = ("%s/%d"):format(dir.path, n) }
    at.path, at.state = at.folder .. "/recipe.lua", at.folder .. "/state"
    at.one, at.two = at.folder .. "/one", at.folder .. "/two"
    mk.fs.mkdir(at.folder)
    mk.fs.write(at.path, ([[
      local mk = require "moonkeep"
      local nightly = mk.job { name = "nightly", verify = "stored",
        source = mk.pg { host = %q, user = "postgres", dbname = "app" },
        upload = { mk.store("one", "file://%s"), mk.store("two", "file://%s") } }
      return nightly, mk.verify { name = "weekly", jobs = { nightly }, %s }]]):format(cluster.folder,
      at.one, at.two, keys or ""))
    for _ = 1, count do
      local done = support.start(dir.path, { "run", at.path, "nightly" }, { MOONKEEP_STATE = at.state })
        :finish()
      assert.equal(0, done.code, done.stderr)
    end
    at.ids = mk.store("s", "file://" .. at.one):list("nightly", "app")
    return at
  end

  local function command(at, ...)
    return support.start(dir.path, { ... }, { MOONKEEP_STATE = at.state }):finish()
  end

  local function verify(at, ...)
    local done = command(at, "verify", "--all", "--from", at.path, "--json", ...)
    return done, json.decode(done.stdout)
  end

  local function pack_of(store, id)
    return ("%s/nightly/app/%s/pack-1.tar.zst"):format(store, id)
  end

  it("goes on with those that have waited the longest, until all have had their turn", function()
    local at = place(3)
    local seen = {}
    for round = 1, 3 do
      if round == 2 then
        mk.fs.remove(at.state) -- it is remembered in the stores
      end
      local done, result = verify(at, "--level", "read", "--limit", "2")
      assert.equal(0, done.code, done.stderr)
      assert.equal(2, #result.results)
      for _, one in ipairs(result.results) do
        seen[one.store .. one.id] = (seen[one.store .. one.id] or 0) + 1
      end
    end
    local count = 0
    for _, times in pairs(seen) do
      count = count + 1
      assert.equal(1, times)
    end
    assert.equal(6, count)
  end)

  it("takes a share of all bytes, and at least one", function()
    local at = place(3)
    -- of six, whose sizes differ by a few bytes
    local _, result = verify(at, "--level", "read", "--limit", "60%")
    assert.equal(3, #result.results)
    _, result = verify(at, "--level", "read", "--limit", "1%")
    assert.equal(1, #result.results)
    _, result = verify(at, "--level", "read", "--limit", "1GiB")
    assert.equal(6, #result.results)
  end)

  it("does not prove anew what is fresh, but what was proved less", function()
    local at = place(2)
    local _, result = verify(at, "--level", "read")
    assert.equal(4, #result.results)
    _, result = verify(at, "--level", "read", "--again", "1h")
    assert.equal(0, #result.results)
    _, result = verify(at, "--level", "decoded", "--again", "1h")
    assert.equal(4, #result.results)
    _, result = verify(at, "--level", "read", "--again", "1h")
    assert.equal(0, #result.results)
  end)

  it("replaces a damaged copy by another store's, hold and all, and says so", function()
    local at = place(2)
    assert.equal(0, command(at, "hold", at.ids[1], "--from", at.path, "--reason", "audit").code)
    mk.fs.remove(("%s/nightly/app/%s.hold"):format(at.one, at.ids[1])) -- only the damaged one is held
    mk.fs.write(pack_of(at.two, at.ids[1]), "damaged")
    mk.fs.remove(("%s/nightly/app/%s/toc.dat"):format(at.two, at.ids[2]))
    local done, result = verify(at, "--level", "read")
    assert.equal(1, done.code)
    assert.is_false(result.ok)
    done, result = verify(at, "--level", "decoded", "--repair")
    assert.equal(0, done.code, done.stderr)
    local mended = 0
    for _, one in ipairs(result.results) do
      mended = mended + (one.repaired_from == "file://" .. at.one and 1 or 0)
      assert.is_true(one.ok)
    end
    assert.equal(2, mended)
    assert.equal(2, support.whole_backups(at.two))
    assert.is_true(mk.fs.exists(("%s/nightly/app/%s.hold"):format(at.two, at.ids[1])))
    assert.is_false(mk.fs.exists(("%s/nightly/app/%s.damaged"):format(at.two, at.ids[1])))
    mk.fs.remove(("%s/nightly/app/%s.hold"):format(at.two, at.ids[1]))
    support.same_stores(at.one, at.two)
  end)

  it("takes no backup that has expired meanwhile for a damaged one", function()
    local at = place(1)
    local store = mk.store("one", "file://" .. at.one)
    local item = { store = store, job = "nightly", series = "app", id = at.ids[1], marks = {},
      where = { store } }
    local backup = store:backup("nightly", "app", at.ids[1])
    store:remove(backup)
    assert.same({ ok = true, is_gone = true }, verification.prove(item, "read"))
    local err = support.caught(require("moonkeep.proof").prove, backup, "read")
    assert.equal("NOT_FOUND", err.code)
    for _, file in ipairs(support.files(at.one)) do
      assert.is_nil(file:find(at.ids[1], 1, true), file)
    end
  end)

  it("leaves a damaged copy as it is when no other is whole", function()
    local at = place(1)
    mk.fs.write(pack_of(at.one, at.ids[1]), "damaged")
    mk.fs.write(pack_of(at.two, at.ids[1]), "damaged, too")
    local done = command(at, "verify", at.ids[1], "--from", at.path, "--repair")
    assert.equal(1, done.code)
    assert.matches("no other store has a whole copy of it", done.stderr)
    assert.equal("damaged", mk.fs.read(pack_of(at.one, at.ids[1])))
    assert.equal("damaged, too", mk.fs.read(pack_of(at.two, at.ids[1])))
    assert.is_true(mk.fs.exists(("%s/nightly/app/%s.damaged"):format(at.one, at.ids[1])))
  end)

  it("is a job, which fails by what is damaged, and is told", function()
    local at = place(2, 'levels = { "read", "decoded" }, sample = "100%",')
    local done = command(at, "run", at.path, "weekly")
    assert.equal(0, done.code, done.stderr)
    assert.matches("4 copies of 4, read; all have been within the last", done.stderr)
    assert.matches("4 copies of 4, decoded;", done.stderr)
    mk.fs.write(pack_of(at.two, at.ids[1]), "damaged")
    mk.fs.write(pack_of(at.one, at.ids[2]), "damaged")
    done = command(at, "run", at.path, "weekly")
    assert.equal(1, done.code)
    assert.equal("CORRUPT", done.result.error.code)
    assert.equal(3, #done.result.error.also) -- each level finds both
    assert.matches("weekly +%- +%S+ ", command(at, "status", at.path).stdout)
  end)

  it("proves what other stores have when one cannot be read, and fails by that one", function()
    local at = place(1, 'levels = { "read", "decoded" },')
    mk.fs.remove(at.two .. "/nightly")
    mk.process.run { argv = { "ln", "-s", "nightly", at.two .. "/nightly" } } -- a loop
    local done, document = verify(at, "--level", "read")
    assert.equal(1, done.code)
    assert.same({ false, true, "file://" .. at.one, "file://" .. at.two }, { document.ok,
      document.results[1].ok, document.results[1].store, document.left_out[1].store })
    assert.matches("store two", done.stderr)
    assert.matches("1 of 1 are read", command(at, "verify", "--all", "--from", at.path, "--level",
      "read").stdout)
    done = command(at, "run", at.path, "weekly")
    assert.equal(1, done.code)
    local err = done.result.error
    assert.equal("SYSTEM", err.code)
    assert.matches("^store two cannot be read: .*Too many levels of symbolic links", err.message)
    assert.equal(0, #(err.also or {})) -- it was asked once
    assert.matches("1 copy of 1, decoded; .* but not all stores could be read", done.stderr)
  end)

  it("mends by itself where it may", function()
    local at = place(2, "repair = true,")
    mk.fs.write(pack_of(at.two, at.ids[1]), "damaged")
    local done = command(at, "run", at.path, "weekly")
    assert.equal(0, done.code, done.stderr)
    assert.matches("the copy of .- in two is damaged, and is replaced by that of one", done.stderr)
    support.same_stores(at.one, at.two)
  end)

  it("does what the guide says", function()
    local at = place(0)
    local recipes, commands = support.page("docs/guide/proving.md", { ["/var/backups/app"] = at.one,
      ["/mnt/nas/app"] = at.two, ["nightly.lua"] = at.path })
    mk.fs.write(at.path, recipes[1])
    table.insert(commands, 1, { "moonkeep", "run", at.path, "nightly" })
    for _, words in ipairs(commands) do
      local done = support.start(dir.path, { table.unpack(words, 2) }, { MOONKEEP_STATE = at.state,
        PGHOST = cluster.folder, PGUSER = "postgres" }):finish()
      assert.equal(0, done.code, table.concat(words, " ") .. done.stderr)
    end
    assert.equal(5, #commands)
  end)

  it("is refused at load where this host cannot reach a level", function()
    local before = tools.has_server
    tools.has_server = function() return false end
    local found = jobs.unreachable { name = "j", where = "r.lua:2", keys = { verify = "restored" } }
    local others = jobs.unreachable { name = "j", where = "r.lua:2", keys = { levels = { "decoded" } } }
    tools.has_server = before
    assert.equal(1, #found)
    assert.matches("needs the programs of a PostgreSQL server", found[1].text)
    assert.same({}, others)
    assert.same({}, jobs.unreachable { name = "j", keys = { levels = "restored" } })
  end)

  it("refuses what makes no sense", function()
    for keys, why in pairs { ['sample = "lots",'] = 'sample must be a share such as "10%"',
      ['levels = "guessed",'] = "levels must be one of stored, read, decoded, restored",
      ['upload = {},'] = 'unknown key "upload"' } do
      local done = command(place(0, keys), "check", ("%s/%d/recipe.lua"):format(dir.path, n))
      assert.equal(2, done.code)
      assert.matches(why, done.stderr, 1, true)
    end
    for value, is_good in pairs { ["10%"] = true, ["0%"] = false, ["101%"] = false, ["3"] = true,
      ["0"] = false, ["50GiB"] = true, ["x"] = false } do
      assert.equal(is_good, verification.sample(value) ~= nil, value)
    end
    local at = place(1)
    assert.equal(2, command(at, "verify", at.ids[1], "--from", at.path, "--limit", "10%").code)
    assert.equal(2, command(at, "verify", "--all", "--from", at.path, "--limit", "some").code)
  end)
end)
