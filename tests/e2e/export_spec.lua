-- A backup for PostgreSQL's own programs: a custom archive, SQL, a directory.
local mk = require "moonkeep"
local support = require "support"
local tools = require "moonkeep.pg.tools"

support.each_major(describe, pending, { 13, 15, 17 }, "an export of PostgreSQL %d", function(major)
  local cluster, dir

  setup(function()
    cluster = mk.pg.scratch { major = major }
    dir = mk.fs.tempdir()
    local c <close> = cluster:create_database("app"):connect()
    c:query(support.SMALL)
    c:query [[
      CREATE TABLE one AS SELECT i, md5(i::text) AS a FROM generate_series(1, 60000) i;
      CREATE TABLE "none" (); CREATE TABLE empty (i int);
      CREATE SEQUENCE s; SELECT setval('s', 42);
      SELECT lo_from_bytea(4711, 'a large object'), lo_create(4712),
        lo_from_bytea(4713, decode(repeat('ab', 5000000), 'hex'));
      COMMENT ON LARGE OBJECT 4711 IS 'small']]
    local run = support.run_recipe(dir.path, ([[
      local mk = require "moonkeep"
      return mk.job { name = "n", dump = { range_size = "1MiB" },
        source = mk.pg { host = %q, user = "postgres", dbname = "app" },
        upload = { mk.store("disk", "file://%s/store") } }]]):format(cluster.folder, dir.path))
    assert.equal(0, run.code, run.stderr)
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  local function sh(text, ...)
    local ok, result = pcall(mk.process.run, { argv = { "bash", "-c", "set -euo pipefail; " .. text,
      ... } })
    return ok and result or error(result.detail, 0)
  end

  local function program(name)
    return tools.find(name, major)
  end

  -- pg_dump's SQL, without the keys that differ each time; rows of what was cut may be in any order.
  local function sql_of(name)
    sh([["$0" -h "$1" -U postgres -d "$2" | grep --invert-match '^.\(un\)\?restrict ' |
      sort >"$3"]], program "pg_dump", cluster.folder, name, dir.path .. "/" .. name .. ".sql")
    return dir.path .. "/" .. name .. ".sql"
  end

  local function is_the_same(name)
    sh('cmp "$0" "$1"', sql_of "app", sql_of(name))
  end

  -- Runs moonkeep export and what it is piped into, as a user would.
  local function export(arguments, rest, ...)
    return sh(('export MOONKEEP_STATE="$1"; "$0" export latest --from "$2" %s %s'):format(arguments,
      rest), support.binary, dir.path .. "/state", dir.path .. "/store", ...)
  end

  it("is a custom archive that pg_restore takes from a pipe", function()
    cluster:create_database "piped"
    export("", '| "$3" --exit-on-error -h "$4" -U postgres -d piped', program "pg_restore",
      cluster.folder)
    is_the_same "piped"
  end)

  it("is a custom archive as a file, too, which several connections can read", function()
    cluster:create_database "filed"
    export("", '>"$3"; "$4" --exit-on-error --jobs=3 -h "$5" -U postgres -d filed "$3"', dir.path ..
      "/file.dump", program "pg_restore", cluster.folder)
    is_the_same "filed"
  end)

  it("is SQL that psql runs", function()
    cluster:create_database "told"
    export("--format sql", '| "$3" -X -q -v ON_ERROR_STOP=1 -h "$4" -U postgres -d told >/dev/null',
      program "psql", cluster.folder)
    is_the_same "told"
  end)

  it("is a directory that pg_restore reads", function()
    cluster:create_database "listed"
    export('--format directory --output "$3"', '>/dev/null; "$4" --exit-on-error --jobs=3 -h "$5" ' ..
      '-U postgres -d listed "$3"', dir.path .. "/directory", program "pg_restore", cluster.folder)
    is_the_same "listed"
    local run = support.start(dir.path, { "export", "latest", "--from", dir.path .. "/store",
      "--format", "directory", "--output", dir.path .. "/directory" }):finish()
    assert.equal(1, run.code)
    assert.matches("directory exists", run.stderr)
  end)

  it("that nobody reads to its end is a failure, and says so", function()
    local ok, err = pcall(export, "", "| head --bytes=1000 >/dev/null")
    assert.is_false(ok)
    assert.matches("whoever was to read the output is gone", err)
  end)

  it("of a damaged backup fails, and says what is damaged", function()
    local copy = dir.path .. "/damaged"
    sh('cp -a "$0" "$1"; f=$(ls "$1"/n/app/*/pack-1.tar.zst); printf x | dd of="$f" bs=1 seek=200 ' ..
      'conv=notrunc status=none', dir.path .. "/store", copy)
    local run = support.start(dir.path, { "export", "latest", "--from", copy, "--format",
      "directory", "--output", dir.path .. "/out" }):finish()
    assert.equal(1, run.code)
    assert.matches("pack%-1%.tar", run.stderr)
    assert.is_false(mk.fs.exists(dir.path .. "/out"))
    local ok, err = pcall(sh, 'MOONKEEP_STATE="$1" "$0" export latest --from "$2" >/dev/null',
      support.binary, dir.path .. "/state", copy)
    assert.is_false(ok)
    assert.matches("pack%-1%.tar", err)
  end)

  it("and a list of its tables", function()
    local run = support.start(dir.path, { "ls", "latest", "--from", dir.path .. "/store" }):finish()
    assert.equal(0, run.code, run.stderr)
    assert.matches(" ROWS      TEXT  TABLE\n", run.stdout)
    assert.matches("60000 .- public.one\n", run.stdout)
    assert.matches("5 tables, 60502 rows, .-, and 3 large objects, 4.8 MiB", run.stdout)
  end)
end)
