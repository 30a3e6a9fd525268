-- Rekeys that are killed, or whose calls fail, at every step: each backup is opened by the key of before
-- or by that of after, never by none, and the next one ends the work. The same for repairs.
local json = require "moonkeep.core.json"
local mk = require "moonkeep"
local support = require "support"

local FAULTS = { { "worker:kill", "is killed" }, { "worker:ENOSPC", "finds no room" },
  { "worker:EIO", "meets a bad disk" } }

describe("a rekey", function()
  local cluster, dir, template, before, after, ids, n

  local function start(at, arguments, fault, count)
    return support.start(dir.path, arguments, { MOONKEEP_STATE = at .. "/state",
      LD_PRELOAD = fault and support.INJECT, MK_INJECT = fault, MK_INJECT_COUNT = count }):finish()
  end

  local function keygen(name)
    local path = ("%s/%s.txt"):format(dir.path, name)
    local done = start(dir.path, { "keygen", path, "--json" })
    assert.equal(0, done.code, done.stderr)
    return { path = path, public = json.decode(done.stdout).public_key }
  end

  local function write_recipe(at, key)
    mk.fs.write(at .. "/nightly.lua", ([[
      local mk = require "moonkeep"
      return mk.job { name = "nightly", encrypt = { recipients = %q },
        source = mk.pg { host = %q, user = "postgres", dbname = "small" },
        upload = { mk.store("one", "file://%s/one"), mk.store("two", "file://%s/two") } }]]):format(
      key.public, cluster.folder, at, at))
    return at .. "/nightly.lua"
  end

  setup(function()
    cluster, dir, n = support.cluster_with("small", support.SMALL), mk.fs.tempdir(), 0
    before, after = keygen "before", keygen "after"
    template, ids = dir.path .. "/template", {}
    mk.fs.mkdir(template)
    local path = write_recipe(template, before)
    for i = 1, 2 do
      local done = start(template, { "run", path })
      assert.equal(0, done.code, done.stderr)
      ids[i] = done.result.backups[1].id
    end
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  -- A copy of the template, whose job has other recipients now.
  local function place()
    n = n + 1
    local at = ("%s/%d"):format(dir.path, n)
    mk.process.run { argv = { "cp", "-r", template, at } }
    mk.fs.remove(at .. "/state")
    write_recipe(at, after)
    return at
  end

  -- Every copy is opened by one of these keys.
  local function check_opens(at, what, ...)
    local arguments = { "verify", "--all", "--from", at .. "/nightly.lua", "--json" }
    for _, key in ipairs { ... } do
      arguments[#arguments + 1] = "--identity=" .. key.path
    end
    local done = start(at, arguments)
    assert.equal(0, done.code, what .. "\n" .. done.stderr)
    assert.equal(4, #json.decode(done.stdout).results, what)
  end

  local function rekey(at, ...)
    return start(at, { "rekey", "--all", "--from", at .. "/nightly.lua", "--identity",
      before.path }, ...)
  end

  -- How many steps there are.
  local function count_steps(run)
    local at = place()
    local done = run(at, "worker:count:0", at .. "/count")
    assert.equal(0, done.code, done.stderr)
    return tonumber(mk.fs.read(at .. "/count"):match "%d+ (%d+)")
  end

  -- The next run of the series sweeps, whatever was left.
  local function check_files(at, what)
    for _, name in ipairs { "one", "two" } do
      mk.store(name, ("file://%s/%s"):format(at, name)):sweep("nightly", "small")
      assert.equal(2, support.whole_backups(("%s/%s"):format(at, name), what))
      for _, file in ipairs(support.files(("%s/%s"):format(at, name))) do
        assert.is_nil(file:match "partial$" or file:match "lock$", what .. ": " .. file)
      end
    end
  end

  for _, case in ipairs(FAULTS) do
    it(case[2] .. " at any step, and the next one ends its work", function()
      local steps = count_steps(rekey)
      local rounds = support.rounds(("steps at which a rekey %s"):format(case[2]), 8, steps)
      for _, step in ipairs(support.spread(rounds, steps)) do
        local at, fault = place(), ("%s:%d"):format(case[1], step)
        rekey(at, fault)
        check_opens(at, fault, before, after)
        local done = rekey(at)
        assert.equal(0, done.code, fault .. "\n" .. done.stderr)
        check_opens(at, fault, after)
        for _, id in ipairs(ids) do
          assert.equal(1, start(at, { "ls", id, "--from", at .. "/one", "--identity",
            before.path }).code)
        end
        check_files(at, fault)
        mk.fs.remove(at)
      end
    end)
  end

  -- ---- repairs ------------------------------------------------------------------------------------

  -- The same place, after a rekey, with a copy that is damaged.
  local function damaged_place()
    local at = place()
    assert.equal(0, rekey(at).code)
    assert.equal(0, start(at, { "hold", ids[1], "--from", at .. "/nightly.lua" }).code)
    local folder = ("%s/two/nightly/small/%s/"):format(at, ids[1])
    for _, file in ipairs(support.files(folder)) do
      if file:find "%.dat%." or file:find "pack" then
        mk.fs.write(folder .. file, "damaged")
      end
    end
    return at
  end

  local function repair(at, ...)
    return start(at, { "verify", "--all", "--repair", "--from", at .. "/nightly.lua", "--identity",
      after.path, "--json" }, ...)
  end

  for _, case in ipairs(FAULTS) do
    it("is not lost by a repair that " .. case[2] .. " at any step, nor is a hold", function()
      local counted = damaged_place()
      local done = repair(counted, "worker:count:0", counted .. "/count")
      assert.equal(0, done.code, done.stderr)
      local steps = tonumber(mk.fs.read(counted .. "/count"):match "%d+ (%d+)")
      local rounds = support.rounds(("steps at which a repair %s"):format(case[2]), 8, steps)
      for _, step in ipairs(support.spread(rounds, steps)) do
        local at, fault = damaged_place(), ("%s:%d"):format(case[1], step)
        repair(at, fault)
        done = start(at, { "verify", ids[1], "--from", at .. "/one", "--identity", after.path })
        assert.equal(0, done.code, fault .. "\n" .. done.stderr) -- the good one is as it was
        -- The next one mends it; or it is not there any more, and is copied.
        done = repair(at)
        assert.equal(0, done.code, fault .. "\n" .. done.stderr)
        done = start(at, { "copy", "--all", "--from", at .. "/nightly.lua" })
        assert.equal(0, done.code, fault .. "\n" .. done.stderr)
        check_opens(at, fault, after)
        for _, name in ipairs { "one", "two" } do
          assert.is_true(mk.fs.exists(("%s/%s/nightly/small/%s.hold"):format(at, name, ids[1])), fault)
        end
        check_files(at, fault)
        mk.fs.remove(at)
      end
    end)
  end
end)
