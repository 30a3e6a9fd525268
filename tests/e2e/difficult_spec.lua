-- Identity: a database with an example of every kind of object that pg_dump knows, and of names and
-- values that break programs which read dumps, is dumped by moonkeep, restored by the commands of
-- RESTORE.txt, and dumped again by pg_dump: the two dumps are the same.
local host = require "moonkeep.core.host"
local json = require "moonkeep.core.json"
local mk = require "moonkeep"
local support = require "support"
local tools = require "moonkeep.pg.tools"

local FOLDER = "tests/e2e/difficult"

local function sh(text, ...)
  return mk.process.run { argv = { "bash", "-c", "set -euo pipefail; " .. text, ... } }
end

-- The folder of programs of a major that also sees our extension, and the label provider.
local function prepare(dir, major)
  local bin = tools.find("initdb", major):match "^(.*)/"
  local tree = sh('bash "$0/tree.bash" "$1" "$2" "$0"', FOLDER, bin, dir .. "/tree"):match "[^\n]+"
  local library = dir .. "/keeplabel.so"
  sh('gcc -shared -fPIC -DPG_MAJOR="$1" -o "$2" "$0/keeplabel.c"', FOLDER, tostring(major), library)
  return tree, library
end

support.each_major(describe, pending, { 13, 15, 17, 18 }, "the difficult database on PostgreSQL %d",
  function(major)
  local dir, cluster, bin, path

  setup(function()
    dir = mk.fs.tempdir()
    local programs = mk.fs.tempdir()
    path = os.getenv "MOONKEEP_PG_PATH" or ""
    sh('chmod 0755 "$0" && chmod 0755 "$1"', dir.path, programs.path)
    local library
    bin, library = prepare(programs.path, major)
    host.set_env("MOONKEEP_PG_PATH", bin .. ":" .. path)
    cluster = mk.pg.scratch { major = major, settings = { session_preload_libraries = library,
      lc_monetary = "C", timezone = "UTC" } }
    cluster.programs = programs
    cluster:create_database "source"
    sh('"$0/psql" -X -q -h "$1" -U postgres -d source -f "$2/database.sql"', bin, cluster.folder,
      FOLDER)
  end)
  teardown(function()
    host.set_env("MOONKEEP_PG_PATH", path)
    cluster:close()
    cluster.programs:close()
    dir:close()
  end)

  -- pg_dump's SQL, without what differs between two dumps of the same.
  local function sql_of(name, file, in_any_order)
    sh([["$0/pg_dump" -h "$1" -U postgres -d "$2" | python3 "$3/normalise.py" $4 >"$5"; test -s "$5"]],
      bin, cluster.folder, name, FOLDER, (major == 13 and "--sort " or "") ..
      (in_any_order and "--rows" or ""), file)
  end

  local function backup(name, dump)
    local run = support.run_recipe(dir.path, ([[
      local mk = require "moonkeep"
      return mk.job { name = %q, verify = "decoded", dump = { %s },
        source = mk.pg { host = %q, user = "postgres", dbname = "source" },
        upload = { mk.store("disk", "file://%s/store") } }]]):format(name, dump, cluster.folder,
      dir.path))
    assert.equal(0, run.code, run.stderr)
    local folder = ("%s/store/%s/source/%s"):format(dir.path, name, run.result.text:match "^%S+")
    return folder, json.decode(mk.fs.read(folder .. ".json"))
  end

  -- Rows of a table that was cut may be in any order after several connections have loaded it.
  local function is_the_same(target, jobs)
    sql_of("source", dir.path .. "/source.sql", jobs > 1)
    sql_of(target, dir.path .. "/restored.sql", jobs > 1)
    sh('diff "$0" "$1"', dir.path .. "/source.sql", dir.path .. "/restored.sql")
  end

  local function restores_to_the_same(folder, target, jobs)
    support.restore_by_text(cluster, folder, target, jobs)
    is_the_same(target, jobs)
    local by_us = target .. "_by_moonkeep"
    local run = support.start(dir.path, { "restore", folder:match "[^/]*$", "--from", "file://" ..
      dir.path .. "/store", "--into", ("host=%s user=postgres"):format(cluster.folder),
      "--database", by_us, "--set", "jobs=" .. jobs }):finish()
    assert.equal(0, run.code, run.stderr)
    is_the_same(by_us, jobs)
    local server = ("host=%s user=postgres dbname="):format(cluster.folder)
    run = support.start(dir.path, { "compare", server .. "source", server .. by_us }):finish()
    assert.equal(0, run.code, run.stdout .. run.stderr)
  end

  it("is restored to the same by one job", function()
    restores_to_the_same(backup("one", "jobs = 1"), "one", 1)
  end)

  it("is restored to the same by four jobs, with tables cut into ranges", function()
    local folder, manifest = backup("four", 'jobs = 4, range_size = "64KiB"')
    local n_ranges = 0
    for _, known in ipairs(manifest.tables) do
      n_ranges = math.max(n_ranges, #known.parts)
    end
    if major >= 14 then
      assert.is_true(n_ranges > 1)
    else
      assert.equal(1, n_ranges) -- each would read the whole table
    end
    restores_to_the_same(folder, "four", 4)
  end)
end)
