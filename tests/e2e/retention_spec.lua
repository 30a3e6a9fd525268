-- Retention on real stores: what goes, when, and what nothing may take away.
local json = require "moonkeep.core.json"
local mk = require "moonkeep"
local support = require "support"

local DAY = 86400

describe("retention", function()
  local cluster, dir

  setup(function()
    cluster, dir = support.cluster_with("app", support.SMALL), mk.fs.tempdir()
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  local n = 0

  -- A recipe with a store and a state folder of its own: { path, store, state }. `job`: keys, `more`:
  -- what else is in the list `upload`.
  local function place(job, more, server)
    n = n + 1
    local at = { folder = ("%s/%d"):format(dir.path, n) }
    at.path, at.store = at.folder .. "/nightly.lua", at.folder .. "/store"
    at.state = at.folder .. "/state"
    mk.fs.mkdir(at.folder)
    function at.write(keys, other)
      mk.fs.write(at.path, ([[
        local mk = require "moonkeep"
        return mk.job { name = "nightly", %s
          source = mk.pg { host = %q, user = "postgres", dbname = "app" },
          upload = { mk.store("disk", "file://%s"), %s } }]]):format(keys, (server or cluster).folder,
        at.store, other or ""))
    end
    at.write(job, more)
    return at
  end

  local function command(at, ...)
    return support.start(dir.path, { ... }, { MOONKEEP_STATE = at.state }):finish()
  end

  local function run(at, code)
    local done = command(at, "run", at.path)
    assert.equal(code or 0, done.code, done.stderr)
    return done
  end

  local function ids(store, job, series)
    return mk.store("s", "file://" .. store):list(job or "nightly", series or "app")
  end

  -- A real backup, and others that are as if it had been made at noon so many days ago, each read again;
  -- oldest first.
  local function history(at, days)
    run(at)
    local folder = at.store .. "/nightly/app/"
    local real = ids(at.store)[1]
    local list = {}
    for i, day in ipairs(days) do
      local time = os.time() // DAY * DAY - day * DAY
      local id = os.date("!%Y%m%dT120000Z-", time) .. ("%06x"):format(i)
      mk.process.run { argv = { "cp", "-r", folder .. real, folder .. id } }
      local text = mk.fs.read(folder .. real .. ".json"):gsub(real, id):gsub('"created_at": *"[^"]*"',
        os.date('"created_at": "!%Y-%m-%dT12:00:00Z"', time):gsub("!", ""))
      mk.fs.write(folder .. id .. ".json", text)
      mk.fs.write(folder .. id .. ".proof-read", "{}")
      list[i] = id
    end
    table.sort(list)
    list[#list + 1] = real
    return list
  end

  local function prune(at, ...)
    return command(at, "prune", at.path, ...)
  end

  local function reasons(at, id)
    local done = prune(at, "--dry-run", "--json")
    assert.equal(0, done.code, done.stderr)
    for _, store in ipairs(json.decode(done.stdout).stores) do
      for _, backup in ipairs(store.backups) do
        if backup.id == id then
          return table.concat(backup.reasons, "; "), backup.keep
        end
      end
    end
  end

  it("removes what no rule keeps after a run that went well, and says how much", function()
    local at = place "keep = { last = 2, floor = 1 },"
    for _ = 1, 3 do
      run(at)
    end
    local done = run(at)
    assert.equal(2, #ids(at.store))
    assert.same({ expected = 1, deleted = 1 }, done.result.expired)
    assert.matches("disk: expected to delete 1 expired backup, deleted 1, [%d.]+ KiB", done.stderr)
    assert.equal(2, support.whole_backups(at.store))
    for _, file in ipairs(support.files(at.store)) do -- nothing is left of those
      assert.truthy(file == "nightly/job.json" or file:find(ids(at.store)[1], 1, true) or
        file:find(ids(at.store)[2], 1, true), file)
    end
  end)

  it("removes nothing after a run that failed, or is degraded", function()
    local keep = "keep = { last = 1, floor = 1 },"
    local at = place(keep)
    local list = history(at, { 1, 2, 3 })
    at.write(keep .. "after = function() error 'no' end,")
    run(at, 1)
    assert.equal(#list + 1, #ids(at.store))
    mk.fs.write(at.folder .. "/file", "in the way")
    at.write(keep, ('mk.store("broken", "file://%s/file/store")'):format(at.folder))
    run(at, 3)
    assert.equal(#list + 2, #ids(at.store))
    at.write(keep)
    run(at)
    assert.equal(1, #ids(at.store))
  end)

  it("says of each backup why it stays or goes, and does nothing when it is only asked", function()
    local at = place [[keep = { daily = 2, monthly = 2, floor = 1 },
      schedule = { at = "12:00", tz = "UTC" },]]
    local list = history(at, { 1, 2, 3, 70, 80 })
    local done = prune(at, "--dry-run")
    assert.equal(0, done.code, done.stderr)
    assert.equal(#list, #ids(at.store))
    assert.matches("Job nightly in disk: keeps daily 2, monthly 2; floor 1; counts from read on",
      done.stdout)
    assert.matches("KEEP +%x+ +%S+ +app +[%d.]+ KiB +daily 1 of 2; monthly 1 of 2; floor: 1 of the 1 " ..
      "newest", done.stdout)
    assert.matches("WOULD GO +%x+ +%S+ +app +[%d.]+ KiB +no rule keeps it", done.stdout)
    local going = tonumber(done.stdout:match "of which (%d) would go")
    done = prune(at)
    assert.equal(0, done.code, done.stderr)
    assert.matches(("expected to delete %d, deleted %d"):format(going, going), done.stdout)
    assert.equal(#list - going, #ids(at.store))
    assert.equal(#list - going, support.whole_backups(at.store))
    assert.matches("in a year %d+ backups of app: .-, the oldest of %d+%-%d+%-%d+, never more than %d+",
      command(at, "plan", at.path).stdout)
  end)

  it("takes a damaged manifest for no good backup, though the catalog knows it", function()
    local at = place "keep = { last = 3, floor = 2 },"
    local list = history(at, { 1, 2, 3, 4, 5, 6 })
    assert.equal(0, command(at, "catalog", "rebuild", at.path).code)
    for i = 5, 7 do -- the newest three
      mk.fs.write(("%s/nightly/app/%s.json"):format(at.store, list[i]), "garbage")
    end
    assert.equal(0, prune(at).code)
    assert.same({ list[2], list[3], list[4], list[5], list[6], list[7] }, ids(at.store))
    assert.matches("its manifest cannot be read", (reasons(at, list[7])))
    assert.equal(1, command(at, "verify", "--all", "--from", at.path).code)
    assert.is_true(mk.fs.exists(("%s/nightly/app/%s.damaged"):format(at.store, list[7])))
  end)

  it("does not let the roles go that a backup needs which could not go", function()
    local at = place ""
    at.write "keep = { last = 9 }, dump = { globals = true },"
    run(at)
    run(at)
    at.write "keep = { last = 1, floor = 1 }, dump = { globals = true },"
    local first = ids(at.store)[1]
    local store = mk.store("s", "file://" .. at.store)
    store:locked(store:backup("nightly", "app", first), function() -- somebody is at work on it
      local done = prune(at)
      assert.equal(1, done.code)
      assert.matches("BUSY", done.stderr)
      assert.equal(2, #ids(at.store, "nightly", "_globals"))
      assert.matches("needed by what has stayed after all", done.stdout)
    end)
    assert.equal(0, prune(at).code)
    assert.equal(1, #ids(at.store, "nightly", "_globals"))
  end)

  if mk.process.uid() == 0 then
    it("is the way out of a full disk", function()
      local at = place "keep = { last = 1, floor = 1 },"
      mk.fs.mkdir(at.store)
      mk.process.run { argv = { "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", at.store } }
      local ok, err = pcall(function()
        local list = history(at, { 1, 2, 3 })
        pcall(mk.process.run, { argv = { "sh", "-c", "cat /dev/zero > " .. at.store .. "/full" } })
        local done = prune(at)
        assert.equal(0, done.code, done.stderr)
        assert.same({ list[4] }, ids(at.store))
        for _, file in ipairs(support.files(at.store)) do
          assert.truthy(file == "full" or file == "nightly/job.json" or file:find(list[4], 1, true),
            file)
        end
      end)
      mk.process.run { argv = { "umount", at.store } }
      assert.is_true(ok, tostring(err))
    end)
  end

  it("tells a mistyped store or job", function()
    local at = place "keep = { last = 1 },"
    assert.matches('no job here has a store "nas"', prune(at, "--store", "nas").stderr)
    assert.matches('there is no job "weekly" here', prune(at, "--job", "weekly").stderr)
  end)

  it("keeps everything where there is no keep", function()
    local at = place ""
    local list = history(at, { 10, 20, 30, 40, 50 })
    local done = prune(at)
    assert.matches("keeps everything: it has no `keep`", done.stdout)
    assert.same(list, ids(at.store))
  end)

  it("does not touch what is held, and lets it go when it is released", function()
    local at = place "keep = { last = 1, floor = 1 },"
    local list = history(at, { 3, 2, 1 })
    local done = command(at, "hold", list[1], "--from", at.path, "--until", "2099-01-01", "--reason",
      "audit")
    assert.equal(0, done.code, done.stderr)
    assert.matches("HELD until 2099%-01%-01T00:00:00Z  " .. list[1]:gsub("%p", "%%%0") .. " in disk",
      done.stdout)
    mk.fs.write(("%s/nightly/app/%s.hold"):format(at.store, list[2]), "no JSON")
    mk.fs.remove(at.state) -- the catalog knows nothing of it
    assert.equal(0, prune(at).code)
    assert.same({ list[1], list[2], list[4] }, ids(at.store))
    assert.matches("held until 2099%-01%-01T00:00:00Z: audit", (reasons(at, list[1])))
    assert.matches("what it says cannot be read", (reasons(at, list[2])))
    assert.matches("read, held", command(at, "list", "--from", at.path).stdout)
    assert.equal(0, command(at, "release", list[1], "--from", at.path).code)
    assert.equal(0, prune(at).code)
    assert.same({ list[2], list[4] }, ids(at.store))
    done = command(at, "hold", list[4], "--from", at.path, "--until", "2020-01-01")
    assert.equal(2, done.code)
    assert.matches("is over already", done.stderr)
    assert.equal(0, command(at, "hold", list[4], "--from", at.path, "--reason", "court").code)
    done = command(at, "hold", list[4], "--from", at.path, "--until", "2099-01-01")
    assert.equal(1, done.code)
    assert.matches("it is held for ever already: court", done.stderr)
    assert.matches("held +for ever: court", command(at, "show", list[4], "--from", at.path).stdout)
  end)

  it("deletes nothing when a hold cannot be looked at", function()
    local at = place "keep = { last = 1, floor = 1 },"
    local list = history(at, { 3, 2, 1 })
    mk.fs.mkdir(("%s/nightly/app/%s.hold"):format(at.store, list[2])) -- reading it is an error
    local done = prune(at)
    assert.equal(1, done.code)
    assert.same(list, ids(at.store))
  end)

  it("deletes nothing where holds may not be read, or the service fails", function()
    local errors = require "moonkeep.errors"
    local at = place ""
    local list = history(at, { 3, 2, 1 })
    mk.fs.write(("%s/nightly/app/%s.hold"):format(at.store, list[2]), "{}")
    for _, fields in ipairs { { status = 403 }, {} } do
      local store = mk.store("s", "file://" .. at.store)
      local driver = setmetatable({ read = function(self, key)
        if key:find "%.hold$" then
          errors.raise("S3_ERROR", "no", fields)
        end
        return getmetatable(store.driver).__index.read(self, key)
      end }, { __index = store.driver })
      store.driver = driver
      local err = support.caught(require("moonkeep.retention.facts").of, { "nightly" }, store)
      assert.equal("S3_ERROR", err.code)
    end
  end)

  it("does not need the catalog", function()
    local at = place "keep = { daily = 2, floor = 1 },"
    history(at, { 1, 2, 3, 4, 5 })
    local before = prune(at, "--dry-run").stdout
    mk.fs.remove(at.state)
    assert.equal(before, prune(at, "--dry-run").stdout)
    assert.equal(0, prune(at).code)
    assert.is_true(#ids(at.store) < 6)
  end)

  it("counts only what is proved", function()
    local at = place "keep = { last = 2, floor = 2 },"
    local list = history(at, { 1, 2, 3, 4 })
    for i = 3, 4 do -- the two before the real one
      mk.fs.remove(("%s/nightly/app/%s.proof-read"):format(at.store, list[i]))
    end
    mk.fs.remove(at.state)
    assert.equal(0, prune(at).code)
    assert.same({ list[2], list[3], list[4], list[5] }, ids(at.store))
    assert.matches("proved as stored only, not as read", (reasons(at, list[4])))
  end)

  it("keeps what the rules would want of backups whose proofs were lost", function()
    local at = place "keep = { monthly = 12, floor = 1 },"
    local list = history(at, { 40, 70, 100, 130, 131 })
    for _, id in ipairs(list) do
      mk.fs.remove(("%s/nightly/app/%s.proof-read"):format(at.store, id))
    end
    run(at) -- three newer ones that count
    run(at)
    run(at)
    mk.fs.remove(at.state)
    assert.equal(0, prune(at).code)
    local why, keep = reasons(at, list[4])
    assert.is_true(keep)
    assert.matches("does not count %(it is proved as stored only, not as read%), but would be: monthly",
      why)
    assert.is_true(#ids(at.store) >= 5)
  end)

  it("goes by the cluster when a folder's uid has changed, and by the uid when the cluster is not known",
    function()
      local identity = require "moonkeep.store.identity"
      local at = place "keep = { last = 1, floor = 1 },"
      run(at)
      local path = at.store .. "/nightly/job.json"
      local fields = json.decode(mk.fs.read(path))
      fields.uid = "another" -- the store was not mounted for a night
      mk.fs.write(path, json.encode(fields))
      run(at)
      fields.uid, fields.system_identifier = "a third", nil
      mk.fs.write(path, json.encode(fields))
      local done = run(at, 1)
      assert.matches("is not the one that this machine has written to before", done.result.error.message)
      mk.fs.write(path, "cut")
      done = run(at, 1)
      assert.equal("CORRUPT", done.result.error.code)
      assert.matches("moonkeep adopt", done.result.error.hint)
      assert.equal(0, command(at, "adopt", at.path).code)
      run(at)
      local store = mk.store("s", "file://" .. at.store)
      local err = support.caught(identity.adopt, "nightly", store, mk.pg { host = "/nowhere" })
      assert.equal("PG_CONNECT", err.code) -- and what is known stays
      assert.matches("^%d+$", store:read_job("nightly").system_identifier)
    end)

  it("is refused where the backups are another cluster's", function()
    local other <close> = support.cluster_with("app", support.SMALL)
    local at = place "keep = { last = 1, floor = 1 },"
    local list = history(at, { 3, 2, 1 })
    local stranger = place("keep = { last = 1, floor = 1 },", nil, other)
    stranger.store = at.store
    stranger.write "keep = { last = 1, floor = 1 },"
    local done = run(stranger, 1)
    assert.equal("OTHER_IDENTITY", done.result.error.code)
    assert.matches("are another's: they are of the cluster %d+", done.result.error.message)
    assert.matches("moonkeep adopt, with its recipe", done.result.error.hint)
    done = prune(stranger)
    assert.equal(1, done.code)
    assert.matches("OTHER_IDENTITY", done.stderr)
    assert.same(list, ids(at.store))
    done = command(stranger, "adopt", stranger.path)
    assert.equal(0, done.code, done.stderr)
    assert.matches("ADOPTED  nightly in disk: of the cluster %d+ %(it was %d+", done.stdout)
    assert.equal(0, prune(stranger).code)
    assert.same({ list[4] }, ids(at.store))
  end)

  it("does not ask whose it is without a recipe: that is whatever it is run on", function()
    local other <close> = support.cluster_with("app", support.SMALL)
    for _, server in ipairs { cluster, other } do
      local source = ("host=%s user=postgres dbname=app"):format(server.folder)
      local done = support.start(dir.path, { "run", "--source", source, "--to", dir.path .. "/adhoc",
        "--set", "compress=lz4" }):finish()
      assert.equal(0, done.code, done.stderr)
    end
    assert.equal(2, #ids(dir.path .. "/adhoc", "manual"))
  end)

  it("goes on with the backups that the job had under another name", function()
    local at = place "keep = { last = 2, floor = 1 },"
    local list = history(at, { 3, 2, 1 })
    mk.fs.write(at.path, (mk.fs.read(at.path):gsub('name = "nightly",',
      'name = "daily", was = "nightly",')))
    mk.fs.remove(at.store .. "/nightly/job.json") -- older than such files
    local done = run(at, 3) -- the backup is made; but a disk that fills up is to be told of
    assert.matches("nothing says whose the backups of job nightly in store disk are",
      done.result.problems[1])
    assert.same(list, ids(at.store))
    done = command(at, "adopt", at.path)
    assert.matches("ADOPTED  daily in disk.-ADOPTED  nightly in disk", done.stdout)
    assert.equal(0, prune(at).code)
    assert.same({ list[4] }, ids(at.store))
    assert.equal(1, #ids(at.store, "daily"))
    assert.matches("2 backups", command(at, "list", "--from", at.path).stdout)
    assert.equal(0, command(at, "hold", list[4], "--from", at.path).code)
  end)

  it("is what the recipe's own function says, above the floor", function()
    local at = place [[keep = function(backup, all)
      return backup.age > 60 * 86400 and "old" or #all < 3 and "few" end,]]
    local list = history(at, { 1, 2, 3, 4, 70 })
    assert.equal(0, prune(at).code)
    assert.same({ list[1], list[4], list[5], list[6] }, { ids(at.store)[1], list[4], list[5], list[6] })
    assert.equal(4, #ids(at.store)) -- the old one, and the floor
    assert.equal("old", (reasons(at, list[1])))
  end)

  it("that does not end is stopped, and the backup is there", function()
    local at = place "keep = function() while true do end end,"
    local done = support.start(dir.path, { "run", at.path, "--watchdog", "1s" }, {
      MOONKEEP_STATE = at.state }):finish()
    assert.equal(1, done.code)
    assert.equal("WATCHDOG", done.result.error.code)
    assert.matches("published before the failure: " .. ids(at.store)[1]:gsub("%p", "%%%0"),
      done.result.error.left)
    assert.equal(1, support.whole_backups(at.store))
    assert.matches(" ok", command(at, "status", at.path).stdout)
  end)

  it("is vetoed by a policy", function()
    local at = place "keep = { last = 1, floor = 1 },"
    local list = history(at, { 3, 2, 1 })
    mk.fs.write(at.folder .. "/policy.lua", ([[require("moonkeep").policy {
      before_expire = function(backup, plan)
        if backup.id == %q and plan.verified_left == 1 then return false, "never this one" end
      end }]]):format(list[2]))
    assert.equal(0, prune(at).code)
    assert.same({ list[2], list[4] }, ids(at.store))
    assert.equal("policy: never this one", (reasons(at, list[2])))
  end)

  it("does not bring back by `copy --all` what has expired in one store and lives in another", function()
    local at = place "keep = { last = 5 },"
    at.write("keep = { last = 5 },", ([[mk.store("small", "file://%s/small",
      { keep = { last = 1, floor = 1 } })]]):format(at.folder))
    for _ = 1, 3 do
      run(at)
    end
    local small = at.folder .. "/small"
    assert.equal(3, #ids(at.store))
    assert.equal(1, #ids(small))
    local done = command(at, "copy", "--all", "--from", at.path)
    assert.equal("every store has what it should have\n", done.stdout)
    done = command(at, "copy", ids(at.store)[1], "--from", at.path, "--to", "small") -- asked for
    assert.equal(0, done.code, done.stderr)
    assert.equal(2, #ids(small))
    at.write("keep = { last = 1, floor = 1 },", ('mk.store("small", "file://%s/small")'):format(
      at.folder))
    assert.equal(0, prune(at).code)
    for _, file in ipairs(support.files(at.folder)) do -- and the marks go with the last copy
      assert.is_nil(file:match "%.expired$")
    end
  end)

  it("keeps the data of a backup whose manifest the store has lost, until it is copied anew", function()
    local at = place "keep = { last = 2, floor = 1 },"
    at.write("keep = { last = 2, floor = 1 },", ('mk.store("other", "file://%s/other")'):format(
      at.folder))
    run(at)
    local id = ids(at.store)[1]
    mk.fs.remove(("%s/nightly/app/%s.json"):format(at.store, id))
    local done = run(at)
    assert.matches("was a backup, but has lost its manifest: it stays as it is", done.stderr)
    local rest = ("%s/nightly/app/%s/toc.dat"):format(at.store, id)
    assert.is_true(mk.fs.exists(rest))
    local there = ("%s/other/nightly/app/%s/toc.dat"):format(at.folder, id)
    local text = mk.fs.read(there)
    mk.fs.write(there, "damaged") -- then what is left here may be all that there is
    assert.equal(1, command(at, "copy", id, "--from", at.path).code)
    assert.equal(text, mk.fs.read(rest))
    mk.fs.write(there, text)
    mk.fs.write(("%s/nightly/app/%s.hold"):format(at.store, id), "{}")
    done = command(at, "copy", id, "--from", at.path)
    assert.equal(0, done.code, done.stderr)
    assert.is_true(mk.fs.exists(("%s/nightly/app/%s.hold"):format(at.store, id)))
    assert.equal(2, support.whole_backups(at.store))
    assert.equal(2, #ids(at.store))
  end)

  it("does what the guide says", function()
    local at = place ""
    local recipes, commands = support.page("docs/guide/keep.md", { ["/var/backups/app"] = at.store,
      ["/mnt/nas"] = at.folder, ["nightly.lua"] = at.path, ['"audit 2026"'] = "audit" })
    local env = { MOONKEEP_STATE = at.state, PGHOST = cluster.folder, PGUSER = "postgres" }
    for i = 2, 1, -1 do
      mk.fs.write(at.path, recipes[i])
      local done = support.start(dir.path, { "run", at.path }, env):finish()
      assert.equal(0, done.code, done.stderr)
    end
    for _, words in ipairs(commands) do
      local done = support.start(dir.path, { table.unpack(words, 2) }, env):finish()
      assert.equal(0, done.code, table.concat(words, " ") .. done.stderr)
    end
    assert.equal(6, #commands)
  end)

  it("refuses rules that keep nothing, and keys that are none", function()
    for keys, why in pairs {
      ["keep = { floor = 3 },"] = "keep has no rule that keeps anything",
      ["keep = {},"] = "must have a rule, such as daily = 7",
      ["keep = { dayly = 3 },"] = 'unknown key "dayly", did you mean "daily"?',
      ["keep = { daily = 0 },"] = "keep.daily must be at least 1",
      ["keep = 7,"] = "must be a table of rules, a function, or false",
      ['was = "nightly",'] = 'was: "nightly" is the job\'s own name',
      ['was = { "a", "a" },'] = 'was: "a" is there twice',
      ['was = "../x",'] = "was: the name must be made of letters" } do
      local at = place(keys)
      local done = command(at, "check", at.path)
      assert.equal(2, done.code)
      assert.matches(why, done.stderr, 1, true)
    end
  end)
end)
