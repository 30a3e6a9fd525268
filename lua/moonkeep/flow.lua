--- Flows for Lua: run one, with progress, and get its counters by label. See
--- runtime/bind/lua_flow.c for the stages.
local core = require "moonkeep.core.flow"
local core_task = require "moonkeep.core.task"
local host = require "moonkeep.core.host"
local errors = require "moonkeep.errors"
local log = require "moonkeep.log"
local units = require "moonkeep.units"

local M = { codec = core.codec, memory = core.memory }

local PROGRESS_MS = 500

local function progress(flow, title, total)
  local began = host.monotonic()
  while true do
    core_task.sleep(PROGRESS_MS)
    local bytes = flow:report()[1].bytes_out
    local seconds = (host.monotonic() - began) / 1000
    log.event { event = "progress", title = title, bytes = bytes, seconds = seconds, total = total,
      text = title .. "  " .. units.format_progress(bytes, seconds, total) }
  end
end

--- Moves everything from the source to the sinks. Options: title (for progress), total (how many
--- bytes the source will have, as far as is known), independent.
--- Returns a table by label: { bytes_in, bytes_out, result, error }, and the source as `source`.
function M.run(stages, options)
  options = options or {}
  local flow = core.new(stages, options)
  local scope <close> = core_task.scope()
  if options.title then
    scope:spawn(progress, flow, options.title, options.total)
  end
  local ok, err = pcall(flow.run, flow)
  if not ok then
    error(errors.explain(err), 0)
  end
  local report = {}
  for i, node in ipairs(flow:report()) do
    report[node.label or i] = node
  end
  report.source = report[1]
  return report
end

return M
