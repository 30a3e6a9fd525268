local host = require "moonkeep.core.host"
local mk = require "moonkeep"

describe("mk.process.run", function()
  it("returns what the program printed", function()
    assert.equal("hello\n", mk.process.run { argv = { "echo", "hello" } })
    assert.equal("abc", mk.process.run { argv = { "cat" }, stdin = "abc" })
  end)

  it("never goes through a shell", function()
    assert.equal("$HOME; `id` *\n", mk.process.run { argv = { "echo", "$HOME; `id` *" } })
  end)

  it("sets and removes variables", function()
    local out = mk.process.run { argv = { "sh", "-c", "echo ${A-unset} ${HOME-unset}" },
      env = { A = "a=b", HOME = false } }
    assert.equal("a=b unset\n", out)
  end)

  it("raises with exit code and last words", function()
    local ok, err = pcall(mk.process.run, { argv = { "sh", "-c", "echo why >&2; exit 7" } })
    assert.is_false(ok)
    assert.equal("PROCESS_FAILED", err.code)
    assert.equal("sh failed with exit code 7", err.message)
    assert.equal("why", err.detail)
  end)

  it("refuses arguments that cannot be passed on", function()
    assert.has_error(function() mk.process.run { argv = {} } end)
    assert.has_error(function() mk.process.run { argv = { "echo", 5 } } end)
    assert.has_error(function() mk.process.run { argv = { "echo", "a\0b" } } end)
    assert.has_error(function() mk.process.run { argv = { "echo" }, env = { ["A=B"] = "x" } } end)
  end)

  it("is stopped when its task is", function()
    local began = host.monotonic()
    local ok, err = pcall(mk.timeout, "50ms", mk.process.run, { argv = { "sleep", "60" } })
    assert.is_false(ok)
    assert.equal("TIMEOUT", err.code)
    assert.is_true(host.monotonic() - began < 30000)
  end)
end)

describe("a child", function()
  it("is told about while it runs and after", function()
    local child = mk.process.spawn { argv = { "sh", "-c", "echo bye >&2; exit 3" } }
    assert.is_true(child:pid() > 1)
    local code, stderr = child:wait()
    assert.same({ 3, "bye\n" }, { code, stderr })
    assert.is_false(child:running())
    assert.same({ 3, "bye\n" }, { child:wait() })
  end)

  it("is killed when its block is left", function()
    local pid
    do
      local child <close> = mk.process.spawn { argv = { "sleep", "60" } }
      pid = child:pid()
      assert.is_true(mk.fs.exists("/proc/" .. pid))
    end
    assert.is_false(mk.fs.exists("/proc/" .. pid))
  end)

  it("is killed when it is forgotten", function()
    local pid = mk.process.spawn({ argv = { "sleep", "60" } }):pid()
    for _ = 1, 200 do
      collectgarbage()
      if not mk.fs.exists("/proc/" .. pid) then
        return
      end
      mk.sleep "10ms"
    end
    error "it is still there"
  end)
end)
