--- What the specs share: running the binary on a recipe, and a server to try things on.
local flow = require "moonkeep.flow"
local json = require "moonkeep.core.json"
local merge = require "moonkeep.merge"
local mk = require "moonkeep"
local pieces = require "moonkeep.store.pieces"
local tools = require "moonkeep.pg.tools"

local M = {}

M.binary = os.getenv "MOONKEEP" or os.getenv "PWD" .. "/build/release/moonkeep"

local LAUNCH = [[cd "${MK_TEST_CWD:-.}"; exec "$@" >"$MK_TEST_OUT" 2>"$MK_TEST_ERR"]]

local Run = {}
Run.__index = Run

--- Waits for the end: { code, stdout, stderr, events, result }.
function Run:finish()
  self.code = self.child:wait()
  self.stdout = mk.fs.read(self.out)
  self.stderr = mk.fs.read(self.err)
  self.events = {}
  for line in self.stderr:gmatch "[^\n]+" do
    local ok, event = pcall(json.decode, line)
    if ok and type(event) == "table" and event.event then
      self.events[#self.events + 1] = event
      self.result = event.event == "result" and event or self.result
    end
  end
  return self
end

--- The pid of the supervisor's child, the worker.
function Run:worker_pid()
  for _ = 1, 500 do
    local path = ("/proc/%d/task/%d/children"):format(self.child:pid(), self.child:pid())
    local ok, text = pcall(mk.fs.read, path)
    local pid = ok and tonumber(text:match "%d+")
    if pid then
      return pid
    end
    mk.sleep "10ms"
  end
  error "the supervisor has no worker"
end

--- Starts the binary with these arguments; see Run. `folder` holds what it prints.
function M.start(folder, arguments, env)
  M.n = (M.n or 0) + 1
  local run = setmetatable({ out = ("%s/out.%d"):format(folder, M.n),
    err = ("%s/err.%d"):format(folder, M.n) }, Run)
  local argv = { "sh", "-c", LAUNCH, "sh", M.binary, table.unpack(arguments) }
  local variables = { MK_TEST_OUT = run.out, MK_TEST_ERR = run.err,
    MOONKEEP_STATE = folder .. "/state" }
  for name, value in pairs(env or {}) do
    variables[name] = value
  end
  run.child = mk.process.spawn { argv = argv, env = variables }
  return run
end

--- Writes a recipe and starts it. `options`: flags, set, env, mode, path.
function M.start_recipe(folder, text, options)
  options = options or {}
  M.n = (M.n or 0) + 1
  local path = options.path or ("%s/recipe%d.lua"):format(folder, M.n)
  mk.fs.write(path, text, options.mode or 384)
  local arguments = { "run", table.unpack(options.flags or {}) }
  arguments[#arguments + 1] = path
  for _, item in ipairs(options.set or {}) do
    arguments[#arguments + 1] = "--set=" .. item
  end
  local run = M.start(folder, arguments, options.env)
  run.path = path
  return run
end

function M.run_recipe(...)
  return M.start_recipe(...):finish()
end

--- A file of expected outputs, tests/golden/NAME.txt. `golden:check(name, text)` compares;
--- `golden:close()` says which were not asked for. With MOONKEEP_GOLDEN=write it is written anew.
function M.golden(name)
  local path = ("tests/golden/%s.txt"):format(name)
  local is_writing = os.getenv "MOONKEEP_GOLDEN" == "write"
  local known, seen, written = {}, {}, {}
  if not is_writing then
    for section in (mk.fs.exists(path) and mk.fs.read(path) or ""):gmatch "=== (.-)\n%-%-%-\n" do
      local title, body = section:match "^([^\n]*)\n(.*)$"
      known[title] = body
    end
  end
  return {
    check = function(_, title, text)
      seen[title] = true
      written[#written + 1] = ("=== %s\n%s\n---\n"):format(title, text)
      if not is_writing then
        assert(known[title], ("%s has no %q: MOONKEEP_GOLDEN=write"):format(path, title))
        if known[title] ~= text then
          error(("%s: %s\nexpected:\n%s\ngot:\n%s"):format(path, title, known[title], text), 2)
        end
      end
    end,
    close = function()
      if is_writing then
        mk.fs.write(path, table.concat(written, "\n"), 420)
      end
      for title in pairs(known) do
        assert(seen[title], ("%s: nobody asks for %q"):format(path, title))
      end
      return #written
    end,
  }
end

--- How often a loop is to run: MOONKEEP_ROUNDS (a number, or "all" of them), else `standard`.
function M.rounds(what, standard, all)
  local wanted = os.getenv "MOONKEEP_ROUNDS"
  local n = wanted == "all" and all or math.min(tonumber(wanted) or standard, all)
  print(("rounds: %s: %d of %d"):format(what, n, all))
  return n
end

--- What makes one thing of a run fail: for LD_PRELOAD; see inject.c.
M.INJECT = M.binary:gsub("[^/]+$", "tests/libinject.so")

--- `n` numbers from 1 to `of`, evenly spread; all of them, if there are no more.
function M.spread(n, of)
  local list = {}
  for i = 1, math.min(n, of) do
    list[i] = n >= of and i or (i - 1) * (of - 1) // math.max(n - 1, 1) + 1
  end
  return list
end

--- Describes, with busted's own `describe` and `pending`, those of these majors that are to be tried:
--- MOONKEEP_MAJORS has them, all if it is not set. One that is not installed is pending.
function M.each_major(describe, pending, majors, name, fn)
  local wanted = os.getenv "MOONKEEP_MAJORS"
  for _, major in ipairs(majors) do
    if not wanted or (" " .. wanted .. " "):find(" " .. major .. " ", 1, true) then
      local describe_or_skip = pcall(tools.find, "initdb", major) and describe or pending
      describe_or_skip(name:format(major), function() fn(major) end)
    end
  end
end

--- Calls fn, which must raise, and returns the error.
function M.caught(fn, ...)
  local ok, err = pcall(fn, ...)
  assert(not ok, "it did not raise")
  return err
end

--- The commands of a backup's RESTORE.txt, in order.
function M.restore_commands(folder)
  local commands = {}
  for command in mk.fs.read(folder .. "/RESTORE.txt"):gmatch "\n    ([^\n]+)" do
    commands[#commands + 1] = command
  end
  return commands
end

--- Runs the commands of a backup's RESTORE.txt as they stand, with the cluster's own programs, into
--- the database `target`; `jobs`: another number than the text has; `env`: what it wants besides.
function M.restore_by_text(cluster, folder, target, jobs, env)
  local commands = table.concat(M.restore_commands(folder), "\n")
  if jobs then
    commands = commands:gsub("%-%-jobs=%d+", "--jobs=" .. jobs)
  end
  local bin = tools.find("pg_restore", cluster.major):match "^(.*)/"
  mk.process.run { argv = { "bash", "-c", commands }, cwd = folder, env = merge(env or {}, {
    NEWDB = target, PGHOST = cluster.folder, PGUSER = "postgres",
    PATH = bin .. ":" .. os.getenv "PATH" }) }
end

--- Waits until nobody is connected to a database, and no client program of its cluster runs.
function M.nothing_runs(cluster, database)
  M.eventually("no client program is left", function()
    return #M.processes("host='" .. cluster.folder) == 0
  end)
  local c <close> = cluster:database("postgres"):connect()
  M.eventually("no backend is left", function()
    return c:value("SELECT count(*) FROM pg_stat_activity WHERE datname = $1", database) == 0
  end)
end

--- Calls fn until it returns something true; raises after a minute.
function M.eventually(what, fn)
  for _ = 1, 6000 do
    local value = fn()
    if value then
      return value
    end
    mk.sleep "10ms"
  end
  error("it never happened: " .. what)
end

--- All files below a folder, as relative paths, sorted.
function M.files(folder)
  local found = {}
  local function walk(path, prefix)
    for _, name in ipairs(mk.fs.list(path)) do
      local stat = mk.fs.stat(path .. "/" .. name)
      if stat and stat.type == "directory" then
        walk(path .. "/" .. name, prefix .. name .. "/")
      else
        found[#found + 1] = prefix .. name
      end
    end
  end
  if mk.fs.exists(folder) then
    walk(folder, "")
  end
  table.sort(found)
  return found
end

--- The manifests below a store's folder: the backups that exist.
function M.manifests(folder)
  local found = {}
  for _, file in ipairs(M.files(folder)) do
    if file:match "%d+T%d+Z%-%x+%.json$" then
      found[#found + 1] = file
    end
  end
  return found
end

--- The same but for what says whose a job is, and what has been proved: only what backups are made of.
function M.backup_files(folder)
  local found = {}
  for _, file in ipairs(M.files(folder)) do
    found[#found + 1] = not file:match "job%.json$" and not file:match "opened%.json$" and
      not file:match "%.proof%-%l+$" and file or nil
  end
  return found
end

--- The recipes and the commands (as words) of a page of the guide, with other paths than it has: {
--- [from] = to }.
function M.page(path, paths)
  local page, recipes, commands = mk.fs.read(path), {}, {}
  local function here(text)
    for from, to in pairs(paths) do
      text = text:gsub(from:gsub("%p", "%%%0"), (to:gsub("%%", "%%%%")))
    end
    return text
  end
  for text in page:gmatch "```lua\n(.-)\n```" do
    recipes[#recipes + 1] = here(text)
  end
  for block in page:gmatch "```sh\n(.-)\n```" do
    for line in block:gmatch "[^\n]+" do
      local words = {}
      for word in here(line):gmatch "%S+" do
        words[#words + 1] = word
      end
      commands[#commands + 1] = words
    end
  end
  return recipes, commands
end

--- Two stores must have the same files, but for what has been proved in each.
function M.same_stores(a, b)
  mk.process.run { argv = { "diff", "--recursive", "--exclude=*.proof-*", a, b } }
end

--- Every backup that can be seen below a store's folder must be whole: its objects are there, of the
--- size and with the digest that the manifest says (but for a key, which may be replaced). Returns how
--- many there are.
function M.whole_backups(store, what)
  local assert = require "luassert"
  local manifests = M.manifests(store)
  for _, file in ipairs(manifests) do
    local manifest = json.decode(mk.fs.read(store .. "/" .. file))
    local folder = store .. "/" .. file:gsub("%.json$", "/")
    assert.is_true(#manifest.objects > 0, what)
    for _, object in ipairs(manifest.objects) do
      local report = flow.run { { kind = "file", path = folder .. object.name,
        pieces = pieces.count(object) }, { kind = "sha256", label = "sum" } }
      if object.role ~= "key" then
        assert.equal(object.size, report.source.bytes_out, what)
        assert.equal(object.sha256, report.sum.result, what)
      end
    end
    assert.is_true(mk.fs.exists(folder .. "RESTORE.txt"), what)
  end
  return #manifests
end

--- Processes whose command line contains the text.
function M.processes(text)
  local found = {}
  for _, pid in ipairs(mk.fs.list "/proc") do
    if pid:match "^%d+$" then
      local ok, cmdline = pcall(mk.fs.read, "/proc/" .. pid .. "/cmdline")
      if ok and cmdline:find(text, 1, true) then
        found[#found + 1] = pid .. " " .. cmdline:gsub("%z", " ")
      end
    end
  end
  return found
end

--- A hot standby of a scratch cluster, in a folder of its own: { source, promote(), close() }. Its
--- closing comes before the cluster's. `options`: the server's, as in "-c name=value".
function M.standby(cluster, options)
  local tempdir = mk.fs.tempdir()
  local folder, major = tempdir.path, cluster.major
  if cluster.user then
    require "moonkeep.fs".chown(folder, cluster.user)
  end
  local function run(name, ...)
    mk.process.run { argv = { tools.find(name, major), ... }, user = cluster.user, cwd = folder }
  end
  run("pg_basebackup", "--pgdata=" .. folder .. "/data", "--write-recovery-conf",
    "--checkpoint=fast", "--no-sync", "--host=" .. cluster.folder, "--username=postgres")
  run("pg_ctl", "start", "--wait", "--silent", "--pgdata=" .. folder .. "/data", "--log=" ..
    folder .. "/log", "--options=-k " .. folder .. " -c listen_addresses= -c fsync=off " ..
    "-c dynamic_shared_memory_type=mmap " .. (options or ""))
  return setmetatable({ folder = folder,
    source = mk.pg { host = folder, user = "postgres", dbname = "postgres" },
    promote = function()
      run("pg_ctl", "promote", "--wait", "--silent", "--pgdata=" .. folder .. "/data")
    end,
    restart = function()
      run("pg_ctl", "restart", "--wait", "--silent", "--mode=fast", "--pgdata=" .. folder .. "/data",
        "--log=" .. folder .. "/log")
    end,
    close = function()
      run("pg_ctl", "stop", "--mode=immediate", "--silent", "--pgdata=" .. folder .. "/data")
      tempdir:close()
    end }, { __close = function(standby) standby.close() end })
end

--- PgBouncer before a scratch cluster, on a socket in a folder of its own: { folder, close() }.
function M.pooler(cluster, mode)
  local tempdir = mk.fs.tempdir()
  local folder = tempdir.path
  if cluster.user then
    require "moonkeep.fs".chown(folder, cluster.user)
  end
  mk.fs.write(folder .. "/pgbouncer.ini", ([[
[databases]
* = host=%s user=postgres
[pgbouncer]
listen_addr =
listen_port = 5432
unix_socket_dir = %s
auth_type = any
pool_mode = %s
logfile = %s/log
]]):format(cluster.folder, folder, mode, folder), 420)
  local child = mk.process.spawn { argv = { "/usr/sbin/pgbouncer", folder .. "/pgbouncer.ini" },
    user = cluster.user, cwd = folder }
  M.eventually("the pooler listens", function()
    return mk.fs.exists(folder .. "/.s.PGSQL.5432")
  end)
  return setmetatable({ folder = folder }, { __close = function()
    child:kill "TERM"
    child:wait()
    tempdir:close()
  end })
end

--- A scratch cluster with a database in which some SQL has been run.
function M.cluster_with(database, sql)
  local cluster = mk.pg.scratch {}
  local c <close> = cluster:create_database(database):connect()
  c:query(sql)
  return cluster
end

M.SMALL = [[
  CREATE TABLE fruit (id int PRIMARY KEY, name text NOT NULL, weight numeric, fresh boolean);
  INSERT INTO fruit SELECT i, 'fruit ' || i, i / 7.0, i % 2 = 0 FROM generate_series(1, 500) i;
  CREATE TABLE "odd ""name" (v jsonb);
  INSERT INTO "odd ""name" VALUES ('{"a": [1, null]}'), (NULL);
  CREATE VIEW heavy AS SELECT * FROM fruit WHERE weight > 50;
]]

--- Some 40 MB that compress slowly: for catching a dump in the middle.
M.BIG = [[
  CREATE TABLE big AS SELECT i, sha512(i::text::bytea) AS a, sha512((i * 7)::text::bytea) AS b
  FROM generate_series(1, 150000) i;
]]

return M
