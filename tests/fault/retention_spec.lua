-- Prunes that are killed, or whose calls fail, at every step: what is good stays, and the next one ends
-- the work.
local mk = require "moonkeep"
local support = require "support"

describe("a prune", function()
  local cluster, dir, template, wanted, held

  local function start(at, arguments, fault, count)
    return support.start(dir.path, arguments, { MOONKEEP_STATE = at .. "/state",
      LD_PRELOAD = fault and support.INJECT, MK_INJECT = fault, MK_INJECT_COUNT = count }):finish()
  end

  local function write_recipe(at, keep, keep_of_two)
    mk.fs.write(at .. "/nightly.lua", ([[
      local mk = require "moonkeep"
      return mk.job { name = "nightly", keep = %s,
        source = mk.pg { host = %q, user = "postgres", dbname = "small" },
        upload = { mk.store("one", "file://%s/one"), mk.store("two", "file://%s/two",
          { keep = %s }) } }]]):format(keep, cluster.folder, at, at, keep_of_two))
    return at .. "/nightly.lua"
  end

  local function ids(store)
    return mk.store("s", "file://" .. store):list("nightly", "small")
  end

  -- A copy of the template: five backups, of which the second is held.
  local n = 0
  local function place()
    n = n + 1
    local at = ("%s/%d"):format(dir.path, n)
    mk.process.run { argv = { "cp", "-r", template, at } }
    mk.process.run { argv = { "rm", "-rf", at .. "/state" } } -- stores have other URLs here
    write_recipe(at, "{ last = 1, floor = 1 }", "{ last = 3 }")
    return at
  end

  setup(function()
    cluster, dir = support.cluster_with("small", support.SMALL), mk.fs.tempdir()
    template = dir.path .. "/template"
    mk.fs.mkdir(template)
    local path = write_recipe(template, "{ last = 9 }", "{ last = 9 }")
    for _ = 1, 5 do
      assert.equal(0, start(template, { "run", path }).code)
    end
    local all = ids(template .. "/one")
    held = all[2]
    assert.equal(0, start(template, { "hold", held, "--from", path }).code)
    wanted = { one = { held, all[5] }, two = { held, all[3], all[4], all[5] } }
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  -- What must be true whatever happened.
  local function check_good(at, fault)
    for name, list in pairs(wanted) do
      assert.is_true(support.whole_backups(at .. "/" .. name, fault) >= #list, fault)
      local is_there = {}
      for _, id in ipairs(ids(at .. "/" .. name)) do
        is_there[id] = true
      end
      for _, id in ipairs(list) do
        assert.is_true(is_there[id], fault)
      end
    end
  end

  -- The next one leaves what the rules say, and not a file more.
  local function check_next(at, fault)
    local done = start(at, { "prune", at .. "/nightly.lua" })
    assert.equal(0, done.code, fault .. "\n" .. done.stderr)
    for name, list in pairs(wanted) do
      local store = at .. "/" .. name
      assert.same(list, ids(store), fault)
      assert.equal(#list, support.whole_backups(store, fault), fault)
      for _, file in ipairs(support.files(store)) do
        local id = file:match "%d+T%d+Z%-%x+"
        local is_meant = file == "nightly/job.json"
        for _, one in ipairs(list) do
          is_meant = is_meant or id == one
        end
        is_meant = is_meant or name == "one" and file:match "%.expired$" -- which two still has
        assert.truthy(is_meant and not file:match "partial$" and not file:match "lock$",
          fault .. ": " .. file)
      end
    end
    mk.fs.remove(at)
  end

  for _, case in ipairs { { "worker:kill", "is killed", 24 }, { "worker:ENOSPC", "finds no room", 16 },
    { "worker:EIO", "meets a bad disk", 16 } } do
    it(case[2] .. " at any step, and the next one ends its work", function()
      local counted = place()
      local count = counted .. "/count"
      assert.equal(0, start(counted, { "prune", counted .. "/nightly.lua" }, "worker:count:0",
        count).code)
      local steps = tonumber(mk.fs.read(count):match "%d+ (%d+)")
      local rounds = support.rounds(("steps at which a prune %s"):format(case[2]), case[3], steps)
      for _, step in ipairs(support.spread(rounds, steps)) do
        local at, fault = place(), ("%s:%d"):format(case[1], step)
        start(at, { "prune", at .. "/nightly.lua" }, fault)
        check_good(at, fault)
        check_next(at, fault)
      end
    end)
  end
end)
