-- Every handle, given to the collector in every state, with the collector at every step: one that
-- is open, closed, busy, or whose task is gone must neither crash, nor hang, nor leak (trap 8).
-- What leaks or is freed twice is found by the sanitizer build, and by the loop's count at exit.
local core_flow = require "moonkeep.core.flow"
local core_fs = require "moonkeep.core.fs"
local core_process = require "moonkeep.core.process"
local core_task = require "moonkeep.core.task"
local mk = require "moonkeep"

-- Runs fn with a full collection at nearly every allocation.
local function with_eager_collector(fn)
  local mode = collectgarbage("incremental", 1, 1000, 0)
  collectgarbage("setpause", 0)
  local ok, err = pcall(fn)
  collectgarbage(mode)
  collectgarbage("setpause", 200)
  assert(ok, err)
end

-- Lets what was begun at a collection come to its end.
local function settle()
  for _ = 1, 3 do
    collectgarbage()
    mk.sleep "5ms"
  end
end

-- Cancels fn while it waits, and forgets all it had.
local function cut_short(fn)
  assert.is_false((pcall(mk.timeout, "10ms", fn)))
end

local SLEEPER = { argv = { "sleep", "60" } }

local function flow_of(...)
  return core_flow.new { ... }
end

local NULL = { kind = "null" }
local ENDLESS = { kind = "process", argv = { "sh", "-c", "while :; do echo xxxxxxxxx; done" } }

-- handle -> state -> what makes it and lets go of it
local HANDLES = {
  flow = {
    open = function() flow_of({ kind = "memory", text = "x" }, NULL) end,
    ["open, with every stage"] = function()
      flow_of(ENDLESS, { kind = "encode", codec = "gzip:6" }, { kind = "decode", codec = "gzip" },
        { kind = "encode", codec = "zstd:1" }, { kind = "tee", { NULL }, { { kind = "sha256" } },
          { { kind = "process", argv = { "cat" } } }, { { kind = "file", path = "/nowhere/x" } } })
    end,
    done = function() flow_of({ kind = "memory", text = "x" }, { kind = "xxh3" }):run() end,
    failed = function() pcall(core_flow.new { { kind = "file", path = "/nowhere" }, NULL }.run) end,
    busy = function() cut_short(function() flow_of(ENDLESS, NULL):run() end) end,
    ["half built"] = function()
      pcall(core_flow.new, { { kind = "memory", text = "x" }, { kind = "encode", codec = "lz4" },
        { kind = "tee", { NULL }, { { kind = "sha256" }, NULL } } })
    end,
  },
  process = {
    running = function() core_process.spawn(SLEEPER) end,
    exited = function() core_process.spawn({ argv = { "true" } }):wait() end,
    closed = function() core_process.spawn(SLEEPER):close() end,
    closing = function()
      cut_short(function()
        local _ <close> = core_process.spawn(SLEEPER)
        mk.sleep "10s"
      end)
    end,
    busy = function() cut_short(function() core_process.spawn(SLEEPER):wait() end) end,
  },
  lock = {
    open = function()
      local dir <close> = mk.fs.tempdir()
      core_fs.lock(dir.path .. "/other")
    end,
    closed = function()
      local dir <close> = mk.fs.tempdir()
      core_fs.lock(dir.path .. "/other"):close()
    end,
    busy = function()
      local dir <close> = mk.fs.tempdir()
      pcall(mk.all, {
        function() core_fs.lock(dir.path .. "/other") end,
        function() error "now" end,
      })
    end,
  },
  scope = {
    open = function() core_task.scope() end,
    ["open, with tasks"] = function()
      core_task.scope():spawn(function() mk.sleep "10s" end)
    end,
    done = function()
      local scope = core_task.scope()
      scope:spawn(function() return 1 end)
      scope:join()
    end,
    closed = function()
      local scope <close> = core_task.scope()
      scope:spawn(function() mk.sleep "10s" end)
    end,
    busy = function()
      cut_short(function()
        local scope = core_task.scope()
        scope:spawn(function() mk.sleep "10s" end)
        scope:join()
      end)
    end,
    ["with a deadline"] = function() core_task.scope():deadline(1, "late") end,
  },
  coroutine = {
    suspended = function()
      coroutine.wrap(function()
        local _ <close> = setmetatable({}, { __close = function() error "never seen" end })
        coroutine.yield()
      end)()
    end,
    busy = function()
      cut_short(function() coroutine.wrap(function() mk.sleep "10s" end)() end)
    end,
    shielded = function()
      coroutine.wrap(function() mk.shield(coroutine.yield, "10ms") end)()
    end,
  },
}

describe("the collector", function()
  for handle, states in pairs(HANDLES) do
    for state, make in pairs(states) do
      it(("takes a %s that is %s"):format(handle, state), function()
        with_eager_collector(function()
          for _ = 1, 3 do
            mk.all { make }
            settle()
          end
        end)
      end)
    end
  end

  it("may run at every step of everything at once", function()
    with_eager_collector(function()
      mk.each({ 1, 2, 3, 4, 5, 6 }, { parallel = 6 }, function(i)
        local dir <close> = mk.fs.tempdir()
        mk.fs.write(dir.path .. "/a", ("x"):rep(i * 1000))
        local report = mk.flow.run { { kind = "file", path = dir.path .. "/a" },
          { kind = "encode", codec = i % 2 == 0 and "gzip:1" or "zstd:1" },
          { kind = "tee", { { kind = "file", path = dir.path .. "/b" } },
            { { kind = "sha256", label = "sum" } } } }
        assert.equal(64, #report.sum.result)
        assert.equal("done\n", mk.process.run { argv = { "echo", "done" } })
        local generator = coroutine.wrap(function()
          for n = 1, 3 do
            mk.sleep "1ms"
            coroutine.yield(n)
          end
        end)
        assert.equal(6, generator() + generator() + generator())
      end)
    end)
  end)
end)
