-- kill -9 at any step of a backup into two stores, and of `copy`: what can be seen is whole in each
-- store, and `copy` completes what is missing.
local mk = require "moonkeep"
local support = require "support"

describe("a process that is killed", function()
  local cluster, dir
  local n = 0

  setup(function()
    cluster, dir = support.cluster_with("small", support.SMALL), mk.fs.tempdir()
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  -- A recipe with two folders: { path, one, two }.
  local function place()
    n = n + 1
    local self = { path = ("%s/%d.lua"):format(dir.path, n), one = ("%s/%d/one"):format(dir.path, n),
      two = ("%s/%d/two"):format(dir.path, n), state = ("%s/%d/state"):format(dir.path, n) }
    mk.fs.write(self.path, ([[
      local mk = require "moonkeep"
      return mk.job { name = "nightly", piece_size = "1KiB",
        source = mk.pg { host = %q, user = "postgres", dbname = "small" },
        upload = { mk.store("one", "file://%s"), mk.store("two", "file://%s") } }]]):format(
      cluster.folder, self.one, self.two))
    return self
  end

  local function start(at, arguments, fault, count)
    return support.start(dir.path, arguments, { MOONKEEP_STATE = at.state,
      LD_PRELOAD = fault and support.INJECT, MK_INJECT = fault, MK_INJECT_COUNT = count }):finish()
  end

  local function complete(at, fault)
    local done = start(at, { "copy", "--all", "--from", at.path })
    assert.equal(0, done.code, fault .. "\n" .. done.stderr)
    assert.same(support.manifests(at.one), support.manifests(at.two))
    for _, file in ipairs(support.manifests(at.one)) do
      for _, name in ipairs { file, (file:gsub("%.json$", "")) } do
        support.same_stores(at.one .. "/" .. name, at.two .. "/" .. name)
      end
    end
  end

  -- Nothing is left of what was killed, once a run has looked.
  local function check_clean(at, fault)
    for _, store in ipairs { at.one, at.two } do
      for _, file in ipairs(support.files(store)) do
        assert.is_nil(file:match "partial$" or file:match "lock$", fault)
      end
    end
    support.same_stores(at.one, at.two)
  end

  -- Kills the worker of a command at steps evenly spread over all. `prepare(at)` makes what is there
  -- before it; `check(at, fault)` looks after it.
  local function fail_at_steps(kind, what, arguments, prepare, check)
    local counted, path = place(), dir.path .. "/count"
    prepare(counted)
    assert.equal(0, start(counted, arguments(counted), "worker:count:0", path).code)
    local steps = tonumber(mk.fs.read(path):match "%d+ (%d+)")
    local rounds = support.rounds(("steps at which %s %s"):format(what, kind == "kill" and "is killed" or
      "finds no room"), 16, steps)
    for _, step in ipairs(support.spread(rounds, steps)) do
      local at, fault = place(), ("worker:%s:%d"):format(kind, step)
      prepare(at)
      start(at, arguments(at), fault)
      support.whole_backups(at.one, fault)
      support.whole_backups(at.two, fault)
      check(at, fault)
      mk.fs.remove((at.one:gsub("/one$", "")))
    end
  end

  it("in a backup into two stores leaves what is whole, and copy completes it", function()
    fail_at_steps("kill", "a backup into two stores", function(at) return { "run", at.path } end,
      function() end, function(at, fault)
        if #support.manifests(at.one) + #support.manifests(at.two) > 0 then
          complete(at, fault)
        end
        local run = start(at, { "run", at.path })
        assert.equal(0, run.code, fault .. "\n" .. run.stderr)
        complete(at, fault)
        check_clean(at, fault)
      end)
  end)

  for _, kind in ipairs { "kill", "ENOSPC" } do
    it(("in a copy leaves the source as it was, and the next copy completes it (%s)"):format(kind),
      function()
        fail_at_steps(kind, "a copy", function(at) return { "copy", "--all", "--from", at.path } end,
          function(at)
            assert.equal(0, start(at, { "run", at.path }).code)
            mk.fs.remove(at.two)
          end, function(at, fault)
            assert.equal(1, #support.manifests(at.one), fault)
            complete(at, fault)
            assert.equal(0, start(at, { "run", at.path }).code)
            check_clean(at, fault)
          end)
      end)
  end
end)
