-- The proof that counts: a backup is restored into a server of its own, and compared with what was
-- dumped.
local mk = require "moonkeep"
local support = require "support"

support.each_major(describe, pending, { 13, 15, 17 }, "a backup of PostgreSQL %d that was restored",
  function(major)
  local cluster, dir

  setup(function()
    cluster = mk.pg.scratch { major = major }
    dir = mk.fs.tempdir()
    local admin <close> = cluster:database("postgres"):connect()
    mk.process.run { argv = { "mkdir", cluster.folder .. "/space" } }
    mk.process.run { argv = { "chown", "--reference=" .. cluster.folder .. "/data",
      cluster.folder .. "/space" } }
    admin:query(("CREATE TABLESPACE space LOCATION '%s/space'"):format(cluster.folder))
    admin:query [[CREATE ROLE zed; CREATE ROLE clerk; CREATE ROLE "odd role";
      CREATE ROLE boss SUPERUSER]]
    admin:query "CREATE DATABASE app OWNER clerk TABLESPACE space"
    admin:query "ALTER DATABASE app SET work_mem = '5MB'; COMMENT ON DATABASE app IS 'ours'"
    local c <close> = cluster:database("app"):connect()
    c:query(support.SMALL)
    c:query [[
      CREATE EXTENSION tablefunc;
      ALTER TABLE fruit OWNER TO "odd role"; GRANT SELECT ON fruit TO clerk;
      CREATE TABLE parts (id int, v text) PARTITION BY RANGE (id);
      CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (50);
      CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (50) TO (1000) TABLESPACE pg_default;
      INSERT INTO parts SELECT i, 'v' || i FROM generate_series(1, 100) i;
      CREATE MATERIALIZED VIEW sums AS SELECT count(*) FROM parts;
      SELECT lo_from_bytea(4711, 'a large object');
      -- Roles in an order that is not that of their names; what only a superuser may own; another
      -- server, which nobody is to be asked.
      CREATE POLICY few ON fruit TO zed, clerk USING (true);
      CREATE FUNCTION told() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
      CREATE EVENT TRIGGER tell ON ddl_command_end EXECUTE FUNCTION told();
      ALTER EVENT TRIGGER tell OWNER TO boss;
      CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
      CREATE TABLE far (id int) PARTITION BY RANGE (id);
      CREATE TABLE far_here PARTITION OF far FOR VALUES FROM (0) TO (10);
      INSERT INTO far VALUES (1);
      CREATE FOREIGN TABLE far_there PARTITION OF far FOR VALUES FROM (10) TO (20) SERVER files
        OPTIONS (filename '/nonexistent/file')]]
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  local function run(name, keys, database)
    return support.run_recipe(dir.path, ([[
      local mk = require "moonkeep"
      return mk.job { name = %q, source = mk.pg { host = %q, user = "postgres", dbname = %q },
        upload = { mk.store("disk", "file://%s/store") }, %s }]]):format(name, cluster.folder,
      database or "app", dir.path, keys))
  end

  local function proof_of(name)
    local list = support.start(dir.path, { "list", "--from", "file://" .. dir.path .. "/store",
      "--job", name, "--json" }):finish()
    assert.equal(0, list.code, list.stderr)
    return list.stdout:match '"proof": *"(%a+)"'
  end

  it("is known as restored, and what was found is told", function()
    local made = run("native", 'verify = "restored", dump = {}')
    assert.equal(0, made.code, made.stderr)
    assert.matches("restored %S+ into a PostgreSQL of its own: %d+ objects, 603 rows of 4 tables " ..
      "are those that were dumped", made.stderr)
    assert.matches("%(restored%)", made.result.text)
    assert.equal("restored", proof_of "native")
  end)

  it("has the rows of a partitioned table also when only that is restored", function()
    local restored = support.start(dir.path, { "restore", "latest", "--from", "file://" .. dir.path ..
      "/store", "--job", "native", "--into", ("host=%s user=postgres"):format(cluster.folder), "-d",
      "part_of_it", "-s", "table=parts", "-s", "dependencies=true" }):finish()
    assert.equal(0, restored.code, restored.stderr)
    local c <close> = cluster:database("part_of_it"):connect()
    assert.equal(100, c:value "SELECT count(*) FROM parts")
  end)

  it("may be a stream of pg_dump's, whose restore must go well", function()
    local made = run("stream", 'verify = "restored", dump = { format = "custom" }')
    assert.equal(0, made.code, made.stderr)
    assert.equal("restored", proof_of "stream")
  end)

  -- What pg_dump dumps and nobody can restore: the function finds its table by a search_path that
  -- no restore has.
  it("is not, when it looks whole but cannot be restored", function()
    local c <close> = cluster:create_database("hopeless"):connect()
    c:query [[
      CREATE TABLE allowed (id int PRIMARY KEY); INSERT INTO allowed VALUES (1), (2);
      CREATE FUNCTION is_allowed(int) RETURNS boolean LANGUAGE plpgsql AS
        'BEGIN RETURN EXISTS (SELECT 1 FROM allowed WHERE id = $1); END';
      CREATE TABLE chosen (id int CHECK (is_allowed(id))); INSERT INTO chosen VALUES (2)]]
    for _, dump in ipairs { "", 'format = "custom"' } do
      local name = "hopeless" .. #dump
      local made = run(name, ('verify = "decoded", dump = { %s }'):format(dump), "hopeless")
      assert.equal(0, made.code, made.stderr)
      local verified = support.start(dir.path, { "verify", "latest", "--from", "file://" .. dir.path ..
        "/store", "--job", name, "--level", "restored" }):finish()
      assert.equal(1, verified.code)
      assert.matches('relation ."allowed." does not exist', verified.stderr)
      if dump == "" then
        assert.matches("public%.chosen: ", verified.stderr)
      end
      assert.equal("decoded", proof_of(name))
    end
  end)
end)
