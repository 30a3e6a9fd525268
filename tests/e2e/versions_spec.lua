-- PostgreSQL 13 to 18, each with its own client programs (MOONKEEP_PG_PATH; ./dev test makes those that
-- Debian 12 does not have). One that is not there is skipped, aloud.
local fingerprint = require "fingerprint"
local mk = require "moonkeep"
local support = require "support"
local tools = require "moonkeep.pg.tools"

local function is_there(major)
  return (pcall(tools.find, "postgres", major))
end

local SCHEMA = [[
  CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, v text, j jsonb, PRIMARY KEY (id));
  INSERT INTO t (v, j) SELECT 'row ' || i, jsonb_build_object('i', i) FROM generate_series(1, 300) i;
  CREATE TABLE part (k int, v text) PARTITION BY RANGE (k);
  CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (50);
  CREATE TABLE part_2 PARTITION OF part DEFAULT;
  INSERT INTO part SELECT i, i::text FROM generate_series(1, 100) i;
  CREATE VIEW v AS SELECT * FROM t;
]]

for _, major in ipairs { 13, 15, 17, 18 } do
  describe(("PostgreSQL %d"):format(major), function()
    if not is_there(major) then
      print(("SKIPPED: PostgreSQL %d is not here (./dev test installs it)"):format(major))
      pending(("is not here, so nothing is known of %d"):format(major))
      return
    end
    local cluster, dir

    setup(function()
      cluster = mk.pg.scratch { major = major }
      dir = mk.fs.tempdir()
      local c <close> = cluster:create_database("app"):connect()
      c:query(SCHEMA)
      c:query [[CREATE ROLE clerk LOGIN PASSWORD 'x'; ALTER TABLE part OWNER TO clerk;
        ALTER DATABASE app SET search_path TO "$user", public; COMMENT ON DATABASE app IS 'ours']]
    end)
    teardown(function()
      cluster:close()
      dir:close()
    end)

    for _, format in ipairs { "custom", "plain", "tar" } do
      it(("is dumped, proved, restored and equal by its own programs: %s"):format(format), function()
        local run = support.run_recipe(dir.path, ([[
          local mk = require "moonkeep"
          local app = mk.pg { host = %q, user = "postgres", dbname = "app" }
          return mk.job { name = "j", source = app, verify = "decoded",
            upload = { mk.store("disk", "file://%s/%s") },
            dump = { format = %q, globals = true },
            run = function(ctx)
              local restored = ctx:restore(ctx:backup(), { into = app, database = "r_%s" })
              ctx:show("%%d %%d", ctx:compare(app, restored))
            end }]]):format(cluster.folder, dir.path, format, format, format))
        assert.equal(0, run.code, run.stderr)
        assert.equal("2 400\n", run.stdout)
        assert.matches(("with pg_dump %d%%."):format(major), run.stderr)
        local c <close> = cluster:database("r_" .. format):connect()
        assert.equal('{"search_path=\\"$user\\", public"}', c:value [[SELECT setconfig::text
          FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
          WHERE datname = current_database()]])
        assert.equal("clerk", c:value
          "SELECT relowner::regrole::text FROM pg_class WHERE relname = 'part'")
      end)
    end

    it("passes the doctor", function()
      local run = support.start(dir.path, { "doctor", "--source",
        ("host=%s user=postgres dbname=app"):format(cluster.folder), "--to", dir.path .. "/d",
        "-s", "fresh=1d", "-s", "schedule.cron=@daily", "-s", "dump.globals=true" }):finish()
      assert.equal(0, run.code, run.stdout)
    end)
  end)
end

describe("versions that differ", function()
  local dir, old, new

  setup(function()
    dir = mk.fs.tempdir()
    old = mk.pg.scratch { major = 15 }
    local c <close> = old:create_database("app"):connect()
    c:query(SCHEMA)
    new = is_there(17) and mk.pg.scratch { major = 17 }
  end)
  teardown(function()
    old:close()
    if new then
      new:close()
    end
    dir:close()
  end)

  local function backup(cluster, name)
    local backups = require "moonkeep.backup"
    return backups.upload("j", backups.dump(cluster:database "app"),
      { mk.store(name, ("file://%s/%s"):format(dir.path, name)) })
  end

  it("go up: a backup of 15 restores into 17, equal", function()
    if not new then
      pending "PostgreSQL 17 is not here"
      return
    end
    local restores = require "moonkeep.restore"
    local restored = restores.restore(backup(old, "up"), { into = new:database "postgres" })
    assert.equal(2, (fingerprint.compare(fingerprint.of(old:database "app"),
      fingerprint.of(restored))))
  end)

  it("do not go down: refused before anything is touched, with both versions", function()
    if not new then
      pending "PostgreSQL 17 is not here"
      return
    end
    new:create_database("app2"):connect():close()
    local restores = require "moonkeep.restore"
    local err = support.caught(restores.restore, backup(new, "down"), { into = old:database "postgres",
      database = "never" })
    assert.equal("PG_VERSION_MISMATCH", err.code)
    assert.matches("of version 17, the server to restore into is 15", err.message)
    local c <close> = old:database("postgres"):connect()
    assert.is_nil(c:value "SELECT 1 FROM pg_database WHERE datname LIKE 'never%'")
  end)

  it("are refused when only the wrong programs are there, with both versions and the package",
    function()
      if not new then
        pending "PostgreSQL 17 is not here"
        return
      end
      local run = support.start(dir.path, { "run", "--source",
        ("host=%s user=postgres dbname=app"):format(new.folder), "--to", dir.path .. "/x" },
        { MOONKEEP_PG_PATH = "" }):finish()
      assert.equal(1, run.code)
      assert.equal("PG_VERSION_MISMATCH", run.result.error.code)
      assert.matches("version 17, but there is no pg_dump 17 here %(only 15", run.result.error.message)
      assert.matches("apt%-get install postgresql%-client%-17", run.result.error.hint)
      assert.same({}, support.manifests(dir.path .. "/x"))
    end)

  it("of pg_restore may be newer than the archive's: the nearest reads it", function()
    for _, version in ipairs { "39.1", "41.2", "43.0" } do
      local folder = ("%s/programs %s"):format(dir.path, version)
      mk.fs.mkdir(folder)
      mk.fs.write(folder .. "/pg_restore", ("#!/bin/sh\necho 'pg_restore (PostgreSQL) %s'\n"):format(
        version), 448) -- 0700
    end
    local function reader(major)
      mk.fs.write(dir.path .. "/reader.lua", ([[
        local ok, found = pcall(require("moonkeep.pg.tools").reader, %d)
        print(ok and found or found.code)]]):format(major))
      local folders = ("%s/programs 43.0:%s/programs 39.1:%s/programs 41.2"):gsub("%%s", dir.path)
      return mk.process.run { argv = { support.binary, "--script", dir.path .. "/reader.lua" },
        env = { MOONKEEP_PG_PATH = folders } }
    end
    for major, version in pairs { [39] = "39.1", [40] = "41.2", [42] = "43.0" } do
      assert.equal(("%s/programs %s/pg_restore\n"):format(dir.path, version), reader(major))
    end
    assert.equal("PG_VERSION_MISMATCH\n", reader(44))
  end)
end)
