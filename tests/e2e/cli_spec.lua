-- The commands around a run: list, show, status, verify, restore, doctor, catalog, retries, locks.
local json = require "moonkeep.core.json"
local mk = require "moonkeep"
local support = require "support"

describe("the command line", function()
  local cluster, dir, recipe

  setup(function()
    cluster = mk.pg.scratch()
    dir = mk.fs.tempdir()
    mk.fs.mkdir(dir.path .. "/in")
    local c <close> = cluster:create_database("app"):connect()
    c:query(support.SMALL)
    recipe = ([[
      local mk = require "moonkeep"
      return mk.job {
        name = "nightly", fresh = "26h",
        source = mk.pg { host = %q, user = "postgres", dbname = "app" },
        upload = { mk.store("one", "file://%s/one"), mk.store("two", "file://%s/two") },
        schedule = { cron = "0 2 * * *", tz = "UTC" },
      }]]):format(cluster.folder, dir.path, dir.path)
    mk.fs.write(dir.path .. "/in/nightly.lua", recipe)
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  local function moonkeep(...)
    return support.start(dir.path, { ... }, { MK_TEST_CWD = dir.path .. "/in",
      PGHOST = cluster.folder, PGUSER = "postgres" }):finish()
  end

  local function document(...)
    local run = moonkeep(...)
    local value = json.decode(run.stdout)
    assert.equal(1, value.version)
    return value, run
  end

  it("says that a job has never run, and exits with 5", function()
    local status, run = document("status", "--json")
    assert.equal(5, run.code)
    assert.is_true(status.stale)
    assert.is_nil(status.jobs[1].last_run)
    assert.equal("no backup yet\n", moonkeep("list").stdout)
  end)

  it("plans without doing anything", function()
    local plan = document("plan", "nightly.lua", "--json")
    assert.equal(0, plan.jobs[1].stores[1].backups)
    assert.matches("02:00:00Z$", plan.jobs[1].next)
    assert.equal("", moonkeep("run", "--dry-run", "nightly.lua").stderr)
    assert.same({}, support.files(dir.path .. "/one"))
  end)

  it("runs, lists, shows, and tells that all is well", function()
    local ran = moonkeep("run", "nightly.lua", "--json")
    assert.equal(0, ran.code, ran.stderr)
    local result = json.decode(ran.stdout).results[1]
    assert.equal("ok", result.status)
    local id = result.backups[1].id
    local listed = document("list", "--json").backups
    assert.equal(1, #listed)
    assert.equal(id, listed[1].id)
    assert.equal("read", listed[1].proof)
    assert.equal(2, #listed[1].stores)
    for _, text in ipairs { id, id:match "%-(%x+)$", id:sub(1, 17), "latest" } do
      assert.equal(id, document("show", text, "--json").backup.id)
    end
    assert.matches("TABLE DATA public fruit", moonkeep("show", "latest", "--contents").stdout)
    local status, run = document("status", "--json")
    assert.equal(0, run.code)
    assert.equal("ok", status.jobs[1].last_run.status)
    local log = mk.fs.read(status.jobs[1].last_run.log)
    assert.matches('"event":"result"', log)
    assert.equal(384, mk.fs.stat(status.jobs[1].last_run.log).mode)
  end)

  it("has text for people in the same commands", function()
    for _, arguments in ipairs { { "list" }, { "show", "latest" }, { "status" }, { "check" },
      { "plan", "nightly.lua" }, { "next" }, { "doctor", "nightly.lua" }, { "version" } } do
      local run = moonkeep(table.unpack(arguments))
      local wanted = arguments[1] == "doctor" and 3 or 0 -- it warns that roles are not backed up
      assert.equal(wanted, run.code, run.stderr .. run.stdout)
      assert.matches(arguments[1] == "version" and "moonkeep" or "nightly", run.stdout)
      assert.is_nil(run.stdout:find("\27", 1, true)) -- no terminal, no colour
    end
  end)

  it("counts from a given time", function()
    local next_times = document("next", "--json", "--count", "2", "--after", "2026-12-31T12:00:00Z")
    assert.same({ "2027-01-01T02:00:00Z", "2027-01-02T02:00:00Z" },
      { next_times.jobs[1].times[1].utc, next_times.jobs[1].times[2].utc })
    assert.equal("2027-01-01 02:00 UTC", next_times.jobs[1].times[1]["local"])
  end)

  it("proves backups again, in each store by itself, and remembers it", function()
    local verified = document("verify", "latest", "--json")
    assert.equal(2, #verified.results)
    assert.equal("decoded", document("list", "--json").backups[1].proof)
    local file = support.files(dir.path .. "/two")
    for _, name in ipairs(file) do
      if name:match "pack" then
        mk.fs.write(dir.path .. "/two/" .. name, "damaged")
      end
    end
    local damaged, run = document("verify", "--all", "--level", "read", "--json")
    assert.equal(1, run.code)
    assert.is_true(damaged.results[1].ok)
    assert.is_false(damaged.results[2].ok)
    assert.equal("CORRUPT", damaged.results[2].error.code)
  end)

  it("restores with only a store and latest", function()
    local run = moonkeep("restore", "latest", "--from", "file://" .. dir.path .. "/one", "--into",
      "host=" .. cluster.folder .. " user=postgres", "-d", "app_restored", "--json")
    assert.equal(0, run.code, run.stderr)
    assert.is_true(json.decode(run.stdout).created)
    local c <close> = cluster:database("app_restored"):connect()
    assert.equal(500, c:value "SELECT count(*) FROM fruit")
  end)

  it("changes a database that is not empty only with consent", function()
    local function restore(...)
      return moonkeep("restore", "latest", "--from", dir.path .. "/one", "--into",
        "host=" .. cluster.folder .. " user=postgres", "-d", "app_restored", ...)
    end
    assert.equal("NOT_EMPTY", restore().result.error.code)
    assert.equal("NOT_CONFIRMED", restore("--existing", "replace").result.error.code)
    local wrong = restore("--existing", "replace", "--yes", "app")
    assert.equal("NOT_CONFIRMED", wrong.result.error.code)
    assert.matches("app_restored", wrong.result.error.hint)
    assert.matches("not empty", restore("--dry-run").stdout)
    local run = restore("--existing", "replace", "--yes", "app_restored")
    assert.equal(0, run.code, run.stderr)
  end)

  it("finds what would keep a job from working, with the exact fix", function()
    local c <close> = cluster:database("app"):connect()
    c:query "CREATE ROLE narrow LOGIN; GRANT SELECT ON fruit TO narrow"
    local run = moonkeep("doctor", "--source", ("host=%s user=narrow dbname=app"):format(
      cluster.folder), "--to", dir.path .. "/doctor", "--json")
    assert.equal(1, run.code)
    local found
    for _, finding in ipairs(json.decode(run.stdout).jobs[1].findings) do
      found = finding.check == "rights" and finding.level == "error" and finding or found
    end
    assert.is_truthy(found, run.stdout)
    assert.matches('role narrow cannot read public.odd "name$', found.text)
    for sql in found.fix:gmatch "[^\n]+" do
      c:query((sql:gsub("^or, once for all: ", "")))
    end
    local after = moonkeep("doctor", "--source", ("host=%s user=narrow dbname=app"):format(
      cluster.folder), "--to", dir.path .. "/doctor", "--json")
    assert.equal(3, after.code, after.stdout) -- roles are not backed up, no schedule
    assert.is_nil(after.stdout:find('"error"', 1, true))
    local dead = moonkeep("doctor", "--source", "host=127.0.0.1 port=1 dbname=x", "--to",
      "/proc/nowhere", "--json")
    assert.equal(1, dead.code)
    assert.matches("pg_isready", dead.stdout)
  end)

  it("does not run a job twice at once: the second is skipped, or waits", function()
    local text = [[
      local mk = require "moonkeep"
      return mk.job { name = "long", overlap = %q, run = function(ctx)
        ctx:show "began"
        mk.sleep "1500ms"
        ctx:show "ended"
      end }]]
    for overlap, code in pairs { skip = 4, queue = 0 } do
      local first = support.start_recipe(dir.path, text:format(overlap))
      support.eventually("it runs", function()
        return mk.fs.exists(first.out) and mk.fs.read(first.out) ~= ""
      end)
      local second = support.run_recipe(dir.path, text:format(overlap))
      assert.equal(code, second.code, second.stderr)
      assert.equal(overlap == "skip" and "" or "began\nended\n", second.stdout)
      assert.equal(0, first:finish().code)
    end
  end)

  it("tries again after a failure, but not after a mistake", function()
    local text = [[
      local mk = require "moonkeep"
      local n = 0
      return mk.job { name = "flaky", retry = { tries = 3, wait = "10ms" }, run = function(ctx)
        n = n + 1
        if n < 3 then %s end
        ctx:show("try %%d", n)
      end }]]
    local run = support.run_recipe(dir.path, text:format 'mk.error("FLAKY", "not yet")')
    assert.equal(0, run.code, run.stderr)
    assert.equal("try 3\n", run.stdout)
    assert.matches("try 1 of 3 failed: FLAKY: not yet; the next one is in 10 ms", run.stderr)
    run = support.run_recipe(dir.path, text:format 'local x = nil + 1')
    assert.equal(1, run.code)
    assert.is_nil(run.stderr:find("try 1 of 3", 1, true))
  end)

  it("runs hooks before and after, also after a failure", function()
    local run = support.run_recipe(dir.path, [[
      local mk = require "moonkeep"
      return mk.job { name = "hooks", before = function(ctx) ctx:show "before" end,
        run = function() mk.error("BROKEN", "in the middle") end,
        after = function(ctx, err) ctx:show("after %s", err.code) end }]])
    assert.equal(1, run.code)
    assert.equal("before\nafter BROKEN\n", run.stdout)
    assert.equal("BROKEN", run.result.error.code)
  end)

  it("remembers runs that were killed", function()
    local run = support.start_recipe(dir.path, [[
      local mk = require "moonkeep"
      return mk.job { name = "nightly", run = function(ctx) ctx:show "up" mk.sleep "60s" end }]])
    support.eventually("it runs", function()
      return mk.fs.exists(run.out) and mk.fs.read(run.out) ~= ""
    end)
    mk.process.run { argv = { "kill", "-KILL", tostring(run:worker_pid()) } }
    run:finish()
    local last = document("status", "--json").jobs[1].last_run
    assert.equal("killed", last.status)
    assert.equal("WORKER_DIED", last.error.code)
  end)

  describe("without a catalog", function()
    local path

    setup(function()
      path = dir.path .. "/state/catalog.sqlite"
    end)

    local function run_again()
      local run = moonkeep("run", "nightly.lua")
      assert.equal(0, run.code, run.stderr)
      return run.stderr
    end

    it("makes backups when it was lost, and rebuilds it from the stores", function()
      mk.fs.remove(path)
      assert.matches("the catalog is new; %d backups of nightly were found", run_again())
      mk.fs.remove(path)
      local rebuilt = document("catalog", "rebuild", "--json")
      assert.equal(4, rebuilt.backups)
    end)

    it("makes backups when it is damaged, puts it aside, and says so", function()
      mk.fs.write(path, ("not a database "):rep(1000))
      assert.matches("the catalog was damaged", run_again())
      local aside
      for _, name in ipairs(mk.fs.list(dir.path .. "/state")) do
        aside = aside or name:match "^catalog%.sqlite%.damaged%-"
      end
      assert.is_truthy(aside)
      assert.equal("ok", document("status", "--json").jobs[1].last_run.status)
    end)

    it("makes backups when it is of a newer moonkeep, and leaves it alone", function()
      local core = require "moonkeep.core.db"
      core.run(path, { { "PRAGMA user_version = 99" } })
      assert.matches("has version 99", run_again())
      assert.equal(99, core.run(path, { { "PRAGMA user_version" } })[1][1].user_version)
      mk.fs.remove(path)
    end)

    it("makes backups when there is no place for it", function()
      local run = support.start(dir.path, { "run", "nightly.lua" }, { MK_TEST_CWD = dir.path .. "/in",
        MOONKEEP_STATE = "/proc/nowhere" }):finish()
      assert.equal(0, run.code, run.stderr)
      assert.matches("the state folder /proc/nowhere cannot be used", run.stderr)
    end)
  end)
end)

describe("the catalog", function()
  it("takes every version of its schema to the present one", function()
    local catalog = require "moonkeep.catalog"
    local core = require "moonkeep.core.db"
    local dir <close> = mk.fs.tempdir()
    for version = 0, #catalog.MIGRATIONS do
      local folder = ("%s/%d"):format(dir.path, version)
      mk.fs.mkdir(folder)
      local statements = {}
      for n = 1, version do
        for _, sql in ipairs(catalog.MIGRATIONS[n]) do
          statements[#statements + 1] = { sql }
        end
      end
      statements[#statements + 1] = { ("PRAGMA user_version = %d"):format(version) }
      core.run(folder .. "/catalog.sqlite", statements)
      local run = support.start(dir.path, { "run", "--source", "host=127.0.0.1 port=1", "--to",
        dir.path .. "/s" }, { MOONKEEP_STATE = folder }):finish()
      assert.equal(1, run.code)
      local rows = core.run(folder .. "/catalog.sqlite", { { "PRAGMA user_version" },
        { "SELECT status, error_code FROM runs" } })
      assert.equal(#catalog.MIGRATIONS, rows[1][1].user_version)
      assert.same({ status = "failed", error_code = "PG_CONNECT" }, rows[2][1])
    end
  end)

  it("keeps integers exact, texts with any bytes, and rolls a failed batch back", function()
    local core = require "moonkeep.core.db"
    local dir <close> = mk.fs.tempdir()
    local path = dir.path .. "/x.sqlite"
    core.run(path, { { "CREATE TABLE t (a, b)" },
      { "INSERT INTO t VALUES (?1, ?2)", math.maxinteger, "a\0b'", n = 2 },
      { "INSERT INTO t VALUES (?1, ?2)", 1.5, nil, n = 2 } })
    local ok, err = pcall(core.run, path, { { "DELETE FROM t" }, { "SELECT nonsense" } })
    assert.is_false(ok)
    assert.matches("no such column", err.message)
    local rows = core.run(path, { { "SELECT * FROM t" } }, true)[1]
    assert.same({ { a = math.maxinteger, b = "a\0b'" }, { a = 1.5 }, changes = rows.changes }, rows)
    assert.equal(384, mk.fs.stat(path).mode)
    assert.same({ { n = 2, a = { math.maxinteger, 1.5 }, b = { "a\0b'" } }, { n = 0, a = {} } },
      core.run(path, { { "SELECT * FROM t", by_column = true },
        { "SELECT a FROM t WHERE false", by_column = true } }, true))
  end)

  it("knows the backups of a series by their ids, in order and in any other, however many", function()
    local dir <close> = mk.fs.tempdir()
    mk.fs.write(dir.path .. "/fill.lua", [[
      local catalog = require "moonkeep.catalog"
      catalog.run { { "WITH RECURSIVE n(i) AS " ..
        "(SELECT 1 UNION ALL SELECT i + 2 FROM n WHERE i < 40000) " ..
        "INSERT INTO backups (job, series, id, store, created_at, size, decoded_size, proof) " ..
        "SELECT 'j', 's', printf('%06d', i), 'file:///s', '', i, 0, 'read' FROM n" } }
      local known = catalog.known("j", "s", { url = "file:///s" })
      local function size(i)
        local columns, row = known(("%06d"):format(i))
        return columns and columns.size[row]
      end
      for i = 0, 40005 do
        assert(size(i) == (i % 2 == 1 and i < 40002 and i or nil), i)
      end
      for i = 40005, 0, -999 do
        assert(size(i) == (i % 2 == 1 and i < 40002 and i or nil), i)
      end
      assert(not catalog.known("j", "other", { url = "file:///s" })("000001"))
      local row = catalog.knowledge()("j", "s", "000007", { url = "file:///s" })
      assert(row.size == 7 and row.proof == "read")]])
    local run = support.start(dir.path, { "--script", dir.path .. "/fill.lua" }, {
      MOONKEEP_STATE = dir.path .. "/state" }):finish()
    assert.equal(0, run.code, run.stderr)
  end)
end)
