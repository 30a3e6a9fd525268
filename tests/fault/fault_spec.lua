-- What must never happen, tried: whatever ends a run, nothing half-done looks finished, nothing
-- keeps running, and the next run works.
local mk = require "moonkeep"
local support = require "support"

local ROUNDS = support.rounds("kills in the middle of a big backup", 3, 40)

describe("whatever ends a run", function()
  local cluster, dir, big

  setup(function()
    cluster = mk.pg.scratch { settings = { max_connections = "40" } }
    dir = mk.fs.tempdir()
    big = cluster:create_database "big"
    local c <close> = big:connect()
    c:query(support.BIG)
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  -- One stream of pg_dump's; the faults of the native engine are in native_fault_spec.lua, too.
  local STREAM = 'dump = { format = "custom" },'

  local function recipe(store, keys, source)
    return ([[
      local mk = require "moonkeep"
      return mk.job { name = "nightly", compress = "zstd:12", %s
        source = mk.pg(%s), upload = { mk.store("disk", "file://%s") } }]]):format(keys or "",
      source or ("{ host = %q, user = 'postgres', dbname = 'big' }"):format(cluster.folder), store)
  end

  -- The pg_dumps that read from a server.
  local function dumps_of(folder)
    local found = {}
    for _, process in ipairs(support.processes("host='" .. folder)) do
      found[#found + 1] = process:match "pg_dump " and process or nil
    end
    return found
  end

  local function nothing_runs()
    support.nothing_runs(cluster, "big")
  end

  -- Nothing that looks like a backup; in `store` not even a fragment, unless `fragments`.
  local function nothing_is_published(store, fragments)
    assert.same({}, support.manifests(store))
    if not fragments then
      assert.same({}, support.files(store))
    end
  end

  local function next_run_works(store)
    local run = support.run_recipe(dir.path, (recipe(store):gsub("zstd:12", "zstd:1")))
    assert.equal(0, run.code, run.stderr)
    assert.equal(1, #support.manifests(store))
    -- and what the dead one had left is gone
    assert.equal(5, #support.backup_files(store))
    mk.fs.remove(store)
  end

  -- Starts a backup and waits until bytes of it are in the store.
  local function in_the_middle(store, keys)
    local run = support.start_recipe(dir.path, recipe(store, keys))
    support.eventually("bytes arrive in the store", function()
      for _, file in ipairs(support.files(store)) do
        if file:match "partial$" and mk.fs.stat(store .. "/" .. file).size > 0 then
          return true
        end
      end
      assert.is_true(run.child:running(), "it has ended already")
    end)
    return run
  end

  local function fails(source, code, message, hint)
    local store = dir.path .. "/fails"
    local run = support.run_recipe(dir.path, recipe(store, nil, source))
    assert.equal(1, run.code)
    assert.equal(code, run.result.error.code)
    assert.matches(message, run.result.error.message)
    assert.matches(hint, run.result.error.hint)
    assert.equal("nothing was published", run.result.error.left)
    nothing_is_published(store)
    nothing_runs()
  end

  it("a refused connection: is told with what to check", function()
    fails("{ host = '127.0.0.1', port = 1 }", "PG_CONNECT", "Connection refused", "pg_isready")
  end)

  it("an unknown database: is told by name", function()
    fails(("{ host = %q, user = 'postgres', dbname = 'bgi' }"):format(cluster.folder), "PG_CONNECT",
      'database "bgi" does not exist', "psql %-l")
  end)

  it("a wrong password: is told without the password", function()
    local c <close> = cluster:database("postgres"):connect()
    c:query "CREATE ROLE guarded LOGIN PASSWORD 'right'"
    local hba = cluster.folder .. "/data/pg_hba.conf"
    mk.process.run { argv = { "sh", "-c",
      ("printf 'local all guarded scram-sha-256\\n%%s\\n' \"$(cat %s)\" >%s.new && cat %s.new >%s")
        :format(hba, hba, hba, hba) } }
    c:query "SELECT pg_reload_conf()"
    support.eventually("a password is asked for", function()
      return not pcall(function()
        mk.pg { host = cluster.folder, user = "guarded", dbname = "big" }:connect():close()
      end)
    end)
    local keys = ("{ host = %q, user = 'guarded', dbname = 'big', password = 'wr0ng-s3cret' }")
      :format(cluster.folder)
    fails(keys, "PG_CONNECT", "password authentication failed", "pgpass")
    for _, file in ipairs(support.files(dir.path)) do
      if file:match "^err" then
        assert.is_nil(mk.fs.read(dir.path .. "/" .. file):find("wr0ng", 1, true))
      end
    end
  end)

  it("pg_dump killed in the middle: fails the run and publishes nothing", function()
    local store = dir.path .. "/killed"
    local run = in_the_middle(store, STREAM)
    local dumps = dumps_of(cluster.folder)
    assert.equal(1, #dumps)
    mk.process.run { argv = { "kill", "-9", (dumps[1]:match "^%d+") } }
    run:finish()
    assert.equal(1, run.code)
    assert.equal("PROCESS_FAILED", run.result.error.code)
    assert.matches("pg_dump was ended by signal 9", run.result.error.message)
    nothing_is_published(store)
    nothing_runs()
    next_run_works(store)
  end)

  it("pg_dump failing after output: fails the run and publishes nothing", function()
    local store = dir.path .. "/late"
    local run = in_the_middle(store, STREAM)
    local c <close> = cluster:database("postgres"):connect()
    c:query [[SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = 'big' AND application_name = 'pg_dump']]
    run:finish()
    assert.equal(1, run.code)
    assert.equal("PROCESS_FAILED", run.result.error.code)
    assert.matches("pg_dump failed with exit code 1", run.result.error.message)
    -- Which of the two it is depends on whether the server could still send its last words.
    assert.is_truthy(run.result.error.detail:find "terminating connection" or
      run.result.error.detail:find "server closed the connection")
    nothing_is_published(store)
    nothing_runs()
    next_run_works(store)
  end)

  it("a dying server: fails the run and publishes nothing", function()
    local store = dir.path .. "/server"
    local other <close> = mk.pg.scratch()
    local c <close> = other:create_database("big"):connect()
    c:query(support.BIG)
    c:close()
    local source = ("{ host = %q, user = 'postgres', dbname = 'big' }"):format(other.folder)
    local run = support.start_recipe(dir.path, recipe(store, nil, source))
    support.eventually("pg_dump runs", function()
      return #dumps_of(other.folder) == 1
    end)
    other.server:kill "QUIT"
    run:finish()
    assert.equal(1, run.code)
    nothing_is_published(store)
  end)

  if mk.process.uid() == 0 then
    -- Calls fn(store) with a tmpfs of these options mounted as the store.
    local function on_tmpfs(name, options, fn)
      local store = dir.path .. "/" .. name
      mk.fs.mkdir(store)
      mk.process.run { argv = { "mount", "-t", "tmpfs", "-o", options, "tmpfs", store } }
      local ok, err = pcall(fn, store)
      mk.process.run { argv = { "umount", store } }
      assert.is_true(ok, tostring(err))
    end

    it("a full disk: is told by name with the fix, and what was written is removed", function()
      on_tmpfs("small", "size=4m", function(store)
        local run = support.run_recipe(dir.path, recipe(store))
        assert.equal(1, run.code)
        assert.equal("DISK_FULL", run.result.error.code)
        assert.matches("No space left on device", run.result.error.message)
        assert.matches("free space", run.result.error.hint)
        nothing_is_published(store)
        nothing_runs()
      end)
    end)

    it("a store that is not writable: is told before anything is dumped", function()
      on_tmpfs("readonly", "ro", function(store)
        local run = support.run_recipe(dir.path, recipe(store))
        assert.equal(1, run.code)
        assert.equal("PERMISSION_DENIED", run.result.error.code)
        assert.matches("store disk:", run.result.error.message)
        assert.matches("mounted read%-only", run.result.error.hint)
        nothing_is_published(store)
      end)
    end)

    it("a catalog that cannot be written: is said aloud, and the backup is made", function()
      on_tmpfs("state", "size=8m", function(state)
        local store = dir.path .. "/made"
        local options = { env = { MOONKEEP_STATE = state } }
        local text = recipe(store):gsub("zstd:12", "zstd:1")
        assert.equal(0, support.run_recipe(dir.path, text, options).code)
        mk.process.run { argv = { "mount", "-o", "remount,ro", state } }
        local run = support.run_recipe(dir.path, text, options)
        assert.equal(0, run.code, run.stderr)
        assert.equal(2, #support.manifests(store))
        assert.matches("/catalog.sqlite cannot be used: .*readonly database; backups are made " ..
          "all the same", run.stderr)
        -- a job that never ran here has no lock file either
        local new = support.run_recipe(dir.path, (text:gsub('"nightly"', '"new"')), options)
        assert.equal(0, new.code, new.stderr)
        assert.equal(3, #support.manifests(store))
        assert.matches("does not see whether the job is running already", new.stderr)
        local listed = support.start(dir.path, { "list", "--json", "--from",
          "file://" .. store }, options.env):finish()
        assert.equal(0, listed.code, listed.stderr)
        mk.fs.remove(store)
      end)
    end)
  end

  it("a store that is a file: is told by its path", function()
    local store = dir.path .. "/file"
    mk.fs.write(store, "x")
    local run = support.run_recipe(dir.path, recipe(store))
    assert.equal(1, run.code)
    assert.matches("could not create folder", run.result.error.message)
  end)

  it("SIGTERM: closers run, nothing is published, the exit code is 128 + 15", function()
    local store = dir.path .. "/term"
    local run = in_the_middle(store)
    mk.process.run { argv = { "kill", "-TERM", tostring(run.child:pid()) } }
    run:finish()
    assert.equal(143, run.code)
    assert.equal("CANCELED", run.result.error.code)
    assert.matches("signal 15", run.result.error.message)
    nothing_is_published(store)
    nothing_runs()
    next_run_works(store)
  end)

  it("a deadline: the same, told as DEADLINE", function()
    local store = dir.path .. "/deadline"
    local run = in_the_middle(store, "deadline = '10s', dump = { throttle = '512KiB' },"):finish()
    assert.equal(1, run.code)
    assert.equal("DEADLINE", run.result.error.code)
    nothing_is_published(store)
    nothing_runs()
  end)

  local kills = {
    { "the worker", function(run) return { run:worker_pid() } end, 1, "WORKER_DIED" },
    { "the supervisor", function(run) return { run.child:pid() } end, 137 },
    { "both", function(run) return { run.child:pid(), run:worker_pid() } end, 137 },
  }
  for _, kill in ipairs(kills) do
    local name, victims, code, error_code = table.unpack(kill)
    it(("kill -9 of %s: nothing is published or left running (%d rounds)"):format(name, ROUNDS),
      function()
        for round = 1, ROUNDS do
          local store = ("%s/kill-%s-%d"):format(dir.path, name:gsub(" ", ""), round)
          local run = in_the_middle(store)
          -- Not always at the same step.
          mk.sleep((round * 37 % 200) .. "ms")
          local argv = { "kill", "-9" }
          for _, pid in ipairs(victims(run)) do
            argv[#argv + 1] = tostring(pid)
          end
          mk.process.run { argv = argv }
          run:finish()
          assert.equal(code, run.code)
          if error_code then
            assert.equal(error_code, run.result.error.code)
            assert.matches("signal 9", run.result.error.message)
          end
          nothing_runs()
          support.eventually("no moonkeep is left", function()
            return #support.processes("--worker\0run\0" .. run.path) == 0
          end)
          nothing_is_published(store, true)
          next_run_works(store)
        end
      end)
  end

  it("kill -9 in the middle of a restore: the next restore drops what it had begun", function()
    local store = dir.path .. "/restore"
    local text = ([[
      local mk = require "moonkeep"
      local app = mk.pg { host = %q, user = "postgres", dbname = "big" }
      return mk.job { name = "nightly", compress = "zstd:1", source = app,
        upload = { mk.store("disk", "file://%s") }, run = function(ctx)
          local backup = ctx:backup()
          print "restoring"
          ctx:restore(backup, { into = app, database = "again" })
        end }]]):format(cluster.folder, store)
    local c <close> = cluster:database("postgres"):connect()
    local function databases()
      return c:value "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database"
    end
    local before = databases()
    local run = support.start_recipe(dir.path, text)
    support.eventually("the working database is there", function()
      return databases():find "again_restoring"
    end)
    mk.sleep "50ms"
    mk.process.run { argv = { "kill", "-9", tostring(run.child:pid()),
      tostring(run:worker_pid()) } }
    run:finish()
    assert.is_truthy(databases():find "again_restoring")
    assert.is_nil(databases():find "again ")
    run = support.run_recipe(dir.path, text)
    assert.equal(0, run.code, run.stderr)
    assert.equal("again " .. before, databases())
    c:query "DROP DATABASE again"
  end)

  -- A run that has made a scratch cluster and waits, and the cluster's folder.
  local function run_with_cluster()
    local run = support.start_recipe(dir.path, [[
      local mk = require "moonkeep"
      return mk.job { name = "scratch", run = function(ctx)
        local cluster <close> = mk.pg.scratch()
        ctx:show(cluster.folder)
        mk.sleep "60s"
      end }]])
    local folder = support.eventually("the cluster is up", function()
      return mk.fs.exists(run.out) and mk.fs.read(run.out):match "%S+"
    end)
    return run, folder
  end

  it("kill -9 of a run with a scratch cluster: the server ends, its folder goes", function()
    local run, folder = run_with_cluster()
    -- The worker first: its supervisor's death alone would let it clean up by itself.
    mk.process.run { argv = { "kill", "-9", tostring(run:worker_pid()),
      tostring(run.child:pid()) } }
    run:finish()
    support.eventually("the server has ended", function()
      return #support.processes(folder) == 0
    end)
    support.eventually("the next temporary folder sweeps it", function()
      local _ <close> = mk.fs.tempdir()
      return not mk.fs.exists(folder)
    end)
  end)

  it("SIGTERM of a run with a scratch cluster: server and folder go at once", function()
    local run, folder = run_with_cluster()
    mk.process.run { argv = { "kill", "-TERM", tostring(run.child:pid()) } }
    run:finish()
    assert.equal(143, run.code)
    assert.is_false(mk.fs.exists(folder))
    assert.same({}, support.processes(folder))
  end)

  it("a run that leaves orphans: they are ended with it", function()
    local run = support.run_recipe(dir.path, [[
      local mk = require "moonkeep"
      return mk.job { name = "orphans", run = function(ctx)
        mk.process.run { argv = { "sh", "-c",
          "setsid sleep 987654 >/dev/null 2>&1 </dev/null & exit 0" } }
      end }]])
    assert.equal(0, run.code, run.stderr)
    support.eventually("the orphan is gone", function()
      return #support.processes("sleep\000987654") == 0
    end)
  end)
end)
