-- The two processes of a run between themselves: what is said arrives whole, and the end comes,
-- whatever a recipe has left or does not let go of.
local mk = require "moonkeep"
local support = require "support"

describe("a run", function()
  local dir

  setup(function()
    dir = mk.fs.tempdir()
  end)
  teardown(function()
    dir:close()
  end)

  local function run(text, options)
    return support.run_recipe(dir.path, text, options)
  end

  it("ends although tasks, timers, children, locks and flows were left to the end", function()
    local path = dir.path .. "/leave.lua"
    mk.fs.write(path, [[
      local core_task = require "moonkeep.core.task"
      local core_fs = require "moonkeep.core.fs"
      local core_flow = require "moonkeep.core.flow"
      local process = require "moonkeep.core.process"
      KEEP = { core_task.scope(), core_task.scope(), process.spawn { argv = { "sleep", "60" } },
        core_fs.lock(... .. "/leave.lock"), coroutine.wrap(function()
          local _ <close> = setmetatable({}, { __close = print })
          coroutine.yield()
        end), core_flow.new { { kind = "process", argv = { "yes" } }, { kind = "null" } } }
      KEEP[1]:spawn(function() core_task.sleep(60000) end)
      KEEP[2]:deadline(60000, "late")
      KEEP[5]()
      KEEP[1]:spawn(function()
        core_flow.new({ { kind = "process", argv = { "yes" } }, { kind = "null" } }):run()
      end)
      core_task.sleep(50)
      return 7]])
    local result = support.start(dir.path, { "--script", path, dir.path }):finish()
    assert.equal(7, result.code, result.stderr)
    assert.equal("", result.stderr)
  end)

  it("tells an error once, and exits with it", function()
    local result = run([[
      local mk = require "moonkeep"
      return mk.job { name = "x", run = function()
        mk.all { function()
          coroutine.wrap(function()
            local function deep() mk.error("MINE", "once") end
            deep()
          end)()
        end }
      end }]], { flags = { "-v" } })
    assert.equal(1, result.code)
    local results = 0
    for _, event in ipairs(result.events) do
      results = results + (event.event == "result" and 1 or 0)
    end
    assert.equal(1, results)
    local _, times = result.stderr:gsub("once", "")
    assert.equal(1, times)
    assert.matches("in local 'deep'", result.result.error.traceback)
  end)

  it("needs neither Lua's own files nor a folder that it may write to", function()
    local recipe = dir.path .. "/anywhere.lua"
    mk.fs.write(recipe, [[
      local mk = require "moonkeep"
      return mk.job { name = "x", run = function() mk.sleep "0 parsecs" end }]])
    local binary = mk.fs.realpath(support.binary)
    local out = dir.path .. "/anywhere.out"
    local child = mk.process.spawn { cwd = "/proc", env = { LUA_PATH = "/nowhere/?.lua",
      LUA_PATH_5_4 = "/nowhere/?.lua", LUA_CPATH = "/nowhere/?.so", HOME = "/nowhere", OUT = out },
      argv = { "sh", "-c", 'exec "$0" run -v "$1" 2>"$OUT"', binary, recipe } }
    assert.equal(1, (child:wait()))
    local event = mk.json.decode(mk.fs.read(out):match "[^\n]+result[^\n]+")
    assert.equal("INVALID", event.error.code)
    assert.matches("anywhere.lua:2", event.error.where)
    assert.matches("moonkeep/task.lua:%d+: in function", event.error.traceback)
  end)

  describe("whatever is said", function()
    it("arrives with its NULs, and in one piece however long", function()
      local long = 3 * 1024 * 1024 + 77
      local result = run(([[
        local mk = require "moonkeep"
        return mk.job { name = "x", run = function()
          print "a\0b"
          print(("é"):rep(%d))
        end }]]):format(long))
      assert.equal(0, result.code, result.stderr)
      assert.equal("a\0b\n" .. ("é"):rep(long) .. "\n", result.stdout)
    end)

    it("in another encoding, or cut inside a character, does not hide the error", function()
      local result = run [[
        local mk = require "moonkeep"
        return mk.job { name = "x", run = function()
          mk.log.warn("caf\xe9")
          mk.log.warn(("é"):rep(3000))
          mk.log.warn("x" .. ("é"):rep(3000))
          mk.process.run { argv = { "sh", "-c", "printf 'caf\\351 kaputt\\n' >&2; exit 3" } }
        end }]]
      assert.equal("PROCESS_FAILED", result.result.error.code)
      assert.equal("caf\u{fffd} kaputt", result.result.error.detail)
      local warnings = 0
      for _, event in ipairs(result.events) do
        warnings = warnings + (event.level == "warn" and 1 or 0)
      end
      assert.equal(3, warnings)
    end)

    it("in an error is cut where nobody reads on", function()
      local result = run [[
        local mk = require "moonkeep"
        return mk.job { name = "x", run = function() mk.error("MINE", ("x"):rep(1 << 22)) end }]]
      assert.equal("MINE", result.result.error.code)
      assert.is_true(#result.result.error.message < 100000)
    end)
  end)

  it("tells that memory is out also when it is out for the scheduler", function()
    local result = run([[
      local mk = require "moonkeep"
      return mk.job { name = "x", run = function()
        local head = {}
        local function fill(n)
          pcall(function()
            while true do head = { head, n > 0 and ("x"):rep(n) .. tostring(head) or false } end
          end)
        end
        pcall(mk.timeout, "300ms", function()
          for _, size in ipairs { 65536, 4096, 512, 64, 0, 0, 0 } do fill(size) end
          mk.sleep "5s"
        end)
        head = nil
        print "as good as new"
      end }]], { flags = { "--lua-memory", "8MiB" } })
    assert.equal(0, result.code, result.stderr)
    assert.equal("as good as new\n", result.stdout)
  end)

  it("ends a worker whose finalizer never returns, and says so; not one that has more to do", function()
    mk.fs.mkdir(dir.path .. "/state/locks")
    local held = mk.fs.lock(dir.path .. "/state/locks/second.lock") -- it waits for its turn meanwhile
    local waiting = support.start_recipe(dir.path, [[
      local mk = require "moonkeep"
      return { mk.job { name = "first", run = function() end },
        mk.job { name = "second", overlap = "queue", run = function() end } }]])
    local result = run [[
      local mk = require "moonkeep"
      return mk.job { name = "x", run = function()
        setmetatable({}, { __gc = function() while true do end end })
      end }]]
    assert.equal(1, result.code)
    assert.equal("WORKER_DIED", result.result.error.code)
    assert.matches("15 s after its last result", result.result.error.message)
    mk.sleep "1s"
    assert.is_true(waiting.child:running())
    held:close()
    assert.equal(0, waiting:finish().code, waiting.stderr)
    assert.equal("second", waiting.result.job)
  end)

  it("tells a run that was stopped before its closers were done", function()
    local started = support.start_recipe(dir.path, [[
      local mk = require "moonkeep"
      return mk.job { name = "x", run = function()
        print "ready"
        mk.shield(function() mk.sleep "60s" end, "60s")
      end }]])
    local function signal()
      mk.process.run { argv = { "kill", "-TERM", tostring(started.child:pid()) } }
    end
    support.eventually("it runs", function()
      return mk.fs.exists(started.out) and mk.fs.read(started.out):find "ready"
    end)
    signal()
    signal() -- at once: the same request again
    mk.sleep "1200ms"
    assert.is_true(started.child:running())
    signal()
    started:finish()
    assert.equal(143, started.code)
    assert.equal("CANCELED", started.result.error.code)
    assert.matches("before its closers were done", started.result.error.message)
  end)
end)
