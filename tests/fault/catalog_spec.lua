-- Writes of the catalog that are killed, or fail, at every step: what is in the stores is all there,
-- what the catalog says of it is true, and the next write works.
local json = require "moonkeep.core.json"
local mk = require "moonkeep"
local support = require "support"

describe("a write of the catalog", function()
  local cluster, dir, template, recipe, ids, n

  local function start(at, arguments, fault, count)
    return support.start(dir.path, arguments, { MOONKEEP_STATE = at, MK_INJECT = fault,
      LD_PRELOAD = fault and support.INJECT, MK_INJECT_COUNT = count }):finish()
  end

  setup(function()
    cluster, dir, n = support.cluster_with("small", support.SMALL), mk.fs.tempdir(), 0
    template, recipe, ids = dir.path .. "/template", dir.path .. "/nightly.lua", {}
    mk.fs.write(recipe, ([[
      local mk = require "moonkeep"
      return mk.job { name = "nightly", upload = { mk.store("one", "file://%s/one") },
        source = mk.pg { host = %q, user = "postgres", dbname = "small" } }]]):format(dir.path,
      cluster.folder))
    for i = 1, 3 do
      local done = start(template, { "run", recipe })
      assert.equal(0, done.code, done.stderr)
      ids[i] = done.result.backups[1].id
    end
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  -- What is listed is what is there, with its proof.
  local function check(at, what)
    local done = start(at, { "list", "--from", recipe, "--json" })
    assert.equal(0, done.code, what .. "\n" .. done.stderr)
    local list = json.decode(done.stdout).backups
    assert.equal(3, #list, what)
    for i, entry in ipairs(list) do
      assert.equal(ids[i], entry.id, what)
      assert.equal("read", entry.proof, what)
    end
    assert.equal(0, start(at, { "status", recipe }).code, what)
  end

  for _, case in ipairs { { "worker:kill", "is killed" }, { "worker:ENOSPC", "finds no room" },
    { "worker:EIO", "meets a bad disk" } } do
    it(case[2] .. " at any step, and the next one ends its work", function()
      local function rebuild(at, ...)
        return start(at, { "catalog", "rebuild", recipe }, ...)
      end
      local function place()
        n = n + 1
        local at = ("%s/%d"):format(dir.path, n)
        mk.process.run { argv = { "cp", "-r", template, at } }
        return at
      end
      local count = dir.path .. "/count"
      assert.equal(0, rebuild(place(), "worker:count:0", count).code)
      local steps = tonumber(mk.fs.read(count):match "%d+ (%d+)")
      mk.fs.remove(count)
      local rounds = support.rounds(("steps at which a write of the catalog %s"):format(case[2]), 8,
        steps)
      for _, step in ipairs(support.spread(rounds, steps)) do
        local at, fault = place(), ("%s:%d"):format(case[1], step)
        rebuild(at, fault)
        check(at, fault)
        local done = rebuild(at)
        assert.equal(0, done.code, fault .. "\n" .. done.stderr)
        check(at, fault)
        assert.matches("3 backups", done.stdout, 1, true)
        mk.fs.remove(at)
      end
    end)
  end
end)
