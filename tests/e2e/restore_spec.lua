-- Restores that must not harm: nothing of others is dropped, changed or run. Each test is a way in which
-- one of them did.
local globals = require "moonkeep.pg.globals"
local json = require "moonkeep.core.json"
local mk = require "moonkeep"
local support = require "support"

describe("a restore", function()
  local cluster, dir, app, admin

  setup(function()
    cluster = mk.pg.scratch()
    dir = mk.fs.tempdir()
    app = cluster:create_database "app"
    local c <close> = app:connect()
    c:query(support.SMALL)
    admin = cluster:database("postgres"):connect()
  end)
  teardown(function()
    admin:close()
    cluster:close()
    dir:close()
  end)

  local function run(folder, text, options)
    return support.run_recipe(dir.path, ([[
      local mk = require "moonkeep"
      local app = mk.pg { host = %q, user = "postgres", dbname = "app" }
      local disk = mk.store("disk", "file://%s/%s")
      %s]]):format(cluster.folder, dir.path, folder, text), options)
  end

  -- Backs app up and restores it with these options.
  local function restore(folder, options, dump)
    return run(folder, ([[return mk.job { name = "j", source = app, upload = { disk }, %s
      run = function(ctx) ctx:restore(ctx:backup(), { into = app, %s }) end }]]):format(dump or "",
      options))
  end

  local function exists(name)
    return admin:value("SELECT 1 FROM pg_database WHERE datname = $1", name) == 1
  end

  it("leaves alone what an earlier one made, whatever its options were", function()
    assert.equal(0, restore("one", 'database = "first", no_comments = true').code)
    assert.equal(0, restore("one", 'database = "second"').code)
    assert.is_true(exists "first")
    assert.is_nil(admin:value
      "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'first'")
    -- The mark alone, on a database of another name, says nothing.
    admin:query "COMMENT ON DATABASE first IS 'moonkeep: a restore in progress'"
    assert.equal(0, restore("one", 'database = "third"').code)
    assert.is_true(exists "first")
  end)

  it("does not sweep away what another is at work on, whatever database that is connected to", function()
    local name = "postgres_restoring_abcdef"
    admin:query("CREATE DATABASE " .. name .. " IS_TEMPLATE true")
    admin:query("COMMENT ON DATABASE " .. name .. " IS 'moonkeep: a restore in progress'")
    do -- a restore into the database postgres has its connection elsewhere
      local other <close> = cluster:database("template1"):connect()
      other:query("SELECT pg_advisory_lock(28011, hashtext('" .. name .. "'))")
      assert.equal(0, restore("one", 'database = "beside_it"').code)
      assert.is_true(exists(name))
    end
    support.eventually("its lock is free", function()
      return admin:value "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'" == 0
    end)
    assert.equal(0, restore("one", 'database = "after_it"').code)
    assert.is_false(exists(name)) -- also as a template
  end)

  it("takes the name of a database for a name, never for a connection", function()
    local name = "host=127.0.0.1 port=1 user=thief"
    local c <close> = cluster:create_database(name):connect()
    c:query "CREATE TABLE t AS SELECT 7 AS i"
    local result = run("named", [[return mk.job { name = "j", source = app, upload = { disk },
      databases = { "host=*" }, run = function(ctx)
        local backups = ctx:backup()
        ctx:restore(backups[1], { into = app, database = "a=b" })
      end }]])
    assert.equal(0, result.code, result.stderr)
    local restored <close> = cluster:database("postgres"):with({ dbname = "a=b" }):connect()
    assert.equal(7, restored:value "SELECT i FROM t")
  end)

  it("runs nothing that is hidden in the settings or comments of roles", function()
    admin:query [[CREATE ROLE lowly; CREATE ROLE "we""ird Role"; CREATE ROLE team;
      GRANT team TO "we""ird Role"]]
    admin:query [[ALTER ROLE lowly SET search_path TO
      E'x\nCREATE ROLE evil;\nALTER ROLE evil WITH SUPERUSER;\n']]
    admin:query [[COMMENT ON ROLE "we""ird Role" IS E'line\nCREATE ROLE evil2;\n''quoted''']]
    assert.equal(0, run("roles", [[return mk.job { name = "j", source = app, upload = { disk },
      dump = { globals = true } }]]).code)
    admin:query [[ALTER ROLE "we""ird Role" NOLOGIN; REVOKE team FROM "we""ird Role"]]
    local result = run("roles", [[return mk.task { name = "r", run = function(ctx)
      ctx:restore(disk:latest("j", "app"), { into = app, database = "with_roles", globals = true })
    end }]])
    assert.equal(0, result.code, result.stderr)
    assert.is_nil(admin:value "SELECT 1 FROM pg_roles WHERE rolname LIKE 'evil%'")
    -- Roles that exist stay as they are, memberships included.
    assert.is_false(admin:value [[SELECT pg_has_role('we"ird Role', 'team', 'member')]])
    -- Those that don't come back with all that was theirs.
    admin:query [[DROP ROLE "we""ird Role"]]
    result = run("roles", [[return mk.task { name = "r", run = function(ctx)
      ctx:restore(disk:latest("j", "app"), { into = app, database = "with_roles2", globals = true })
    end }]])
    assert.equal(0, result.code, result.stderr)
    assert.is_true(admin:value [[SELECT pg_has_role('we"ird Role', 'team', 'member')]])
    assert.matches("quoted", admin:value
      [[SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = 'we"ird Role']])
  end)

  it("knows the statements of a globals dump by their quotes", function()
    local list = globals.split('-- c; c\n\\restrict x;y\nCREATE ROLE "a;""b";\n' ..
      "ALTER ROLE x SET y TO '1;\n2';\n")
    assert.same({ 'CREATE ROLE "a;""b";', "ALTER ROLE x SET y TO '1;\n2';" }, list)
    assert.equal('a;"b', globals.parse(list[1]).role)
    local grant = globals.parse 'GRANT "my role" TO "a ""b" WITH ADMIN OPTION GRANTED BY postgres;'
    assert.same({ "my role", 'a "b', 'GRANT "my role" TO "a ""b" WITH ADMIN OPTION;' },
      { grant.role, grant.member, grant.sql })
    assert.is_nil(globals.parse "GRANT CREATE ON TABLESPACE x TO y;")
  end)

  it("refuses arguments that would take the work out of its hands", function()
    for _, extra in ipairs { "--create", "--cre", "--file=/tmp/x", "--dbname=other", "-C", "-fx",
      "--clean", "other", "--format=t", "--jobs=2", "--use-list=x" } do
      local result = restore("extra", ('database = "extra", extra = { %q }'):format(extra))
      assert.equal("INVALID", result.result.error.code, extra)
      result = restore("extra", 'database = "extra"', ("dump = { extra = { %q } },"):format(extra))
      assert.equal(2, result.code, extra)
    end
    assert.is_false(exists "extra")
  end)

  it("asks before it replaces a database, also one that has no tables", function()
    local c <close> = cluster:create_database("odd"):connect()
    c:query "CREATE COLLATION mine (provider = icu, locale = 'de'); CREATE PUBLICATION pub"
    c:close()
    assert.equal(0, restore("odd", 'database = "other_odd"').code)
    local function moonkeep(...)
      return support.start(dir.path, { "restore", "latest", "--from", dir.path .. "/odd", "--into",
        "host=" .. cluster.folder .. " user=postgres", "-d", "odd", ... }):finish()
    end
    assert.equal("NOT_EMPTY", moonkeep().result.error.code)
    assert.equal("NOT_CONFIRMED", moonkeep("--existing", "replace").result.error.code)
    admin:query "CREATE DATABASE bare"
    local bare = support.start(dir.path, { "restore", "latest", "--from", dir.path .. "/odd",
      "--into", "host=" .. cluster.folder .. " user=postgres", "-d", "bare", "--existing",
      "replace" }):finish()
    assert.equal("NOT_CONFIRMED", bare.result.error.code)
  end)

  it("never goes into the server's own templates", function()
    local result = restore("template", 'database = "template1"')
    assert.equal("INVALID", result.result.error.code)
    assert.matches("every new database begins as a copy", result.result.error.message)
  end)

  it("does not replace a whole database by a part of one", function()
    admin:query "CREATE DATABASE whole"
    for _, part in ipairs { 'table = "fruit"', 'schema = "public"', 'section = "data"',
      "data_only = true" } do
      local result = restore("part", 'database = "whole", existing = "replace", ' .. part)
      assert.equal("INVALID", result.result.error.code)
      assert.matches("nothing but the selection", result.result.error.message)
    end
  end)

  it("swaps: what was in use is kept, under a name that says until when it was", function()
    for round = 1, 2 do
      local c <close> = cluster:create_database("live"):connect()
      c:query "CREATE TABLE used AS SELECT 7 AS i"
      c:close()
      if round == 1 then
        local result = restore("live", 'database = "live", swap = true')
        assert.equal(0, result.code, result.stderr)
        assert.matches("replaced the database live, which is kept as live_until_%d+_%d+",
          result.stderr)
      else
        local arguments = { "restore", "latest", "--from", dir.path .. "/live", "--into",
          "host=" .. cluster.folder .. " user=postgres", "-d", "live", "-s", "swap=true" }
        assert.equal("NOT_CONFIRMED", support.start(dir.path, arguments):finish().result.error.code)
        table.move({ "--yes", "live" }, 1, 2, #arguments + 1, arguments)
        local result = support.start(dir.path, arguments):finish()
        assert.equal(0, result.code, result.stderr)
      end
      local live <close> = cluster:database("live"):connect()
      assert.equal(500, live:value "SELECT count(*) FROM fruit")
      local name = admin:value "SELECT datname FROM pg_database WHERE datname LIKE 'live_until_%'"
      local old <close> = cluster:database(name):connect()
      assert.equal(7, old:value "SELECT i FROM used")
      old:close()
      live:close()
      admin:query("DROP DATABASE " .. name)
      admin:query "DROP DATABASE live"
    end
  end)

  it("swaps no part of a database, and none that would be another", function()
    for _, key in ipairs { 'table = "fruit"', "no_owner = true", "schema_only = true" } do
      local result = restore("part", 'database = "app", swap = true, ' .. key)
      assert.equal("INVALID", result.result.error.code)
    end
  end)

  it("adds rows in the order of their foreign keys, and none when none are wanted", function()
    local c <close> = cluster:create_database("chained"):connect()
    local tables = [[CREATE TABLE customers (id int PRIMARY KEY);
      CREATE TABLE orders (id int, customer int REFERENCES customers, note text)]]
    c:query(tables)
    c:query [[INSERT INTO customers SELECT generate_series(1, 100);
      INSERT INTO orders SELECT i, 1 + i % 100, md5(i::text) || md5((i + 1)::text)
        FROM generate_series(1, 60000) i]]
    local server = "host=" .. cluster.folder .. " user=postgres"
    for _, dump in ipairs { "data_only = true", "" } do
      local name = "chained" .. #dump
      local made = run(name, ([[return mk.job { name = "j", source = mk.pg { host = %q,
        user = "postgres", dbname = "chained" }, upload = { disk }, compress = "none",
        dump = { %s } }]]):format(cluster.folder, dump))
      assert.equal(0, made.code, made.stderr)
      local other <close> = cluster:create_database("into_" .. name):connect()
      other:query(dump == "" and "CREATE TABLE mine ()" or tables)
      local restored = support.start(dir.path, { "restore", "latest", "--from", dir.path .. "/" .. name,
        "--into", server, "-d", "into_" .. name, "--existing", "add", "--yes", "into_" .. name,
        dump == "" and "--set=schema_only=true" or "--set=data_only=true" }):finish()
      assert.equal(0, restored.code, restored.stderr)
      assert.equal(dump == "" and 0 or 60000, other:value "SELECT count(*) FROM orders")
    end
  end)

  it("replaces a template, and the database that is connected to first", function()
    admin:query "CREATE DATABASE tpl IS_TEMPLATE true"
    local result = restore("tpl", 'database = "tpl", existing = "replace"')
    assert.equal(0, result.code, result.stderr)
    assert.is_nil(admin:value "SELECT 1 FROM pg_database WHERE datname LIKE 'tpl_replaced%'")
    admin:close()
    result = restore("tpl", 'database = "postgres", existing = "replace"')
    assert.equal(0, result.code, result.stderr)
    admin = cluster:database("postgres"):connect()
    assert.equal(500, admin:value "SELECT count(*) FROM fruit")
  end)

  it("with jobs into a database that exists is one transaction all the same, and says so", function()
    assert.equal(0, restore("jobs", 'database = "jobs"', 'compress = "none",').code)
    local c <close> = cluster:database("jobs"):connect()
    c:query "DROP TABLE fruit CASCADE"
    local result = restore("jobs", 'database = "jobs", existing = "add", jobs = 3',
      'compress = "none",')
    assert.equal("RESTORE_FAILED", result.result.error.code)
    assert.matches("one transaction, which is one connection's", result.stderr)
    assert.is_nil(c:value "SELECT to_regclass('fruit')")
  end)

  it("brings the partitions of a table, and their rows", function()
    local c <close> = app:connect()
    c:query [[CREATE TABLE ev (k int) PARTITION BY RANGE (k);
      CREATE TABLE ev_1 PARTITION OF ev FOR VALUES FROM (0) TO (50);
      CREATE TABLE ev_rest PARTITION OF ev DEFAULT;
      INSERT INTO ev SELECT generate_series(1, 100)]]
    for i, more in ipairs { "", ", dependencies = true" } do
      local result = restore("parts", ('database = "parts%d", table = "ev"%s'):format(i, more))
      assert.equal(0, result.code, result.stderr)
      local r <close> = cluster:database("parts" .. i):connect()
      assert.equal(100, r:value "SELECT count(*) FROM ev")
      assert.is_nil(r:value "SELECT to_regclass('fruit')")
    end
  end)

  it("keeps grants to the restoring role, and what the owner has lost", function()
    admin:query "CREATE ROLE holder"
    admin:query "CREATE DATABASE granted OWNER holder"
    admin:query "REVOKE CREATE ON DATABASE granted FROM holder"
    admin:query "GRANT CONNECT ON DATABASE granted TO postgres"
    local backups, restores = require "moonkeep.backup", require "moonkeep.restore"
    local made = backups.upload("j", backups.dump(cluster:database "granted"),
      { mk.store("disk", "file://" .. dir.path .. "/granted") })
    restores.restore(made, { into = app, database = "granted2" })
    assert.equal(admin:value "SELECT datacl::text FROM pg_database WHERE datname = 'granted'",
      admin:value "SELECT datacl::text FROM pg_database WHERE datname = 'granted2'")
  end)

  it("gives a database of the C library's locale that provider, whatever the server's is", function()
    local database = require "moonkeep.pg.database"
    local source = { encoding = "UTF8", collate = "C.UTF-8", ctype = "C.UTF-8",
      locale_provider = "c" }
    assert.matches("LOCALE_PROVIDER libc", database.create_options(source, 15))
    assert.is_nil(database.create_options(source, 14):find "PROVIDER")
  end)

  it("that went on after errors keeps what it has, under a name that says so", function()
    local c <close> = app:connect()
    c:query "CREATE ROLE gone; CREATE TABLE of_gone (i int); ALTER TABLE of_gone OWNER TO gone"
    local result = run("incomplete", [[
      return mk.job { name = "j", source = app, upload = { disk }, run = function(ctx)
        local backup = ctx:backup()
        local c <close> = app:connect()
        c:query "DROP TABLE of_gone; DROP ROLE gone"
        ctx:restore(backup, { into = app, database = "emergency", on_error = "continue" })
      end }]])
    assert.equal(1, result.code)
    assert.equal("RESTORE_FAILED", result.result.error.code)
    local name = result.result.error.hint:match "emergency_incomplete_%x+"
    local kept <close> = cluster:database(name):connect()
    assert.equal(500, kept:value "SELECT count(*) FROM fruit")
    assert.is_false(exists "emergency")
    assert.equal(0, restore("one", 'database = "later"').code)
    assert.is_true(exists(name))
  end)

  it("takes nothing of a manifest for SQL", function()
    local result = restore("forged", 'database = "honest"')
    assert.equal(0, result.code, result.stderr)
    local path = dir.path .. "/forged/" .. support.manifests(dir.path .. "/forged")[1]
    local original = mk.fs.read(path)
    for _, forge in ipairs {
      function(m)
        m.source.acl = { { role = "PUBLIC", public = true,
          privilege = "CONNECT ON DATABASE app TO x; CREATE ROLE injected; GRANT CONNECT" } }
      end,
      function(m) m.source.settings = { { setting = "a; CREATE ROLE injected=1" } } end,
      function(m) m.source.settings = { { setting = 5 } } end,
      function(m) m.source.connection_limit = "many" end,
      function(m) m.created_at = nil end,
      function(m) m.source.owner = {} end,
    } do
      local manifest = json.decode(original)
      forge(manifest)
      mk.fs.write(path, json.encode(manifest))
      local forged = support.start(dir.path, { "restore", "latest", "--from", dir.path .. "/forged",
        "--into", "host=" .. cluster.folder .. " user=postgres", "-d", "forged" }):finish()
      assert.equal(1, forged.code)
      assert.equal("CORRUPT", forged.result.error.code, forged.stderr)
    end
    assert.is_nil(admin:value "SELECT 1 FROM pg_roles WHERE rolname = 'injected'")
    assert.is_false(exists "forged")
  end)
end)

describe("a run", function()
  local dir
  setup(function()
    dir = mk.fs.tempdir()
  end)
  teardown(function()
    dir:close()
  end)

  it("can require a neighbour in the middle, and goes on", function()
    mk.fs.write(dir.path .. "/late.lua", "return { word = 'late' }")
    local run = support.run_recipe(dir.path, [[
      local mk = require "moonkeep"
      return mk.task { name = "t", run = function(ctx)
        local late = require "late"
        ctx:show("%s %s", late.word, mk.process.run { argv = { "echo", "-n", "on" } })
      end }]])
    assert.equal(0, run.code, run.stderr)
    assert.equal("late on\n", run.stdout)
  end)

  it("can ask for a name, which --yes gives in advance", function()
    local text = [[
      local mk = require "moonkeep"
      return mk.task { name = "t", run = function(ctx)
        ctx:confirm("promote", "main")
        ctx:show "promoted"
      end }]]
    local run = support.run_recipe(dir.path, text)
    assert.equal("NOT_CONFIRMED", run.result.error.code)
    run = support.run_recipe(dir.path, text, { flags = { "--yes", "other" } })
    assert.equal("NOT_CONFIRMED", run.result.error.code)
    run = support.run_recipe(dir.path, text, { flags = { "--yes", "main" } })
    assert.equal("promoted\n", run.stdout)
  end)

  it("is not repeated because what comes after it fails", function()
    local run = support.run_recipe(dir.path, [[
      local mk = require "moonkeep"
      return mk.job { name = "j", retry = { tries = 3, wait = "1ms" },
        run = function(ctx) ctx:show "ran" end, after = function() mk.error("LATE", "no") end }]])
    assert.equal(1, run.code)
    assert.equal("ran\n", run.stdout)
    assert.equal("LATE", run.result.error.code)
  end)

  it("keeps a secret out of a long output too", function()
    mk.fs.write(dir.path .. "/key", "across-the-cut")
    local run = support.run_recipe(dir.path, ([[
      local mk = require "moonkeep"
      return mk.task { name = "t", run = function(ctx)
        mk.process.run { argv = { "true" }, env = { K = mk.secret.file "%s/key" } }
        ctx:show(("x"):rep((1 << 20) - 5) .. "across-the-cut" .. ("y"):rep(100))
      end }]]):format(dir.path))
    assert.equal(0, run.code, run.stderr)
    assert.is_nil(run.stdout:find("across-the-cut", 1, true))
    assert.matches("x%[redacted%]y", run.stdout)
  end)

  it("of several databases goes on after one that fails, and fails at the end", function()
    local cluster <close> = mk.pg.scratch()
    for _, name in ipairs { "a", "b" } do
      local c <close> = cluster:create_database(name):connect()
      c:query "CREATE TABLE t AS SELECT 1 AS i"
      c:query(name == "a" and "CREATE ROLE narrow LOGIN" or "GRANT SELECT ON t TO narrow")
    end
    local run = support.run_recipe(dir.path, ([[
      local mk = require "moonkeep"
      return mk.job { name = "j", databases = { "a", "b" },
        source = mk.pg { host = %q, user = "narrow", dbname = "postgres" },
        upload = { mk.store("disk", "file://%s/store") } }]]):format(cluster.folder, dir.path))
    assert.equal(1, run.code)
    assert.equal("PG_PERMISSION", run.result.error.fault)
    local manifests = support.manifests(dir.path .. "/store")
    assert.equal(1, #manifests)
    assert.matches("^j/b/", manifests[1])
  end)
end)
