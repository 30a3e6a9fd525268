-- Backups that earlier versions have made (tests/golden/backups) stay readable for ever: each is listed,
-- decoded, and restored into the newest server there is.
local mk = require "moonkeep"
local support = require "support"

local STORE = "file://" .. mk.fs.realpath "tests/golden/backups"

describe("a backup of an earlier version", function()
  local cluster, dir, store

  setup(function()
    cluster, dir, store = mk.pg.scratch(), mk.fs.tempdir(), mk.store("golden", STORE)
  end)
  teardown(function()
    cluster:close()
    dir:close()
  end)

  local function command(...)
    local done = support.start(dir.path, { ... }, { MOONKEEP_IDENTITY = "tests/golden/keys/identity.txt",
      MOONKEEP_PASSPHRASE = "correct horse battery staple" }):finish()
    assert.equal(0, done.code, done.stderr)
    return done
  end

  -- What tests/golden/backups.lua has put in.
  local function check(name)
    local c <close> = cluster:database(name):connect()
    assert.equal("500 125250 32d33c28bd9d9af6cd944639f3a175d1", c:value [[SELECT count(*) || ' ' ||
      sum(id) || ' ' || md5(string_agg(name || weight || fresh, '' ORDER BY id)) FROM fruit]])
    assert.equal(2, c:value [[SELECT count(*) FROM "odd ""name"]])
    assert.equal("00ff00ff", c:value "SELECT encode(lo_get(4711), 'hex')")
    assert.equal(150, c:value "SELECT count(*) FROM heavy")
  end

  local jobs = mk.store("golden", STORE):jobs()
  for _, job in ipairs(jobs) do
    it("is listed, decoded and restored: " .. job, function()
      assert.equal(1, #store:list(job, "app"))
      assert.matches(job, command("list", "--from", STORE, "--job", job).stdout)
      -- a copy, for what is proved is written beside it
      mk.process.run { argv = { "cp", "-r", STORE:gsub("^file://", "") .. "/" .. job,
        dir.path .. "/" .. job } }
      command("verify", "latest", "--from", "file://" .. dir.path, "--job", job, "--series", "app",
        "--level", "decoded")
      command("restore", "latest", "--from", "file://" .. dir.path, "--job", job, "--series", "app",
        "--into", ("host=%s user=postgres"):format(cluster.folder), "--database", job)
      check(job)
    end)
  end

  it("that is signed is believed", function()
    local public = mk.fs.read "tests/golden/keys/sign.key":match "is (RW%S+)\n"
    command("show", "latest", "--from", STORE, "--job", "signed", "--trust", public)
  end)

  it("is there of each kind", function()
    assert.is_true(#jobs >= 13)
  end)
end)
