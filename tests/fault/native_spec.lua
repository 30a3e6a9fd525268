-- The native engine among others: who changes tables, takes connections away, or stands between.
local contents = require "moonkeep.dump.contents"
local mk = require "moonkeep"
local session = require "moonkeep.dump.session"
local support = require "support"
local tools = require "moonkeep.pg.tools"

describe("a native dump", function()
  local cluster, dir

  setup(function()
    cluster = mk.pg.scratch { settings = { max_connections = "60" } }
    dir = mk.fs.tempdir()
    local c <close> = cluster:create_database("app"):connect()
    c:query(support.SMALL)
    c:query [[
      CREATE TABLE one AS SELECT i, md5(i::text) AS a FROM generate_series(1, 60000) i;
      CREATE TABLE two AS SELECT i, md5(i::text) AS a FROM generate_series(1, 60000) i;
      CREATE TABLE three AS SELECT i, md5(i::text) AS a FROM generate_series(1, 60000) i]]
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  local function recipe(store, dump, source)
    return ([[
      local mk = require "moonkeep"
      return mk.job { name = "n", dump = { %s }, verify = "decoded",
        source = mk.pg(%s), upload = { mk.store("disk", "file://%s/%s") } }]]):format(dump or "",
      source or ("{ host = %q, user = 'postgres', dbname = 'app' }"):format(cluster.folder),
      dir.path, store)
  end

  local function start(store, dump, source)
    return support.start_recipe(dir.path, recipe(store, dump, source))
  end

  -- A slow one, once it is reading rows; and the pids of its backends by what they do.
  local function in_the_middle(store, dump)
    local run = start(store, 'jobs = 1, throttle = "1MiB", ' .. (dump or ""))
    local c <close> = cluster:database("app"):connect()
    support.eventually("rows are read", function()
      return c:value [[SELECT count(*) FROM pg_stat_activity
        WHERE query LIKE 'COPY "public"%' AND state = 'active']] > 0
    end)
    return run
  end

  local function nothing_is_left(store)
    assert.same({}, support.manifests(dir.path .. "/" .. store))
    assert.same({}, support.files(dir.path .. "/" .. store))
    support.nothing_runs(cluster, "app")
  end

  local function terminate(where)
    local c <close> = cluster:database("postgres"):connect()
    assert.is_true(#c:query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE " ..
      "datname = 'app' AND " .. where) > 0)
  end

  it("reads a unit again when its connection was lost", function()
    local run = in_the_middle "lost"
    terminate "query LIKE 'COPY %' AND state = 'active'"
    run:finish()
    assert.equal(0, run.code, run.stderr)
    assert.matches("was lost: reading it again", run.stderr)
  end)

  it("fails whole when the connection that holds the snapshot is lost", function()
    local run = in_the_middle "leaderless"
    terminate "state = 'idle in transaction' AND query NOT LIKE 'COPY%'"
    terminate "query LIKE 'COPY %'"
    run:finish()
    assert.equal(1, run.code)
    assert.equal("PG_CONNECTION_LOST", run.result.error.code)
    assert.matches("holds the dump's snapshot was lost", run.result.error.message)
    nothing_is_left "leaderless"
  end)

  it("fails whole when the server crashes in the middle, and is up again", function()
    local run = in_the_middle "restarted"
    local c <close> = cluster:database("app"):connect()
    local pid = c:value "SELECT pid FROM pg_stat_activity WHERE query LIKE 'COPY %' AND state = 'active'"
    mk.process.run { argv = { "kill", "-KILL", tostring(pid) } } -- then it starts all anew
    run:finish()
    assert.equal(1, run.code)
    assert.equal("PG_CONNECTION_LOST", run.result.error.code)
    support.eventually("the server is up again", function()
      return (pcall(function() cluster:database("app"):connect():close() end))
    end)
    nothing_is_left "restarted"
  end)

  it("fails whole, and says what was lost, when a new connection is refused after that", function()
    local run = in_the_middle "refused"
    do
      local c <close> = cluster:database("postgres"):connect()
      c:query "ALTER DATABASE app ALLOW_CONNECTIONS false"
    end
    terminate "state = 'idle in transaction' AND query NOT LIKE 'COPY%'"
    terminate "query LIKE 'COPY %'"
    run:finish()
    local c <close> = cluster:database("postgres"):connect()
    c:query "ALTER DATABASE app ALLOW_CONNECTIONS true"
    assert.equal(1, run.code)
    assert.equal("PG_CONNECTION_LOST", run.result.error.code)
    assert.matches("holds the dump's snapshot was lost", run.result.error.message)
    nothing_is_left "refused"
  end)

  -- What a server can't be made to do to pg_dump at a given moment, a program in its place does.
  describe("by a pg_dump that dies", function()
    local real

    setup(function()
      real = tools.find("pg_dump", cluster.major)
    end)

    local function with(name, body)
      local folder = dir.path .. "/in place of it " .. name
      mk.fs.mkdir(folder)
      mk.fs.write(folder .. "/pg_dump", ([[
        #!/bin/bash
        if [ "$1" = --version ]; then exec %s --version; fi
        %s
      ]]):format(real, body):gsub("^%s+", ""))
      mk.process.run { argv = { "chmod", "755", folder .. "/pg_dump" } }
      return support.start_recipe(dir.path, recipe(name), {
        env = { MOONKEEP_PG_PATH = folder .. ":" .. (os.getenv "MOONKEEP_PG_PATH" or "") } }):finish()
    end

    it("or is newer than what is known makes the backup by itself, which is said", function()
      local run = with("newer", ([[case " $* " in *" --snapshot="*)
          %s "$@" | { dd bs=1 count=6; dd bs=1 count=1 of=/dev/null; printf '\021'; cat; } 2>/dev/null;;
        *) exec %s "$@";; esac]]):format(real, real))
      assert.equal(0, run.code, run.stderr)
      assert.matches("pg_dump makes this backup, in one stream, for the archive has version 1.17",
        run.stderr)
      local id = run.result.text:match "^%S+"
      assert.matches('"format": *"custom"', mk.fs.read(("%s/newer/n/app/%s.json"):format(dir.path, id)))
      assert.matches("decoded", run.result.text)
    end)

    it("before its table of contents fails with what it said", function()
      local run = with("before", 'echo "pg_dump: error: cache lookup failed" >&2; exit 1')
      assert.equal(1, run.code)
      assert.matches("cache lookup failed", run.result.error.detail)
      nothing_is_left "before"
    end)

    it("inside its table of contents fails, whatever its exit code is", function()
      local run = with("inside", real .. ' "$@" | head --bytes=900')
      assert.equal(1, run.code)
      assert.matches("ended inside its table of contents", run.result.error.message)
      nothing_is_left "inside"
    end)

    it("after its table of contents does no harm, even if its locks are gone", function()
      local file = dir.path .. "/all of it"
      local run = with("after", ('%s "$@" > "%s"; cat "%s"; exit 1'):format(real, file, file))
      assert.equal(0, run.code, run.stderr)
      assert.matches("decoded", run.result.text)
    end)
  end)

  it("lets a change of a table wait, says so, and reads the table by the leader", function()
    local run = in_the_middle "waits"
    local scope <close> = require("moonkeep.core.task").scope()
    for _, name in ipairs { "one", "two", "three" } do
      scope:spawn(function() -- it waits for the leader, and followers that come later for it
        local c <close> = cluster:database("app"):connect()
        c:query(("ALTER TABLE %s ADD COLUMN late int"):format(name))
        c:query(("ALTER TABLE %s DROP COLUMN late"):format(name))
      end)
    end
    run:finish()
    scope:join()
    assert.equal(0, run.code, run.stderr)
    assert.matches("process %d+ of role postgres has been waiting for .+ for the dump to end: ALTER",
      run.stderr)
    assert.matches("the leader reads it", run.stderr)
  end)

  it("gives way to a change that has waited for longer than lock_timeout", function()
    local run = in_the_middle("gives-way", 'lock_timeout = "1s"')
    do
      local c <close> = cluster:database("app"):connect()
      c:query "ALTER TABLE three ADD COLUMN now int; ALTER TABLE three DROP COLUMN now"
    end
    run:finish()
    assert.equal(1, run.code)
    assert.equal("LOCK_TIMEOUT", run.result.error.code)
    assert.matches("the dump gave way: process %d+ of role postgres", run.result.error.message)
    nothing_is_left "gives-way"
  end)

  it("waits for a lock that somebody has, and tells whom it waits for", function()
    local c <close> = cluster:database("app"):connect()
    c:query "BEGIN"
    c:query "LOCK TABLE two IN ACCESS EXCLUSIVE MODE"
    local run = start "late"
    support.eventually("it tells whom it waits for", function()
      return mk.fs.exists(run.err) and mk.fs.read(run.err):find "has been waiting"
    end)
    c:query "COMMIT"
    run:finish()
    assert.equal(0, run.code, run.stderr)
    assert.matches("the dump has been waiting for .+ for process %d+ of role postgres: LOCK TABLE two",
      run.stderr)
  end)

  it("does not wait for a lock longer than lock_timeout", function()
    local run
    do
      local c <close> = cluster:database("app"):connect()
      c:query "BEGIN"
      c:query "LOCK TABLE two IN ACCESS EXCLUSIVE MODE"
      run = start("never", 'lock_timeout = "500ms"'):finish()
    end
    assert.equal(1, run.code)
    assert.equal("PG_LOCK_TIMEOUT", run.result.error.fault)
    nothing_is_left "never"
  end)

  it("begins anew when a table was changed between the snapshot and its lock", function()
    local source = cluster:database "app"
    local c <close> = source:connect()
    c:query "CREATE TABLE fickle AS SELECT 1 AS i"
    local changes = { "TRUNCATE fickle", "ALTER TABLE fickle ALTER i TYPE bigint",
      "ALTER TABLE fickle RENAME TO gone", "DROP TABLE fickle" }
    for _, change in ipairs(changes) do
      local oid = c:value "SELECT 'fickle'::regclass::oid::bigint"
      local t = { oid = oid, schema = "public", name = "fickle", kind = "r" }
      local leader <close> = session.lead(source, {})
      c:query(change)
      local locked, changing = contents.lock(leader, { t })
      assert.is_nil(locked, change)
      assert.matches("fickle", changing)
      if change:match "RENAME" then
        c:query "ALTER TABLE gone RENAME TO fickle"
      end
    end
    c:query "CREATE TABLE fickle (i int)"
    local leader <close> = session.lead(source, {})
    local oid = c:value "SELECT 'fickle'::regclass::oid::bigint"
    assert.is_true(contents.lock(leader, { { oid = oid, schema = "public", name = "fickle",
      kind = "r" } }))
    leader:close()
    c:query "DROP TABLE fickle"
  end)

  it("refuses a pooler with the fix, and takes its word that it gives whole sessions", function()
    local bouncer <close> = support.pooler(cluster, "session")
    local source = ("{ host = %q, user = 'postgres', dbname = 'app' }"):format(bouncer.folder)
    local run = start("pooled", "", source):finish()
    assert.equal(1, run.code)
    assert.equal("POOLER", run.result.error.code)
    assert.matches('dump = { pooler = "session" }', run.result.error.hint, 1, true)
    local trusted = start("pooled", 'pooler = "session"', source):finish()
    assert.equal(0, trusted.code, trusted.stderr)
  end)

  it("is not stopped by timeouts that the role has", function()
    local c <close> = cluster:database("app"):connect()
    c:query [[CREATE ROLE hasty SUPERUSER LOGIN;
      ALTER ROLE hasty SET statement_timeout = '200ms'; ALTER ROLE hasty SET lock_timeout = '100ms';
      ALTER ROLE hasty SET idle_in_transaction_session_timeout = '300ms']]
    local run = start("hasty", 'throttle = "2MiB", jobs = 1', ("{ host = %q, user = 'hasty', " ..
      "dbname = 'app' }"):format(cluster.folder)):finish()
    assert.equal(0, run.code, run.stderr)
  end)

  it("leaves no line in the server's log, and no backend", function()
    local noisy <close> = mk.pg.scratch { settings = { log_min_messages = "log",
      logging_collector = "on", log_directory = "log" } }
    local c <close> = noisy:create_database("app"):connect()
    c:query(support.SMALL)
    c:query(support.BIG) -- more than fits into a pipe: pg_dump is in a COPY when it is ended
    c:query "DO $$ BEGIN RAISE LOG 'ready to be dumped'; END $$" -- what came before is the start's
    local run = start("quiet", "", ("{ host = %q, user = 'postgres', dbname = 'app' }"):format(
      noisy.folder)):finish()
    assert.equal(0, run.code, run.stderr)
    local log = {}
    for _, file in ipairs(support.files(noisy.folder .. "/data/log")) do
      log[#log + 1] = mk.fs.read(noisy.folder .. "/data/log/" .. file)
    end
    local text = assert(table.concat(log):match "ready to be dumped(.*)")
    for _, line in ipairs { "FATAL", "ERROR", "connection to client lost" } do
      assert.is_nil(text:find(line, 1, true), text)
    end
  end)

  it("of a busy database is of one moment", function()
    local bank = cluster:create_database "bank"
    local c <close> = bank:connect()
    c:query [[CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL, filler text);
      INSERT INTO account SELECT i, 1000, repeat('x', 100) FROM generate_series(1, 40000) i]]
    local stop = false
    local scope <close> = require("moonkeep.core.task").scope()
    for _ = 1, 3 do
      scope:spawn(function()
        local client <close> = bank:connect()
        while not stop do
          local a, b = math.random(40000), math.random(40000)
          client:query(("UPDATE account SET balance = balance + CASE WHEN id = %d THEN 7 ELSE -7 END " ..
            "WHERE id IN (%d, %d) AND %d <> %d"):format(a, a, b, a, b))
        end
      end)
    end
    local run = start("bank", 'range_size = "64KiB", jobs = 3, throttle = "8MiB"',
      ("{ host = %q, user = 'postgres', dbname = 'bank' }"):format(cluster.folder)):finish()
    stop = true
    scope:join()
    assert.equal(0, run.code, run.stderr)
    local id = run.result.text:match "^%S+"
    local restored = support.start(dir.path, { "restore", id, "--from", "file://" .. dir.path ..
      "/bank", "--into", "host=" .. cluster.folder .. " user=postgres", "--database", "bank2" })
      :finish()
    assert.equal(0, restored.code, restored.stderr)
    local other <close> = cluster:database("bank2"):connect()
    assert.same({ 40000, "40000000" }, { other:value "SELECT count(*) FROM account",
      other:value "SELECT sum(balance) FROM account" })
  end)
end)
