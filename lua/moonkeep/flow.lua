--- Flows for Lua: run one, with progress, and get its counters by label. See
--- runtime/bind/lua_flow.c for the stages.
---
--- A feed or parts may have a function `drive`, which fills the feed or stores the parts while the
--- flow runs: when it returns, all is done; what it raises fails the stage.
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

-- Starts what drives the stages of a flow, also those of its branches.
local function drive_all(scope, stages, raised)
  for _, stage in ipairs(stages) do
    if stage.kind == "tee" then
      for _, branch in ipairs(stage) do
        drive_all(scope, branch, raised)
      end
    elseif stage.drive then
      scope:spawn(drive, stage, raised)
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

--- Moves everything from the source to the sinks. Options: title (for progress), total (how many
--- bytes the source will have, as far as is known), or meter (of several flows); independent;
--- limiter. Returns a table by label: { bytes_in, bytes_out, result, error }, and the source as
--- `source`.
function M.run(stages, options)
  options = options or {}
  local flow = core.new(stages, options)
  local meter = options.meter or meters.new(options.title, options.total)
  local raised = {}
  local scope <close> = core_task.scope()
  if options.title then
    scope:spawn(meter.show, meter)
  end
  local drivers <close> = core_task.scope()
  drive_all(drivers, stages, raised)
  local ok, err = pcall(run, flow, meter)
  if not ok then
    error(richer(err, raised), 0)
  end
  drivers:join()
  local report = {}
  for i, node in ipairs(flow:report()) do
    node.error = node.error and richer(node.error, raised)
    report[node.label or i] = node
  end
  report.source = report[1]
  return report
end

return M
