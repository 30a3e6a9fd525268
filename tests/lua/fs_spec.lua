local core = require "moonkeep.core.fs"
local mk = require "moonkeep"

describe("mk.fs", function()
  it("makes temporary folders, and removes them, beside others that do, and sweep", function()
    local dir <close> = mk.fs.tempdir()
    local script = dir.path .. "/make.lua"
    mk.fs.write(script, [[
      local core = require "moonkeep.core.fs"
local mk = require "moonkeep"
      for i = 1, 200 do
        local one <close> = mk.fs.tempdir()
        mk.fs.write(one.path .. "/x", "y")
        assert(mk.fs.read(one.path .. "/x") == "y")
      end]])
    mk.each({ 1, 2, 3, 4, 5, 6 }, { parallel = 6 }, function()
      mk.process.run { argv = { os.getenv "MOONKEEP" or "build/release/moonkeep", "--script", script },
        env = { TMPDIR = dir.path } }
    end)
    assert.equal(2, #mk.fs.list(dir.path)) -- the script, and the lock of the folder itself
  end)

  it("writes, reads, lists and removes", function()
    local dir <close> = mk.fs.tempdir()
    mk.fs.mkdir(dir.path .. "/a/b")
    mk.fs.write(dir.path .. "/a/b/file", "text\0bytes")
    assert.equal("text\0bytes", mk.fs.read(dir.path .. "/a/b/file"))
    assert.equal(384, mk.fs.stat(dir.path .. "/a/b/file").mode)
    assert.same({ "b" }, mk.fs.list(dir.path .. "/a"))
    mk.fs.remove(dir.path .. "/a")
    assert.is_nil(mk.fs.stat(dir.path .. "/a"))
  end)

  it("groups names by what is before their first dot", function()
    local dir <close> = mk.fs.tempdir()
    local folder = dir.path .. "/in"
    mk.fs.mkdir(folder .. "/a")
    for _, name in ipairs { "b.json", "a.proof-read", "a.json", ".a.lock", "c" } do
      mk.fs.write(folder .. "/" .. name, "")
    end
    local stems, endings = core.stems(folder)
    assert.same({ { "a", "b", "c" }, { "//json/proof-read", "/json", "/" } }, { stems, endings })
    assert.same({ stems, endings }, { core.group(mk.fs.list(folder)) })
    assert.same({ {}, {} }, { core.group {} })
    assert.same({ { "a" }, { "/x" } }, { core.group { "a.x", "no\0name", 5 } })
    local ok, err = pcall(core.stems, dir.path .. "/none")
    assert.is_false(ok)
    assert.equal("NOT_FOUND", err.code)
  end)

  it("raises a named error with the path in it", function()
    local ok, err = pcall(mk.fs.read, "/no/such/file")
    assert.is_false(ok)
    assert.equal("NOT_FOUND", err.code)
    assert.matches("/no/such/file", err.message)
  end)

  it("lets one of many exclusive writers win, with its own text", function()
    local dir <close> = mk.fs.tempdir()
    for round = 1, 20 do
      local path = dir.path .. "/x" .. round
      local winner
      mk.each({ "a", "b", "c", "d" }, { parallel = 4 }, function(text)
        local ok, err = pcall(mk.fs.write, path, text:rep(5000), 384, true)
        if ok then
          assert.is_nil(winner)
          winner = text
        else
          assert.equal("ALREADY_EXISTS", err.code)
        end
      end)
      assert.equal(winner:rep(5000), mk.fs.read(path))
    end
    assert.equal(21, #mk.fs.list(dir.path))
  end)

  it("lets one holder have a lock", function()
    local dir <close> = mk.fs.tempdir()
    local path = dir.path .. "/l"
    do
      local lock <close> = mk.fs.lock(path)
      assert.is_not_nil(lock)
      assert.is_nil(mk.fs.lock(path))
    end
    local lock <close> = mk.fs.lock(path)
    assert.is_not_nil(lock)
  end)

  it("removes the temporary folders of dead runs and of nobody else", function()
    local alive <close> = mk.fs.tempdir()
    local dead = mk.fs.mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/moonkeep-tmp-XXXXXX")
    mk.fs.write(dead .. "/lock", "")
    local making = mk.fs.mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/moonkeep-tmp-XXXXXX")
    local another <close> = mk.fs.tempdir()
    assert.is_true(mk.fs.exists(alive.path))
    assert.is_true(mk.fs.exists(another.path))
    assert.is_false(mk.fs.exists(dead))
    assert.is_true(mk.fs.exists(making)) -- too young to be judged
    mk.fs.remove(making)
  end)
end)
