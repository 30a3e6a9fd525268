-- One thing fails in a whole run, anywhere: the nth allocation, the nth call to the system, or the
-- process itself (SIGKILL) at its nth step. Whatever n is, the run ends, says why, publishes a
-- whole backup or none, leaves nothing running, and the next run works. See inject.c for how.
local mk = require "moonkeep"
local support = require "support"

describe("a backup in which", function()
  local cluster, dir, allocations, steps
  local n_stores = 0

  local function new_store()
    n_stores = n_stores + 1
    return ("%s/store%d"):format(dir.path, n_stores)
  end

  local function recipe(store)
    return ([[
      local mk = require "moonkeep"
      return mk.job { name = "nightly", verify = "decoded",
        source = mk.pg { host = %q, user = "postgres", dbname = "small" },
        upload = { mk.store("disk", "file://%s") } }]]):format(cluster.folder, store)
  end

  local function run_with(fault, store, env)
    env = env or {}
    env.LD_PRELOAD, env.MK_INJECT = support.INJECT, fault
    env.MOONKEEP_STATE = store .. ".state" -- else the job's lock would keep others from running
    return mk.timeout("60s", support.run_recipe, dir.path, recipe(store), { env = env })
  end

  local function count(role)
    local path = dir.path .. "/count"
    local run = run_with(role .. ":count:0", new_store(), { MK_INJECT_COUNT = path })
    assert.equal(0, run.code, run.stderr)
    local a, s = mk.fs.read(path):match "(%d+) (%d+)"
    return tonumber(a), tonumber(s)
  end

  setup(function()
    cluster = mk.pg.scratch { settings = { max_connections = "40" } }
    dir = mk.fs.tempdir()
    local c <close> = cluster:create_database("small"):connect()
    c:query(support.SMALL)
    allocations, steps = {}, {}
    for _, role in ipairs { "worker", "supervisor" } do
      allocations[role], steps[role] = count(role)
    end
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  local function partials(store)
    local found = {}
    for _, file in ipairs(support.files(store)) do
      found[#found + 1] = file:match "partial$" and file or nil
    end
    return found
  end

  local function nothing_runs()
    support.nothing_runs(cluster, "small")
  end

  -- The run was not killed, it ended by itself: what must be true then.
  local function check_end(run, store, fault)
    local published = support.whole_backups(store)
    assert.is_true(run.code <= 2, ("%s: exit code %d\n%s"):format(fault, run.code, run.stderr))
    assert.is_true(run.code ~= 2 or published == 0, fault) -- 2: the recipe could not be read
    if run.code == 0 then
      assert.equal(1, published, fault)
    elseif fault:match "^worker" then
      if not run.result then -- it failed before it could ask for JSON
        assert.matches("^FAILED  [%u_]+\n  %S", run.stderr)
        return
      end
      assert.equal("failed", run.result.status, fault)
      assert.is_true(#run.result.error.message > 0, fault)
      assert.are_not.equal("WORKER_DIED", run.result.error.code, fault .. "\n" .. run.stderr)
    else
      assert.is_true(#run.stderr > 0, fault)
    end
  end

  local function sweep(role, what, n, of)
    mk.each(support.spread(n, of), { parallel = 3 }, function(at)
      local store, fault = new_store(), ("%s:%s:%d"):format(role, what, at)
      local run = run_with(fault, store)
      check_end(run, store, fault)
      if what == "alloc" and role == "worker" then
        assert.same({}, partials(store), fault)
      end
      mk.fs.remove(store)
      mk.fs.remove(store .. ".state")
    end)
    nothing_runs()
  end

  for _, role in ipairs { "worker", "supervisor" } do
    it(("an allocation of the %s fails: says so, and publishes all or nothing"):format(role),
      function()
        sweep(role, "alloc", support.rounds("failing allocations of the " .. role, 200,
          allocations[role]), allocations[role])
      end)
    for _, what in ipairs { "EIO", "ENOSPC" } do
      it(("a call of the %s to the system fails with %s: the same"):format(role, what), function()
        sweep(role, what, support.rounds(("calls of the %s that fail with %s"):format(role, what),
          40, steps[role]), steps[role])
      end)
    end
  end

  local function next_run_works(store, before, fault)
    local run = support.run_recipe(dir.path, recipe(store),
      { env = { MOONKEEP_STATE = store .. ".state" } })
    assert.equal(0, run.code, fault .. "\n" .. run.stderr)
    assert.equal(before + 1, support.whole_backups(store), fault)
    assert.equal(5 * (before + 1), #support.backup_files(store), fault) -- what the dead one left is gone
  end

  for _, case in ipairs { { "worker", "kill" }, { "supervisor", "kill" },
    { "worker", "kill-both" } } do
    local role, what = table.unpack(case)
    local victims = what == "kill" and "the " .. role .. " is" or "both processes are"
    it(("%s killed at any step: no partial backup is seen, the next run works, " ..
      "nothing is left running"):format(victims), function()
      local n = support.rounds("steps at which " .. victims .. " killed", 12, steps[role])
      for _, at in ipairs(support.spread(n, steps[role])) do
        local store, fault = new_store(), ("%s:%s:%d"):format(role, what, at)
        local run = run_with(fault, store)
        support.eventually("no moonkeep is left", function()
          return #support.processes("--worker\0run\0" .. run.path) == 0
        end)
        -- A killed supervisor's worker sees to its end by itself.
        assert.are_not.equal(2, run.code, fault .. "\n" .. run.stderr)
        local published = support.whole_backups(store)
        assert.is_true(published <= 1, fault)
        nothing_runs()
        next_run_works(store, published, fault)
        mk.fs.remove(store)
      end
    end)
  end
end)
