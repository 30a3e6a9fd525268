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

local trees = {} -- by major: { folder (a tempdir), bin, library }; programs are found once in a process

-- The folder of programs of a major that also sees our extension, and the label provider.
local function tree_of(major)
  if not trees[major] then
    local bin, folder = tools.find("initdb", major):match "^(.*)/", mk.fs.tempdir()
    sh('chmod 0755 "$0"', folder.path)
    local tree = sh('bash "$0/tree.bash" "$1" "$2" "$0"', FOLDER, bin, folder.path .. "/tree")
    local library = folder.path .. "/keeplabel.so"
    sh('gcc -shared -fPIC -DPG_MAJOR="$1" -o "$2" "$0/keeplabel.c"', FOLDER, tostring(major), library)
    trees[major] = { folder = folder, bin = tree:match "[^\n]+", library = library }
  end
  return trees[major]
end

teardown(function()
  for _, tree in pairs(trees) do
    tree.folder:close()
  end
end)

-- A cluster for the difficult database, and the folder of its programs.
local function new_cluster(dir, major)
  local tree = tree_of(major)
  sh('chmod 0755 "$0"', dir.path)
  host.set_env("MOONKEEP_PG_PATH", tree.bin .. ":" .. (os.getenv "MOONKEEP_PG_PATH" or ""))
  return mk.pg.scratch { major = major, settings = { session_preload_libraries = tree.library,
    lc_monetary = "C", timezone = "UTC" } }, tree.bin
end

local function fill(cluster, bin)
  cluster:create_database "source"
  sh('"$0/psql" -X -q -h "$1" -U postgres -d source -f "$2/database.sql"', bin, cluster.folder, FOLDER)
end

-- pg_dump's SQL, without what differs between two dumps of the same.
local function sql_of(bin, cluster, name, file, options)
  sh([["$0/pg_dump" -h "$1" -U postgres -d "$2" | python3 "$3/normalise.py" $4 >"$5"; test -s "$5"]],
    bin, cluster.folder, name, FOLDER, options, file)
end

local function backup(dir, cluster, name, dump)
  local run = support.run_recipe(dir.path, ([[
    local mk = require "moonkeep"
    return mk.job { name = %q, verify = "decoded", dump = { %s },
      source = mk.pg { host = %q, user = "postgres", dbname = "source" },
      upload = { mk.store("disk", "file://%s/store") } }]]):format(name, dump, cluster.folder,
    dir.path))
  assert.equal(0, run.code, run.stderr)
  local series = ("%s/store/%s/source"):format(dir.path, name)
  for _, file in ipairs(mk.fs.list(series)) do
    local id = file:match "^(.*)%.json$"
    if id then
      return series .. "/" .. id, json.decode(mk.fs.read(series .. "/" .. file))
    end
  end
end

local function restore(dir, cluster, folder, target, jobs, ...)
  local run = support.start(dir.path, { "restore", folder:match "[^/]*$", "--from", "file://" ..
    dir.path .. "/store", "--into", ("host=%s user=postgres"):format(cluster.folder),
    "--database", target, "--set", "jobs=" .. jobs, ... }):finish()
  assert.equal(0, run.code, run.stderr)
end

support.each_major(describe, pending, { 13, 15, 17, 18 }, "the difficult database on PostgreSQL %d",
  function(major)
  local dir, cluster, bin, path

  setup(function()
    dir, path = mk.fs.tempdir(), os.getenv "MOONKEEP_PG_PATH" or ""
    cluster, bin = new_cluster(dir, major)
    fill(cluster, bin)
  end)
  teardown(function()
    host.set_env("MOONKEEP_PG_PATH", path)
    cluster:close()
    dir:close()
  end)

  -- Rows of a table that was cut may be in any order after several connections have loaded it.
  local function is_the_same(target, jobs)
    local options = (major == 13 and "--sort " or "") .. (jobs > 1 and "--rows" or "")
    sql_of(bin, cluster, "source", dir.path .. "/source.sql", options)
    sql_of(bin, cluster, target, dir.path .. "/restored.sql", options)
    sh('diff "$0" "$1"', dir.path .. "/source.sql", dir.path .. "/restored.sql")
  end

  local function restores_to_the_same(folder, target, jobs)
    support.restore_by_text(cluster, folder, target, jobs)
    is_the_same(target, jobs)
    local by_us = target .. "_by_moonkeep"
    restore(dir, cluster, folder, by_us, jobs)
    is_the_same(by_us, jobs)
    local server = ("host=%s user=postgres dbname="):format(cluster.folder)
    local run = support.start(dir.path, { "compare", server .. "source", server .. by_us }):finish()
    assert.equal(0, run.code, run.stdout .. run.stderr)
  end

  it("is restored to the same by one job", function()
    restores_to_the_same(backup(dir, cluster, "one", "jobs = 1"), "one", 1)
  end)

  it("is restored to the same by four jobs, with tables cut into ranges", function()
    local folder, manifest = backup(dir, cluster, "four", 'jobs = 4, range_size = "64KiB"')
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

support.each_major(describe, pending, { 17 }, "the difficult database of 15 on PostgreSQL %d",
  function()
    it("is restored to what pg_restore 17 makes of the same archive", function()
      local dir <close> = mk.fs.tempdir()
      local path = os.getenv "MOONKEEP_PG_PATH" or ""
      local old <close>, old_bin = new_cluster(dir, 15)
      local new <close>, new_bin = new_cluster(dir, 17)
      fill(old, old_bin)
      local folder = backup(dir, old, "up", 'jobs = 2, range_size = "64KiB", globals = true')
      restore(dir, new, folder, "by_moonkeep", 2, "--set", "globals=true")
      support.restore_by_text(new, folder, "by_text", 2)
      for _, name in ipairs { "by_moonkeep", "by_text" } do
        sql_of(new_bin, new, name, ("%s/%s.sql"):format(dir.path, name), "--rows")
      end
      sh('diff "$0" "$1"', dir.path .. "/by_moonkeep.sql", dir.path .. "/by_text.sql")
      host.set_env("MOONKEEP_PG_PATH", path)
    end)
  end)
