local flow = require "moonkeep.flow"
local mk = require "moonkeep"

local function caught(stages)
  local ok, err = pcall(flow.run, stages)
  assert.is_false(ok)
  return err
end

describe("a flow", function()
  it("counts and hashes what passes", function()
    local report = flow.run {
      { kind = "memory", text = "abc" },
      { kind = "sha256", label = "digest" },
    }
    assert.equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      report.digest.result)
    assert.equal(3, report.digest.bytes_in)
    assert.equal(3, report.source.bytes_out)
    assert.equal("06b05ab6733a618578af5f94892f3950", flow.run({ { kind = "memory", text = "abc" },
      { kind = "xxh3", label = "digest" } }).digest.result)
  end)

  it("compresses so that stock programs read it, and reads what they write", function()
    local dir <close> = mk.fs.tempdir()
    local cases = { { "gzip:1", "gzip" }, { "gzip:6", "gzip" }, { "lz4:1", "lz4" },
      { "lz4:12", "lz4" }, { "zstd:3", "zstd" } }
    for _, case in ipairs(cases) do
      local codec, program = table.unpack(case)
      local ours, theirs = dir.path .. "/ours." .. program .. codec:sub(-1), dir.path .. "/theirs"
      flow.run {
        { kind = "process", argv = { "seq", "1", "500000" } },
        { kind = "encode", codec = codec },
        { kind = "file", path = ours },
      }
      assert.equal(mk.process.run { argv = { "sh", "-c", "seq 1 500000 | sha256sum" } },
        mk.process.run { argv = { "sh", "-c", program .. " -dc <" .. ours .. " | sha256sum" } })

      mk.process.run { argv = { "sh", "-c", "seq 1 500000 | " .. program .. " -c >" .. theirs } }
      local report = flow.run {
        { kind = "file", path = theirs },
        { kind = "decode", codec = program },
        { kind = "sha256", label = "plain" },
      }
      assert.matches("^" .. report.plain.result,
        mk.process.run { argv = { "sh", "-c", "seq 1 500000 | sha256sum" } })
      mk.fs.remove(theirs)
    end
  end)

  it("gives every branch of a tee the same bytes", function()
    local report = flow.run {
      { kind = "process", argv = { "seq", "1", "300000" } },
      { kind = "tee",
        { { kind = "sha256", label = "a" } },
        { { kind = "encode", codec = "gzip:1" }, { kind = "tee",
          { { kind = "decode", codec = "gzip" }, { kind = "sha256", label = "b" } },
          { { kind = "null" } } } } },
    }
    assert.equal(report.a.result, report.b.result)
  end)

  it("refuses a description that makes no sense", function()
    assert.matches("cannot begin with \"sha256\"", tostring(caught { { kind = "sha256" } }))
    assert.matches("no sink after", tostring(caught { { kind = "memory", text = "" } }))
    assert.matches("must be the last stage", tostring(caught {
      { kind = "memory", text = "" }, { kind = "null" }, { kind = "null" } }))
    assert.matches("kind is missing", tostring(caught { {} }))
    assert.matches("no stages", tostring(caught {}))
    assert.matches("cannot end with \"memory\"", tostring(caught {
      { kind = "memory", text = "" }, { kind = "memory", text = "" } }))
    local err = caught { { kind = "memory", text = "" }, { kind = "encode", codec = "lzma" },
      { kind = "null" } }
    assert.matches("unknown codec \"lzma\"", err.message)
    assert.matches("valid are", err.hint)
  end)

  it("keeps every byte of a text, NUL included", function()
    assert.equal(7, flow.run({ { kind = "memory", text = "ab\0cd\0e" },
      { kind = "null", label = "n" } }).n.bytes_in)
  end)

  it("never publishes another one's unfinished file", function()
    local dir <close> = mk.fs.tempdir()
    local path = dir.path .. "/out"
    local results = mk.each({ 1, 2, 3, 4, 5, 6 }, { parallel = 6 }, function(i)
      mk.sleep((i * 3) .. "ms")
      return pcall(flow.run, {
        { kind = "process", argv = { "sh", "-c", "seq 1 20000; sleep 0.02; seq 1 20000" } },
        { kind = "file", path = path },
      })
    end)
    local good = 0
    for _, ok in ipairs(results) do
      good = good + (ok and 1 or 0)
    end
    assert.equal(1, good)
    assert.equal(2 * 108894, mk.fs.stat(path).size)
    assert.equal(2, #mk.fs.list(dir.path)) -- the file and the folder's lock
  end)

  it("cannot be run twice", function()
    local core = require "moonkeep.core.flow"
    local once = core.new { { kind = "memory", text = "x" }, { kind = "null" } }
    once:run()
    assert.has_error(function() once:run() end)
  end)

  it("is stopped with its task, and leaves no file", function()
    local dir <close> = mk.fs.tempdir()
    local ok, err = pcall(mk.timeout, "50ms", flow.run, {
      { kind = "process", argv = { "sh", "-c", "echo x; exec sleep 60" } },
      { kind = "file", path = dir.path .. "/out" },
    })
    assert.is_false(ok)
    assert.equal("TIMEOUT", err.code)
    assert.same({ "lock" }, mk.fs.list(dir.path))
  end)

  it("is given back to the collector in any state", function()
    local core = require "moonkeep.core.flow"
    local before = core.memory()
    for _ = 1, 50 do
      core.new { { kind = "memory", text = "x" }, { kind = "encode", codec = "gzip:6" },
        { kind = "null" } }
      core.new({ { kind = "memory", text = "x" }, { kind = "null" } }):run()
    end
    collectgarbage()
    collectgarbage()
    assert.equal(before, (core.memory()))
  end)
end)
