-- What a dump holds and where a restore goes: formats, selections, roles, properties, several
-- databases, databases that exist already. On a real server.
local fingerprint = require "fingerprint"
local json = require "moonkeep.core.json"
local mk = require "moonkeep"
local support = require "support"

local SCHEMA = [[
  CREATE SCHEMA shop;
  CREATE TYPE shop.state AS ENUM ('new', 'paid');
  CREATE DOMAIN shop.cents AS int CHECK (VALUE >= 0);
  CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
  CREATE TABLE shop.customer (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text UNIQUE);
  CREATE TABLE shop.orders (id serial PRIMARY KEY, customer int NOT NULL REFERENCES shop.customer,
    state shop.state DEFAULT 'new', total shop.cents);
  CREATE INDEX orders_by_state ON shop.orders (state) WHERE state <> 'paid';
  CREATE TRIGGER touch BEFORE UPDATE ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.touch();
  COMMENT ON TABLE shop.orders IS 'what was bought';
  CREATE TABLE "odd name" (v text);
  CREATE TABLE log (at timestamptz, line text);
  CREATE VIEW shop.open_orders AS SELECT * FROM shop.orders WHERE state = 'new';
  INSERT INTO shop.customer (name) SELECT 'customer ' || i FROM generate_series(1, 50) i;
  INSERT INTO shop.orders (customer, total) SELECT i % 50 + 1, i FROM generate_series(1, 400) i;
  INSERT INTO "odd name" VALUES ('x'), ('\.'), (E'a\tb');
  INSERT INTO log SELECT now(), 'line ' || i FROM generate_series(1, 1000) i;
]]

describe("a dump", function()
  local cluster, dir, app

  setup(function()
    cluster = mk.pg.scratch()
    dir = mk.fs.tempdir()
    app = cluster:create_database "app"
    local c <close> = app:connect()
    c:query(SCHEMA)
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  local function head(folder)
    return ([[
      local mk = require "moonkeep"
      local app = mk.pg { host = %q, user = "postgres", dbname = "app" }
      local disk = mk.store("disk", "file://%s/%s")
    ]]):format(cluster.folder, dir.path, folder)
  end

  local function run(folder, text)
    return support.run_recipe(dir.path, head(folder) .. text)
  end

  local function value(database, sql, ...)
    local c <close> = cluster:database(database):connect()
    return c:value(sql, ...)
  end

  local function backup(folder, keys, restore)
    return run(folder, ([[return mk.job { name = "j", source = app, upload = { disk },
      verify = "decoded", %s%s }]]):format(keys, restore and ([[, run = function(ctx)
        ctx:restore(ctx:backup(), { into = app, %s })
      end]]):format(restore) or ""))
  end

  local function manifest(folder)
    local newest
    for _, file in ipairs(support.manifests(dir.path .. "/" .. folder)) do
      newest = not file:find "_globals" and file or newest
    end
    return json.decode(mk.fs.read(("%s/%s/%s"):format(dir.path, folder, newest))),
      ("%s/%s/%s"):format(dir.path, folder, (newest:gsub("%.json$", "")))
  end

  local function same_rows(database)
    local n, more = fingerprint.compare(fingerprint.of(app),
      fingerprint.of(cluster:database(database)))
    assert.equal(4, n, type(more) == "table" and table.concat(more, "\n") or nil)
  end

  for format, object in pairs { custom = "data.dump", plain = "data.sql", tar = "data.tar" } do
    it(("in %s format is made, proved, restored and equal"):format(format), function()
      local result = backup(format, ("dump = { format = %q }"):format(format),
        ("database = \"from_%s\""):format(format))
      assert.equal(0, result.code, result.stderr)
      assert.matches("%(decoded%)", result.result.text)
      assert.equal(format, manifest(format).dump.format)
      assert.equal(object .. ".zst", manifest(format).objects[1].name)
      same_rows("from_" .. format)
    end)

    it(("in %s format restores by the commands of its RESTORE.txt"):format(format), function()
      local _, folder = manifest(format)
      local commands = {}
      for command in mk.fs.read(folder .. "/RESTORE.txt"):gmatch "\n    ([^\n]+)" do
        commands[#commands + 1] = command
      end
      mk.process.run { argv = { "bash", "-c", table.concat(commands, "\n") }, cwd = folder,
        env = { NEWDB = "stock_" .. format, PGHOST = cluster.folder, PGUSER = "postgres" } }
      same_rows("stock_" .. format)
    end)

    it(("in %s format that is cut is damage, not a backup"):format(format), function()
      local result = backup("cut-" .. format, ("compress = \"none\", dump = { format = %q }")
        :format(format))
      assert.equal(0, result.code, result.stderr)
      local m, folder = manifest("cut-" .. format)
      local path = folder .. "/" .. m.objects[1].name
      mk.fs.write(path, mk.fs.read(path):sub(1, -60))
      local verified = support.start(dir.path, { "verify", "latest", "--from",
        ("%s/cut-%s"):format(dir.path, format) }):finish()
      assert.equal(1, verified.code)
      assert.equal("CORRUPT", verified.result.error.code)
    end)
  end

  it("takes pg_dump's selections by their names", function()
    for name, case in pairs {
      tables = { 'table = { "l*", "\\"odd name\\"" }', { "log", "odd name" } },
      left_out = { 'exclude_table = "log"', { "odd name", "shop.customer", "shop.orders" } },
      schema = { 'schema = "shop"', { "shop.customer", "shop.orders" } },
      no_schema = { 'exclude_schema = "shop"', { "log", "odd name" } },
    } do
      local result = backup("select", ("dump = { %s }"):format(case[1]),
        ("database = %q"):format("select_" .. name))
      assert.equal(0, result.code, result.stderr)
      local c <close> = cluster:database("select_" .. name):connect()
      local found = {}
      for i, row in ipairs(c:query [[SELECT CASE schemaname WHEN 'public' THEN '' ELSE
        schemaname || '.' END || tablename AS name FROM pg_tables
        WHERE schemaname IN ('public', 'shop') ORDER BY 1]]) do
        found[i] = row.name
      end
      assert.same(case[2], found, name)
    end
    assert.same({ exclude_schema = "shop" }, (function()
      backup("recorded", 'dump = { exclude_schema = "shop" }')
      return manifest("recorded").dump.selection
    end)())
  end)

  it("can leave rows, owners and grants out", function()
    assert.equal(0, backup("rows", 'dump = { exclude_table_data = "log" }',
      'database = "no_log"').code)
    assert.equal(0, value("no_log", "SELECT count(*) FROM log"))
    assert.equal(400, value("no_log", "SELECT count(*) FROM shop.orders"))
    assert.equal(0, backup("schema", "dump = { schema_only = true }",
      'database = "schema_only"').code)
    assert.equal(0, value("schema_only", "SELECT count(*) FROM shop.orders"))
  end)

  it("with a pattern that matches nothing is an error with a hint", function()
    local result = backup("none", 'dump = { table = "nothing" }')
    assert.equal(1, result.code)
    assert.equal("PG_NO_TABLES", result.result.error.fault)
    assert.same({}, support.manifests(dir.path .. "/none"))
  end)

  it("gives up when a lock is not free in time, and says who to look for", function()
    local c <close> = app:connect()
    c:query "BEGIN; LOCK TABLE log IN ACCESS EXCLUSIVE MODE"
    local result = backup("locked", 'dump = { lock_timeout = "200ms" }')
    c:query "ROLLBACK"
    assert.equal(1, result.code)
    assert.equal("PG_LOCK_TIMEOUT", result.result.error.fault)
    assert.matches("lock_timeout", result.result.error.hint)
    assert.same({}, support.manifests(dir.path .. "/locked"))
  end)

  it("passes extra arguments on as they are", function()
    local result = backup("extra",
      'dump = { format = "plain", extra = { "--inserts" } }, compress = "none"')
    assert.equal(0, result.code, result.stderr)
    local m, folder = manifest "extra"
    assert.same({ "--inserts" }, m.dump.selection.extra)
    assert.matches("INSERT INTO shop%.orders", mk.fs.read(folder .. "/data.sql"))
  end)

  describe("of roles", function()
    setup(function()
      local c <close> = app:connect()
      c:query [[CREATE ROLE clerk LOGIN PASSWORD 'sesame-open'; CREATE ROLE boss;
        GRANT boss TO clerk; ALTER ROLE clerk SET work_mem = '8MB']]
    end)

    it("is a series of its own, named by the backups that belong to it", function()
      local result = backup("roles", "dump = { globals = true }")
      assert.equal(0, result.code, result.stderr)
      local m = manifest "roles"
      local globals = json.decode(mk.fs.read(("%s/roles/j/_globals/%s.json"):format(dir.path,
        m.globals)))
      assert.equal("globals", globals.kind)
      assert.equal(m.run.id, globals.run.id)
      assert.is_true(globals.dump.passwords)
    end)

    it("creates the roles that the server lacks, with attributes, settings and memberships",
      function()
        local other <close> = mk.pg.scratch()
        local store = mk.store("disk", "file://" .. dir.path .. "/roles")
        local restores = require "moonkeep.restore"
        restores.restore(store:latest("j", "app"), { into = other:database "postgres",
          globals = true })
        local c <close> = other:database("app"):connect()
        assert.equal("{work_mem=8MB}", c:value
          "SELECT rolconfig::text FROM pg_roles WHERE rolname = 'clerk' AND rolcanlogin")
        assert.is_true(c:value "SELECT pg_has_role('clerk', 'boss', 'member')")
        assert.matches("^SCRAM", c:value "SELECT rolpassword FROM pg_authid WHERE rolname = 'clerk'")
      end)

    it("is made without passwords where they cannot be read, and says so", function()
      local c <close> = app:connect()
      c:query [[CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA shop TO reader;
        GRANT SELECT ON ALL TABLES IN SCHEMA public, shop TO reader;
        GRANT SELECT ON ALL SEQUENCES IN SCHEMA shop TO reader]]
      local text = ([[
        local source = mk.pg { host = %q, user = "reader", dbname = "app" }
        return mk.job { name = "j", source = source, upload = { disk }, dump = { globals = %s } }]])
      local result = run("reader", text:format(cluster.folder, "true"))
      assert.equal(0, result.code, result.stderr)
      assert.matches("without passwords: pg_authid cannot be read", result.stderr)
      local refused = run("reader", text:format(cluster.folder, '"with_passwords"'))
      assert.equal(1, refused.code)
      assert.equal("PG_PERMISSION", refused.result.error.code)
    end)

    it("reports what was changed while the backup was made", function()
      local result = run("changed", [[
        return mk.job { name = "j", source = app, upload = { disk }, dump = { globals = true },
          databases = { "app" }, run = function(ctx)
            mk.all { function() ctx:backup() end, function()
              local c <close> = app:connect()
              while c:value "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ '^moonkeep '"
                == 0 do
                mk.sleep "5ms"
              end
              c:query "CREATE ROLE sudden"
            end }
          end }]])
      assert.equal(0, result.code, result.stderr)
      assert.matches("were changed while the backup was made", result.stderr)
      assert.matches("%+ role sudden", result.stderr)
    end)
  end)

  it("of several databases is one series for each", function()
    for _, name in ipairs { "pay_eu", "pay_us", "pay_tmp" } do
      local c <close> = cluster:create_database(name):connect()
      c:query "CREATE TABLE t AS SELECT 1 AS i"
    end
    local result = run("several", [[
      return mk.job { name = "j", source = app, upload = { disk }, databases = { "pay_*" },
        exclude_databases = "*_tmp", run = function(ctx)
          ctx:show("%d", #ctx:backup())
        end }]])
    assert.equal(0, result.code, result.stderr)
    assert.equal("2\n", result.stdout)
    assert.same({ "pay_eu", "pay_us" }, mk.store("s", "file://" .. dir.path .. "/several"):series "j")
    local none = run("several", [[
      return mk.job { name = "j", source = app, upload = { disk }, databases = { "pya_*" } }]])
    assert.equal("NOT_FOUND", none.result.error.code)
  end)

  -- ---- restores ---------------------------------------------------------------------------------

  it("restores the database's own properties under any name", function()
    local name = 'own "props'
    local c <close> = app:connect()
    c:query [[CREATE ROLE owner_of; CREATE ROLE guest]]
    c:query([[CREATE DATABASE "own ""props" OWNER owner_of TEMPLATE template0 ENCODING 'UTF8'
      LOCALE_PROVIDER icu ICU_LOCALE 'de-DE' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8']])
    for _, sql in ipairs {
      [[ALTER DATABASE "own ""props" SET search_path TO "$user", "Odd ""schema", public]],
      [[ALTER DATABASE "own ""props" SET work_mem TO '12MB']],
      [[ALTER DATABASE "own ""props" SET app.flavour TO 'it''s, "sweet"']],
      [[ALTER ROLE guest IN DATABASE "own ""props" SET statement_timeout TO '3s']],
      [[REVOKE ALL ON DATABASE "own ""props" FROM PUBLIC]],
      [[GRANT CONNECT ON DATABASE "own ""props" TO guest WITH GRANT OPTION]],
      [[COMMENT ON DATABASE "own ""props" IS 'it''s ours']],
      [[ALTER DATABASE "own ""props" CONNECTION LIMIT 17]],
    } do
      c:query(sql)
    end
    local store = mk.store("disk", "file://" .. dir.path .. "/props")
    local backups, restores = require "moonkeep.backup", require "moonkeep.restore"
    local made = backups.upload("j", backups.dump(cluster:database(name)), { store })
    restores.restore(made, { into = app, database = "other name" })
    local QUERY = [[
      SELECT to_jsonb(d) - 'oid' - 'datname' - 'datfrozenxid' - 'datminmxid' - 'datlastsysoid'
        - 'datcollversion' || jsonb_build_object('owner', pg_get_userbyid(datdba),
        'comment', shobj_description(d.oid, 'pg_database'), 'settings',
        (SELECT jsonb_agg(jsonb_build_array(setrole::regrole, setconfig) ORDER BY 1)
         FROM pg_db_role_setting s WHERE setdatabase = d.oid)) AS all
      FROM pg_database d WHERE datname = $1]]
    assert.equal(c:value("SELECT (" .. QUERY .. ")::text", name),
      c:value("SELECT (" .. QUERY .. ")::text", "other name"))
    assert.equal(17, c:value "SELECT datconnlimit FROM pg_database WHERE datname = 'other name'")
  end)

  it("restores over a database that exists only as it is told to", function()
    assert.equal(0, backup("over", "compress = \"gzip:1\"").code)
    local function restore(options)
      return run("over", ([[return mk.task { name = "r", run = function(ctx)
        ctx:restore(disk:latest("j", "app"), { into = app, database = "target", %s })
      end }]]):format(options))
    end
    assert.equal(0, restore("").code)
    local refused = restore ""
    assert.equal("NOT_EMPTY", refused.result.error.code)
    assert.equal(400, value("target", "SELECT count(*) FROM shop.orders"))

    -- Adding collides; all of it is undone.
    local c <close> = cluster:database("target"):connect()
    c:query "DROP TABLE log; CREATE TABLE mine (i int)"
    local collides = restore 'existing = "add"'
    assert.equal(1, collides.code)
    assert.equal("RESTORE_FAILED", collides.result.error.code)
    assert.is_truthy(collides.result.error.hint)
    assert.is_nil(c:value "SELECT to_regclass('log')")

    assert.equal(0, restore('existing = "add", table = "log"').code)
    assert.equal(1000, c:value "SELECT count(*) FROM log")

    c:query "DELETE FROM shop.orders"
    assert.equal(0, restore('existing = "clean"').code)
    assert.equal(400, c:value "SELECT count(*) FROM shop.orders")
    assert.equal(0, c:value "SELECT count(*) FROM mine")

    -- Replacing ends the sessions that are in it, and leaves nothing of the old one.
    assert.equal(0, restore('existing = "replace"').code)
    same_rows "target"
    assert.is_nil(value("postgres", "SELECT 1 FROM pg_database WHERE datname LIKE '%replaced%'"))
  end)

  it("restores into an empty database that exists", function()
    cluster:create_database "empty"
    local result = backup("into-empty", 'compress = "none"', 'database = "empty"')
    assert.equal(0, result.code, result.stderr)
    same_rows "empty"
  end)

  it("restores a table with all that it needs and all that belongs to it", function()
    local result = backup("deps", 'compress = "lz4"',
      'database = "deps", table = "shop.orders", dependencies = true')
    assert.equal(0, result.code, result.stderr)
    assert.equal(400, value("deps", "SELECT count(*) FROM shop.orders"))
    assert.equal("what was bought", value("deps", "SELECT obj_description('shop.orders'::regclass)"))
    assert.equal(1, value("deps", "SELECT count(*) FROM pg_trigger WHERE tgname = 'touch'"))
    assert.equal(2, value("deps", "SELECT count(*) FROM pg_indexes WHERE tablename = 'orders'"))
    assert.equal(401, value("deps", "SELECT nextval('shop.orders_id_seq')"))
    assert.is_nil(value("deps", "SELECT to_regclass('log')"))
    local odd = backup("deps", 'compress = "lz4"', 'database = "odd", table = "odd name"')
    assert.equal(0, odd.code, odd.stderr)
    assert.equal(3, value("odd", 'SELECT count(*) FROM "odd name"'))
    local none = backup("deps", 'compress = "lz4"', 'database = "x", table = "shop.odrers"')
    assert.equal("NOT_FOUND", none.result.error.code)
    assert.matches("shop.orders", none.result.error.hint)
  end)

  it("restores a plain dump whole or not at all", function()
    for options, key in pairs { ['table = "log"'] = "table", ["jobs = 2"] = "jobs",
      ['existing = "clean"'] = "existing", ['on_error = "continue"'] = "on_error" } do
      local result = backup("plain-only", 'dump = { format = "plain" }',
        'database = "plain_only", ' .. options)
      assert.equal("INVALID", result.result.error.code)
      assert.matches(key .. ".* is not possible", result.result.error.message)
    end
  end)

  it("counts and lists the errors of a restore, and fails", function()
    local result = run("errors", [[
      return mk.job { name = "j", source = app, upload = { disk }, run = function(ctx)
        local backup = ctx:backup()
        ctx:restore(backup, { into = app, database = "errors" })
        ctx:restore(backup, { into = app, database = "errors", existing = "add",
          on_error = "continue", section = "pre-data" })
      end }]])
    assert.equal(1, result.code)
    local err = result.result.error
    assert.equal("RESTORE_FAILED", err.code)
    assert.is_true(err.errors > 5)
    assert.matches('already exists', err.detail)
    assert.matches(("pg_restore reported %d errors"):format(err.errors), err.message)
  end)

  it("says when jobs are not possible", function()
    local result = backup("jobs", 'compress = "zstd:1", dump = { format = "custom" }',
      'database = "jobs1", jobs = 4')
    assert.equal(0, result.code, result.stderr)
    assert.matches("jobs = 4 is not possible: the backup is compressed by zstd:1", result.stderr)
    same_rows "jobs1"
  end)
end)
