-- One dump into several stores: each has a verdict of its own, and what one has missed is copied.
local mk = require "moonkeep"
local support = require "support"

describe("a backup into several stores", function()
  local cluster, dir

  setup(function()
    cluster, dir = support.cluster_with("app", support.SMALL), mk.fs.tempdir()
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  local n = 0

  -- Folders of this test's own, by names; `broken` ones cannot be made, until mend() is called.
  local function places(names, broken)
    n = n + 1
    local list = {}
    for _, name in ipairs(names) do
      list[name] = ("%s/%d/%s/store"):format(dir.path, n, name)
    end
    mk.fs.mkdir(("%s/%d"):format(dir.path, n))
    for _, name in ipairs(broken) do
      mk.fs.write(("%s/%d/%s"):format(dir.path, n, name), "in the way")
    end
    return list, function()
      for _, name in ipairs(broken) do
        mk.fs.remove(("%s/%d/%s"):format(dir.path, n, name))
      end
    end
  end

  local function recipe(list, names, keys)
    local upload = {}
    for i, name in ipairs(names) do
      upload[i] = ('mk.store(%q, "file://%s", { offsite = %s })'):format(name, list[name],
        tostring(name:find "^off" ~= nil))
    end
    return ([[
      local mk = require "moonkeep"
      return mk.job { name = "nightly", %s
        source = mk.pg { host = %q, user = "postgres", dbname = "app" },
        upload = { %s } }]]):format(keys or "", cluster.folder, table.concat(upload, ", "))
  end

  local function run(list, names, keys)
    return support.run_recipe(dir.path, recipe(list, names, keys), { flags = { "--json" } })
  end

  -- A store "two" where nobody answers, and others, before those that a recipe has.
  local function add_stores(path, others)
    mk.fs.write(path, (mk.fs.read(path):gsub("upload = {", [[%0
      mk.store("two", "s3://b/x", { endpoint = "http://127.0.0.1:1", retries = 0, access_key = "x",
        secret_key = mk.secret.env "HOME" }), ]] .. others)))
  end

  local same = support.same_stores

  it("is the same in each, byte for byte", function()
    local list = places({ "one", "two", "three" }, {})
    local made = run(list, { "one", "two", "three" })
    assert.equal(0, made.code, made.stderr)
    assert.equal(3, #mk.json.decode(made.stdout).results[1].backups[1].stores)
    same(list.one, list.two)
    same(list.one, list.three)
  end)

  it("is degraded when a store has none, and says which and why", function()
    local list = places({ "disk", "offsite" }, { "offsite" })
    local made = run(list, { "disk", "offsite" })
    assert.equal(3, made.code, made.stderr)
    assert.equal("degraded", made.result.status)
    assert.matches("has 1 copy of 2; store offsite: NOT_FOUND: .*offsite", made.result.problems[1])
    assert.matches("moonkeep copy %-%-all %-%-from .*%.lua", made.result.hint)
    local backup = mk.json.decode(made.stdout).results[1].backups[1]
    assert.same({ 1, "read", 1 }, { #backup.stores, backup.proof, #backup.missing })
    assert.matches("offsite/store", backup.missing[1].store)
    assert.equal(1, #support.manifests(list.disk))
    local status = support.start(dir.path, { "status", made.path }):finish()
    assert.matches("nightly: the last run is degraded: .*store offsite", status.stdout)
  end)

  it("is well with as many copies as are wanted", function()
    local list = places({ "disk", "other" }, { "other" })
    local made = run(list, { "disk", "other" }, "copies = { min = 1 },")
    assert.equal(0, made.code, made.stderr)
    assert.matches("store other has no copy", made.stderr)
  end)

  it("is degraded without a copy at another place", function()
    local list = places({ "disk", "more", "offsite" }, { "offsite" })
    local made = run(list, { "disk", "more", "offsite" }, "copies = { min = 2, offsite = 1 },")
    assert.equal(3, made.code, made.stderr)
    assert.matches("has 2 copies of 2, 0 of 1 offsite", made.result.problems[1])
  end)

  it("has failed when no store has it, and tells what each has said", function()
    local list = places({ "one", "two" }, { "one", "two" })
    local made = run(list, { "one", "two" })
    assert.equal(1, made.code)
    local err = made.result.error
    assert.matches("^store one: .*could not create folder", err.message)
    assert.matches("^store two: .*could not create folder", err.also[1].message)
    assert.equal("nothing was published", err.left)
  end)

  it("is completed by copy, byte for byte, as soon as the store is well", function()
    local list, mend = places({ "disk", "offsite" }, { "offsite" })
    local made = run(list, { "disk", "offsite" })
    local function copy(...)
      return support.start(dir.path, { "copy", "--all", "--from", made.path, ... }):finish()
    end
    local again = copy()
    assert.equal(1, again.code)
    mend()
    local plan = copy "--dry-run"
    assert.matches("of nightly would be copied to offsite", plan.stdout)
    assert.same({}, support.files(list.offsite))
    local done = copy "--json"
    assert.equal(0, done.code, done.stderr)
    assert.equal(1, #mk.json.decode(done.stdout).results)
    same(list.disk, list.offsite)
    assert.matches("every store has what it should have", copy().stdout)
    local listed = mk.json.decode(support.start(dir.path, { "list", "--json", "--from",
      made.path }):finish().stdout)
    assert.same({ 2, "read" }, { #listed.backups[1].stores, listed.backups[1].proof })
  end)

  it("is completed where it can be, although another store is dead", function()
    local list, mend = places({ "one", "two", "dead" }, { "two", "dead" })
    local made = run(list, { "one", "two", "dead" })
    assert.equal(3, made.code)
    mend()
    mk.fs.mkdir(list.dead:gsub("/store$", ""))
    mk.fs.write(list.dead, "no folder")
    local done = support.start(dir.path, { "copy", "--all", "--from", made.path }):finish()
    assert.equal(1, done.code)
    same(list.one, list.two)
    assert.matches("could not create folder [^ ]*dead/store", done.stderr)
  end)

  it("is not copied to where it is, and stays there", function()
    local list = places({ "disk", "other" }, {})
    local made = run(list, { "disk" }, ([[run = function(ctx)
      local backup = ctx:backup()
      ctx:copy(backup, { mk.store("disk", "file://%s"), mk.store("other", "file://%s") })
      ctx:show("in %%d stores", #backup.stores)
    end,]]):format(list.disk, list.other))
    assert.equal(0, made.code, made.stderr)
    assert.matches("in 2 stores", made.stdout)
    same(list.disk, list.other)
    local again = support.start(dir.path, { "copy", "latest", "--from", list.disk, "--to",
      list.other }):finish()
    assert.equal(0, again.code, again.stderr)
    assert.matches("every store has what it should have", again.stdout)
    same(list.disk, list.other)
  end)

  it("of another snapshot is not mixed with what a store had before it fell behind", function()
    local copies_of = require "moonkeep.copies"
    local list = places({ "one", "two" }, {})
    local one, two = mk.store("one", "file://" .. list.one), mk.store("two", "file://" .. list.two)
    local copies <close> = copies_of.begin("job", "app", { one, two })
    local function move(text)
      local stages = { { kind = "memory", text = text } }
      assert.equal("1.dat", copies:append(stages, "1.dat"))
      return mk.flow.run(stages).stored
    end
    move "of the first snapshot"
    copies[2]:fall_behind(require("moonkeep.errors").new("TIMEOUT", "for a test"))
    copies:clear()
    local stored = move "of the other snapshot"
    local backup = copies:publish("job", "app", { format = 1, kind = "logical",
      created_at = "2026-11-22T02:00:00Z", needs = { codec = "none", pg_restore = 15 },
      dump = { format = "custom", program = "pg_dump", toc_entries = 1 },
      source = { database = "app", encoding = "UTF8", collate = "C", ctype = "C" },
      id = copies.id, job = "job", series = "app", objects = { { name = "1.dat", role = "data",
      size = stored.bytes_in, decoded_size = stored.bytes_in, sha256 = stored.result,
      codec = "none" } } })
    copies:complete(backup)
    assert.equal(2, #backup.stores)
    same(list.one, list.two)
    assert.equal("of the other snapshot", two.driver:read(("job/app/%s/1.dat"):format(backup.id)))
  end)

  it("is not read on when no store is left", function()
    local list = places({ "one", "two" }, {})
    local copies <close> = require("moonkeep.copies").begin("job", "app", {
      mk.store("one", "file://" .. list.one), mk.store("two", "file://" .. list.two) })
    for i = 1, 2 do
      copies[i]:fall_behind(require("moonkeep.errors").new("NETWORK", "gone " .. i))
    end
    local err = support.caught(copies.append, copies, {}, "1.dat")
    assert.equal("store one: gone 1", err.message)
    assert.equal("store two: gone 2", err.also[1].message)
  end)

  it("is found where it can be, when another store cannot be read, and that is told", function()
    local list = places({ "one" }, {})
    local made = run(list, { "one" })
    assert.equal(0, made.code, made.stderr)
    add_stores(made.path, "")
    local function command(...)
      return support.start(dir.path, { ... }):finish()
    end
    local done = command("restore", "latest", "--from", made.path, "--into",
      ("host=%s user=postgres"):format(cluster.folder), "-d", "left_out")
    assert.equal(0, done.code, done.stderr)
    assert.matches("store two is left out", done.stderr, 1, true)
    -- what is meant for all of them has not been done
    for _, arguments in ipairs { { "hold", "latest" }, { "verify", "latest" } } do
      done = command(arguments[1], arguments[2], "--from", made.path)
      assert.equal(1, done.code)
      assert.matches("in one", done.stdout, 1, true)
      assert.matches("two", done.stderr, 1, true)
    end
    done = command("rekey", "--all", "--from", made.path, "--json")
    assert.equal(1, done.code)
    assert.equal("s3://b/x", mk.json.decode(done.stdout).left_out[1].store)
  end)

  it("is copied to where it is lacking, when another store cannot be read, and that is told", function()
    local list = places({ "one", "three" }, {})
    local made = run(list, { "one" })
    add_stores(made.path, ('mk.store("three", "file://%s"),'):format(list.three))
    for _, which in ipairs { "latest", "--all" } do
      mk.fs.remove(list.three)
      local done = support.start(dir.path, { "copy", which, "--from", made.path, "--json" }):finish()
      assert.equal(1, done.code)
      local document = mk.json.decode(done.stdout)
      assert.is_true(document.results[1].ok)
      assert.equal("s3://b/x", document.left_out[1].store)
      assert.matches("nightly in store two", done.stderr, 1, true)
      same(list.one, list.three)
    end
  end)

  it("can be copied to any other store", function()
    local list = places({ "disk", "usb" }, {})
    run(list, { "disk" })
    local done = support.start(dir.path, { "copy", "latest", "--from", list.disk, "--to",
      list.usb }):finish()
    assert.equal(0, done.code, done.stderr)
    same(list.disk, list.usb)
  end)

  it("is copied from where it is whole", function()
    local list, mend = places({ "bad", "good", "new" }, { "new" })
    local made = run(list, { "bad", "good", "new" })
    mend()
    local path = list.bad .. "/" .. support.manifests(list.bad)[1]:gsub("%.json$", "/toc.dat")
    mk.process.run { argv = { "sh", "-c",
      ("printf x | dd of=%s bs=1 seek=9 conv=notrunc 2>&1"):format(path) } }
    local done = support.start(dir.path, { "copy", "--all", "--from", made.path }):finish()
    assert.equal(0, done.code, done.stderr)
    assert.matches("SHA%-256 is not the recorded one", done.stderr)
    same(list.good, list.new)
    mk.fs.remove(list.new)
    mk.fs.remove(list.good)
    local none = support.start(dir.path, { "copy", "--all", "--from", made.path }):finish()
    assert.equal(1, none.code)
    assert.same({}, support.manifests(list.new))
  end)

  it("counts a copy that cannot be proved as one less", function()
    local list = places({ "one", "two" }, {})
    assert.equal(0, run(list, { "one", "two" }).code)
    local proof = require "moonkeep.proof"
    local one, two = mk.store("one", "file://" .. list.one), mk.store("two", "file://" .. list.two)
    local backup = assert(one:latest("nightly", "app"))
    backup.stores, backup.missing = { one, two }, {}
    mk.fs.remove(("%s/nightly/app/%s/toc.dat"):format(list.two, backup.id))
    proof.prove_copies(backup, "decoded")
    assert.same({ 1, "one", "decoded", 1, "two", "CORRUPT" }, { #backup.stores, backup.stores[1].name,
      backup.proof, #backup.missing, backup.missing[1].store.name, backup.missing[1].error.code })
    mk.fs.remove(("%s/nightly/app/%s/toc.dat"):format(list.one, backup.id))
    assert.equal("CORRUPT", support.caught(proof.prove_copies, backup, "decoded").code)
  end)
end)
