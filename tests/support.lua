--- What the specs share: running the binary on a recipe, and a server to try things on.
local json = require "moonkeep.core.json"
local mk = require "moonkeep"

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

--- Calls fn, which must raise, and returns the error.
function M.caught(fn, ...)
  local ok, err = pcall(fn, ...)
  assert(not ok, "it did not raise")
  return err
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

--- Calls fn until it returns something true; raises after ten seconds.
function M.eventually(what, fn)
  for _ = 1, 1000 do
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
    if file:match "%.json$" then
      found[#found + 1] = file
    end
  end
  return found
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
