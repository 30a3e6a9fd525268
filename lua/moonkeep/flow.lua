--- Flows for Lua: run one, with progress, and get its counters by label. See
--- runtime/bind/lua_flow.c for the stages.
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

--- Moves everything from the source to the sinks. Options: title (for progress), total (how many
--- bytes the source will have, as far as is known), or meter (of several flows); independent; limiter.
--- Returns a table by label: { bytes_in, bytes_out, result, error }, and the source as `source`.
function M.run(stages, options)
  options = options or {}
  local flow = core.new(stages, options)
  local meter = options.meter or meters.new(options.title, options.total)
  local scope <close> = core_task.scope()
  if options.title then
    scope:spawn(meter.show, meter)
  end
  run(flow, meter)
  local report = {}
  for i, node in ipairs(flow:report()) do
    report[node.label or i] = node
  end
  report.source = report[1]
  return report
end

return M
