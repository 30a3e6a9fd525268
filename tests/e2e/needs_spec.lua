-- What a restore needs on the server is looked for before anything is touched, and told in a plan.
local json = require "moonkeep.core.json"
local mk = require "moonkeep"
local support = require "support"
local tools = require "moonkeep.pg.tools"

local HAS_18 = pcall(tools.find, "postgres", 18)

describe("what a restore needs", function()
  local here, there, dir

  setup(function()
    here, there, dir = mk.pg.scratch(), mk.pg.scratch(), mk.fs.tempdir()
    local space = here.folder .. "/space"
    mk.fs.mkdir(space)
    if here.user then
      mk.fs.chown(space, here.user)
    end
    do
      local c <close> = here:database("postgres"):connect()
      c:query "CREATE ROLE owner; CREATE ROLE reader"
      c:query(("CREATE TABLESPACE fast LOCATION '%s'"):format(space))
    end
    local c <close> = here:create_database("app"):connect()
    c:query [[
      CREATE TABLE t (i int PRIMARY KEY, a text);
      INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 1000) i;
      CREATE TABLE u (i int REFERENCES t) TABLESPACE fast;
      CREATE INDEX ON t (a);
      ALTER TABLE t OWNER TO owner;
      GRANT SELECT ON u TO reader;
      CREATE EXTENSION citext]]
    local run = support.run_recipe(dir.path, ([[
      local mk = require "moonkeep"
      local source = mk.pg { host = %q, user = "postgres", dbname = "app" }
      local disk = mk.store("disk", "file://%s/store")
      return { mk.job { name = "n", dump = {}, verify = "stored", source = source, upload = { disk } },
        mk.job { name = "stream", dump = { format = "custom" }, verify = "stored", source = source,
          upload = { disk } } }]]):format(here.folder, dir.path))
    assert.equal(0, run.code, run.stderr)
  end)
  teardown(function()
    here:close()
    there:close()
    dir:close()
  end)

  local function restore(server, job, ...)
    return support.start(dir.path, { "restore", "latest", "--from", "file://" .. dir.path .. "/store",
      "--into", ("host=%s user=postgres"):format(server.folder), "--job", job, ... }):finish()
  end

  local function databases(server)
    local c <close> = server:database("postgres"):connect()
    return c:value "SELECT count(*) FROM pg_database WHERE datname LIKE 'app%'"
  end

  it("is named together with what to do about it, before anything is touched", function()
    for _, job in ipairs { "n", "stream" } do
      local run = restore(there, job)
      assert.equal(1, run.code)
      local err = run.result.error
      assert.equal("NEEDS_MISSING", err.code)
      assert.equal("the server lacks what the backup needs: role owner; role reader; tablespace fast",
        err.message)
      assert.matches("globals = true", err.hint, 1, true)
      assert.matches("no_tablespaces = true", err.hint, 1, true)
      assert.equal(0, databases(there))
    end
  end)

  it("is not asked for where it is not restored", function()
    local run = restore(there, "n", "-s", "table=u")
    assert.matches("tablespace fast$", run.result.error.message) -- the superuser's, there as here
    for _, set in ipairs { "section=data", "data_only=true" } do
      run = restore(there, "n", "-d", "app_empty", "-s", set)
      assert.is_nil((run.result.error or {}).message and run.result.error.message:match "lacks")
    end
    run = restore(there, "n", "-d", "app_mine", "-s", "no_owner=true", "-s", "no_privileges=true", "-s",
      "no_tablespaces=true")
    assert.equal(0, run.code, run.stderr)
  end)

  it("is a server that can be written to", function()
    local standby <close> = support.standby(there)
    local err = restore(standby, "n", "-d", "app_standby").result.error
    assert.equal("INVALID", err.code)
    assert.matches("is a standby, which only repeats what its primary does", err.message)
    assert.equal("restore into the primary", err.hint)
  end)

  local function plan(server, ...)
    local run = restore(server, "n", "--dry-run", "--json", ...)
    return json.decode(run.stdout).plan, run
  end

  it("is in the plan, which says what would be read, written and dropped", function()
    local of, run = plan(there, "-d", "app_planned")
    assert.equal(1, run.code)
    assert.same({ "role owner", "role reader", "tablespace fast" }, of.missing)
    assert.same({ tables = 2, rows = 1000, indexes = 2, foreign_keys = 1 }, of.writes)
    assert.equal("create", of.effect)
    assert.matches("2 tables, 1000 rows, 2 indexes, 1 foreign key\n",
      restore(there, "n", "--dry-run", "-d", "app_planned").stdout)
    assert.is_true(of.bytes_needed > 1000000 and of.bytes_free > 0)
    of, run = plan(here, "-d", "app", "--existing", "replace")
    assert.equal(0, run.code)
    assert.equal("replace", of.effect)
    assert.is_true(of.objects_there > 3 and of.bytes_there > 1000000)
    local part = plan(here, "-d", "app_part", "-s", "table=t", "-s", "schema_only=true")
    assert.same({ 0, 0 }, { part.writes.tables, part.reads.objects })
    of, run = plan(here, "-d", "app")
    assert.equal("refuse", of.effect)
    assert.equal(1, run.code)
  end)

  it("has a time in the plan when such a backup was restored before", function()
    assert.equal(0, restore(here, "stream", "-d", "app_timed").code)
    local run = restore(here, "stream", "-d", "app_next", "--dry-run")
    assert.matches("time     about .*, by the last 1 restore of this series", run.stdout)
    run = restore(here, "n", "-d", "app_next", "--dry-run")
    assert.matches("time     .*restore", run.stdout)
  end)

  if HAS_18 then
    -- An extension of that name, for the real one is not in Debian.
    local function control(server, version)
      local folder = server.folder .. "/share/extension"
      mk.fs.write(folder .. "/timescaledb.control",
        ("default_version = '%s'\nrelocatable = true\n"):format(version), 420)
      mk.fs.write(("%s/timescaledb--%s.sql"):format(folder, version), [[
        CREATE TABLE calls (what text, tables bigint);
        CREATE FUNCTION note(name text) RETURNS void LANGUAGE sql AS $$
          INSERT INTO public.calls SELECT name, count(*) FROM pg_class
            WHERE relname IN ('metrics', 'metrics_pkey', 'counted') $$;
        CREATE FUNCTION timescaledb_pre_restore() RETURNS void LANGUAGE sql AS $$
          SELECT public.note('before') $$;
        CREATE FUNCTION timescaledb_post_restore() RETURNS void LANGUAGE sql AS $$
          SELECT public.note('after') $$]], 420)
    end

    local function prepare(server, version)
      mk.fs.mkdir(server.folder .. "/share/extension", 493)
      mk.process.run { argv = { "chmod", "755", server.folder .. "/share",
        server.folder .. "/share/extension" } }
      control(server, version)
      local c <close> = server:database("postgres"):connect()
      c:query(("ALTER SYSTEM SET extension_control_path = '%s/share:$system'"):format(server.folder))
      c:query "SELECT pg_reload_conf()"
    end

    it("is done around it for an extension that has an adapter, which is refused in another version",
      function()
        local old <close> = mk.pg.scratch { major = 18 }
        local new <close> = mk.pg.scratch { major = 18 }
        prepare(old, "2.1")
        do
          local c <close> = old:create_database("metrics"):connect()
          support.eventually("it is available", function()
            return c:value "SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'"
          end)
          c:query [[CREATE EXTENSION timescaledb; CREATE TABLE metrics (i int PRIMARY KEY);
            CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM metrics]]
        end
        local run = support.run_recipe(dir.path, ([[
          local mk = require "moonkeep"
          return mk.job { name = "t", dump = {}, verify = "stored",
            source = mk.pg { host = %q, user = "postgres", dbname = "metrics" },
            upload = { mk.store("disk", "file://%s/store") } }]]):format(old.folder, dir.path))
        assert.equal(0, run.code, run.stderr)
        local err = restore(new, "t").result.error
        assert.equal("NEEDS_MISSING", err.code)
        assert.matches("needs: extension timescaledb$", err.message)
        assert.matches("install timescaledb-2-postgresql-18 on the server", err.hint, 1, true)
        prepare(new, "2.2")
        support.eventually("it is available", function()
          err = restore(new, "t").result.error
          return err.message:find "version"
        end)
        assert.matches("extension timescaledb of version 2.1 (it has 2.2)", err.message, 1, true)
        control(new, "2.1")
        run = restore(new, "t")
        assert.equal(0, run.code, run.stderr)
        local c <close> = new:database("metrics"):connect()
        local calls = c:query "SELECT what, tables FROM calls"
        calls.affected = nil
        assert.same({ { what = "before", tables = 0 }, { what = "after", tables = 3 } }, calls)
        run = restore(new, "t", "-s", "data_only=true", "--existing", "add", "--yes", "metrics")
        assert.equal(0, run.code, run.stderr)
        assert.equal(4, c:value "SELECT count(*) FROM calls")
      end)
  end
end)
