-- The scheduler and the bindings under attack: what recipes can do to coroutines, shields, closers
-- and finalizers that no well-meaning one would. Each was a crash, a hang or a wrong report once.
-- Most are worth little without a sanitizer: the same file runs in the ASan build.
local core = require "moonkeep.core.task"
local core_process = require "moonkeep.core.process"
local core_flow = require "moonkeep.core.flow"
local host = require "moonkeep.core.host"
local mk = require "moonkeep"
local support = require "support"

local caught, eventually = support.caught, support.eventually

local function closer(fn)
  return setmetatable({}, { __close = fn })
end

-- Makes and forgets enough for freed memory to be used again.
local function churn()
  collectgarbage()
  collectgarbage()
  local garbage = {}
  for i = 1, 2000 do
    garbage[i] = ("x"):rep(40) .. i
  end
  return garbage
end

describe("a shield", function()
  it("in a coroutine that is left suspended ends with its task", function()
    for _, forget in ipairs { true, false } do
      local kept
      mk.all { function()
        kept = coroutine.wrap(function()
          mk.shield(function() coroutine.yield() end, "60ms")
        end)
        kept()
      end }
      kept = not forget and kept or nil
      churn()
      mk.sleep "100ms"
      assert.is_true(forget or kept ~= nil)
    end
  end)

  it("in a coroutine that is suspended shields nothing", function()
    local began, kept = host.monotonic(), nil
    assert.equal("TIMEOUT", caught(mk.timeout, "50ms", function()
      kept = coroutine.wrap(function()
        mk.shield(function() coroutine.yield() end, "60s")
      end)
      kept()
      mk.sleep "30s"
    end).code)
    assert.is_true(host.monotonic() - began < 20000)
  end)

  it("inside another one has a limit of its own", function()
    local outer_held, inner_ended = false, false
    caught(mk.timeout, "20ms", function()
      mk.shield(function()
        mk.shield(function()
          inner_ended = not pcall(mk.sleep, "20s") -- the outer one still holds: no raise
        end, "40ms")
        mk.sleep "30ms"
        outer_held = true
      end, "200ms")
    end)
    assert.is_true(inner_ended) -- at the outer one's limit
    assert.is_false(outer_held)
    local after = false
    caught(mk.timeout, "20ms", function()
      mk.shield(function()
        mk.shield(function() mk.sleep "60ms" end, "30ms")
        mk.sleep "30ms"
        after = true
      end, "30s")
    end)
    assert.is_true(after)
  end)
end)

describe("a task that is killed", function()
  it("may use generators in its closers", function()
    local values = {}
    caught(mk.all, { function()
      local _ <close> = closer(function()
        churn()
        pcall(mk.sleep, "1ms")
      end)
      local _ <close> = closer(function()
        for value in coroutine.wrap(function() coroutine.yield(1) coroutine.yield(2) end) do
          values[#values + 1] = value
        end
      end)
      coroutine.yield()
    end })
    assert.same({ 1, 2 }, values)
  end)

  it("cannot await in them, which is said in words", function()
    local err
    caught(mk.all, { function()
      local _ <close> = closer(function() err = caught(mk.sleep, "1ms") end)
      coroutine.yield()
    end })
    assert.matches("while a task is being killed", tostring(err))
  end)

  it("takes the tasks of a scope with it whose end it awaits", function()
    local finished = false
    caught(mk.all, { function()
      local outer <close> = core.scope()
      outer:spawn(function()
        local inner <close> = core.scope()
        inner:spawn(function()
          mk.shield(function() mk.sleep "100ms" finished = true end)
        end)
        mk.sleep "5ms"
      end)
      mk.sleep "20ms"
      coroutine.yield()
    end })
    churn()
    mk.sleep "150ms"
    assert.is_false(finished)
  end)
end)

describe("a task's own coroutine", function()
  local function attack(how)
    local co
    local results = {}
    mk.all {
      function() co = coroutine.running() mk.sleep "30ms" results.woke = true end,
      function()
        mk.sleep "5ms"
        results[1], results[2] = pcall(how, co)
        results.status = coroutine.status(co)
      end,
    }
    assert.is_true(results.woke)
    assert.equal("normal", results.status)
    return results, co
  end

  it("can be resumed by the scheduler only, also when it is over", function()
    local results, co = attack(function(co)
      local ok, err = coroutine.resume(co)
      assert.is_false(ok)
      return err
    end)
    assert.equal("cannot resume non-suspended coroutine", results[2])
    assert.is_false((coroutine.resume(co)))
  end)

  it("can be closed by the scheduler only", function()
    local results = attack(coroutine.close)
    assert.is_false(results[1])
    assert.matches("is a task's", tostring(results[2]))
  end)
end)

describe("a handle", function()
  it("is closed in a closer of a cancelled task without a strike against it", function()
    local path, is_ready
    local err = caught(mk.all, {
      function()
        local dir <close> = mk.fs.tempdir()
        path = dir.path
        local _ <close> = mk.process.spawn { argv = { "sleep", "60" } }
        local _ <close> = mk.process.spawn { argv = { "sleep", "60" } }
        local _ <close> = mk.process.spawn { argv = { "sleep", "60" } }
        local _ <close> = mk.process.spawn { argv = { "sleep", "60" } }
        is_ready = true
        mk.sleep "60s"
      end,
      function()
        eventually("all are there", function() return is_ready end)
        error "enough"
      end,
    })
    assert.equal("enough", err.message)
    assert.is_false(mk.fs.exists(path))
  end)

  it("is waited for by one task at a time, whatever becomes of that task", function()
    local child = mk.process.spawn { argv = { "sleep", "60" } }
    local err = caught(mk.all, {
      function() child:wait() end,
      function() mk.sleep "20ms" error "enough" end,
      function() pcall(mk.sleep, "20ms") local _ <close> = child end,
    })
    assert.equal("enough", err.message)
  end)

  it("that was finalized says so", function()
    local child = mk.process.spawn { argv = { "true" } }
    local flow = core_flow.new { { kind = "memory", text = "" }, { kind = "null" } }
    for _, handle in ipairs { child, flow } do
      local gc = debug.getmetatable(handle).__gc
      gc(handle)
      gc(handle)
    end
    assert.matches("the process is gone", caught(child.pid, child))
    assert.matches("the flow is gone", caught(flow.report, flow))
    assert.has_no.errors(function() child:close() end)
  end)
end)

describe("a command line", function()
  it("is what its table holds, not what a metatable says", function()
    local n = 0
    local argv = setmetatable({ "true" }, { __len = function() n = n + 1 return n end })
    local child <close> = core_process.spawn { argv = argv }
    assert.equal(0, child:wait())
    assert.equal(0, n)
  end)
end)

describe("a traceback", function()
  it("is that of the error itself, not of one that was dealt with before", function()
    local err = caught(mk.all, { function()
      coroutine.resume(coroutine.create(function()
        local function an_old_mistake() error "old" end
        an_old_mistake()
      end))
      error "new"
    end })
    assert.is_nil(err.traceback:find "an_old_mistake")
    err = caught(mk.all, { function()
      coroutine.wrap(function()
        local function the_mistake() error "x" end
        the_mistake()
      end)()
    end })
    assert.matches("the_mistake", err.traceback)
    assert.matches("resumed by", err.traceback)
  end)
end)

describe("closers", function()
  it("run on break out of a loop whose variable is captured", function()
    -- Lua 5.4.4 calls nil for the fourth value of `for` there: a local is what works.
    local closed, captured = 0, {}
    for i = 1, 3 do
      local _ <close> = closer(function() closed = closed + 1 end)
      captured[i] = function() return i end
      if i == 2 then
        break
      end
    end
    assert.equal(2, closed)
    assert.equal(2, captured[2]())
  end)

  it("run when an error leaves a coroutine that nobody protects", function()
    local closed = {}
    caught(mk.all, { function()
      coroutine.wrap(function()
        local _ <close> = closer(function() mk.sleep "1ms" closed[#closed + 1] = "awaited" end)
        local _ <close> = closer(function() closed[#closed + 1] = "inner" end)
        error "x"
      end)()
    end })
    assert.equal("inner", closed[1])
  end)

  it("that would await in coroutine.close are told that they cannot, and nothing hangs", function()
    local err
    local co = coroutine.create(function()
      local _ <close> = closer(function() err = caught(mk.sleep, "1ms") end)
      coroutine.yield()
    end)
    coroutine.resume(co)
    coroutine.close(co)
    assert.matches("cannot await here", tostring(err))
    mk.sleep "1ms"
  end)

  it("that are cancelled while they run go on under their shield", function()
    local steps = {}
    caught(mk.timeout, "10ms", function()
      mk.timeout("40ms", function()
        local _ <close> = closer(function()
          mk.shield(function()
            steps[1] = "began"
            mk.sleep "80ms" -- both cancellations come meanwhile
            steps[2] = "ended"
          end)
        end)
        mk.sleep "10s"
      end)
    end)
    assert.same({ "began", "ended" }, steps)
  end)

  it("that raise do not hide the error, and the first error is the one that counts", function()
    local err = caught(mk.all, {
      function() mk.sleep "5ms" error "first" end,
      function()
        local _ <close> = closer(function() error "from a closer" end)
        mk.sleep "10s"
      end,
      function()
        local ok = pcall(mk.sleep, "10s")
        assert(not ok)
        error "second"
      end,
    })
    assert.equal("first", err.message)
    local also = {}
    for i, other in ipairs(err.also) do
      also[i] = other.message
    end
    table.sort(also)
    assert.same({ "from a closer", "second" }, also)
  end)
end)

describe("an operation that is over before its task waits", function()
  it("gives its result at once", function()
    local child = mk.process.spawn { argv = { "true" } }
    child:wait()
    assert.equal(0, (child:wait()))
    core_flow.new({ { kind = "memory", text = "x" }, { kind = "null" } }):run()
    core.sleep(0)
  end)
end)

describe("a list of functions", function()
  it("must have no gaps", function()
    local err = caught(mk.all, { print, nil, print })
    assert.matches("without gaps", err.message)
  end)
end)
