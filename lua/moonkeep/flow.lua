--- Flows for Lua: run one, with progress, and get its counters by label. See
--- runtime/bind/lua_flow.c for the stages.
---
--- A stage may have functions: `drive`, of a feed or parts, fills the feed or stores the parts while
--- the flow runs: when it returns, all is done; what it raises fails the stage. `ended(err)`, of a
--- sink with a label, is told how it ended when that was by itself: well with the whole flow, or by
--- an error of its own. (When something else fails the flow, it is not called.)
local core = require "moonkeep.core.flow"
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local meters = require "moonkeep.meter"

local M = { codec = core.codec, memory = core.memory }

local function run(flow, meter)
  meter.flows[flow] = true
  local ok, err = pcall(flow.run, flow)
  meter.flows[flow] = nil
  if not ok then
    error(errors.explain(err), 0)
  end
  meter.done = meter.done + flow:report()[1].bytes_read
end

-- Calls fn with every stage of a flow, those of its branches included, but for the tees.
local function each_stage(stages, fn)
  for _, stage in ipairs(stages) do
    if stage.kind == "tee" then
      for _, branch in ipairs(stage) do
        each_stage(branch, fn)
      end
    else
      fn(stage)
    end
  end
end

-- ---- what drives stages ---------------------------------------------------------------------------

-- Runs what drives a stage, and says how that ended. `raised` gets what it raised: the stage's
-- error knows less.
local function drive(stage, raised)
  local ok, err = pcall(stage.drive)
  local feed, parts = stage.feed, stage.parts
  if not ok then
    err = errors.of(err)
    raised[#raised + 1] = err;
    (feed or parts):fail(err)
  elseif feed then
    feed:finish()
  else
    parts:done()
  end
end

local Drivers = {}
Drivers.__index = Drivers

-- All are ended before any is waited for. What they shield (an upload that is being ended) is waited
-- for even when we are canceled.
Drivers.__close = function(self)
  for _, driver in ipairs(self) do
    driver.scope:cancel()
  end
  for _, driver in ipairs(self) do
    driver.scope:close()
  end
end

-- Starts what drives the stages of a flow.
function Drivers:start(stages)
  each_stage(stages, function(stage)
    if stage.drive then
      local scope = core_task.scope()
      self[#self + 1] = { stage = stage, scope = scope }
      scope:spawn(drive, stage, self.raised)
    end
  end)
end

-- Waits for them; not for those of stages that were cut off, which may hang for long.
function Drivers:finish(report)
  for _, driver in ipairs(self) do
    local node = report[driver.stage.label]
    if not (node and node.error) then
      driver.scope:join()
    end
  end
end

-- What drove a stage may have said more than the stage could.
local function richer(err, raised)
  for _, one in ipairs(raised) do
    if errors.is_error(err) and one.message:sub(1, #err.message) == err.message then
      return one
    end
  end
  return err
end

-- ---- how it ended -----------------------------------------------------------------------------------

local function report_of(flow, raised)
  local report = {}
  for i, node in ipairs(flow:report()) do
    node.error = node.error and richer(node.error, raised)
    report[node.label or i] = node
  end
  report.source = report[1]
  return report
end

local function tell(stages, report, is_well)
  each_stage(stages, function(stage)
    local err = stage.ended and report[stage.label].error
    if stage.ended and (err or is_well) then
      stage.ended(err)
    end
  end)
end

--- Moves everything from the source to the sinks. Options: title (for progress), total (how many
--- bytes the source will have, as far as is known), or meter (of several flows); independent;
--- limiter. Returns a table by label: { bytes_in, bytes_out, result, error }, and the source as
--- `source`.
function M.run(stages, options)
  options = options or {}
  local flow = core.new(stages, options)
  local meter = options.meter or meters.new(options.title, options.total)
  local scope <close> = core_task.scope()
  if options.title then
    scope:spawn(meter.show, meter)
  end
  local drivers <close> = setmetatable({ raised = {} }, Drivers)
  drivers:start(stages)
  local ok, err = pcall(run, flow, meter)
  local report = report_of(flow, drivers.raised)
  tell(stages, report, ok)
  if not ok then
    error(richer(err, drivers.raised), 0)
  end
  drivers:finish(report)
  return report
end

return M
