--- Doing several things at once. Everything here waits for what it started: no task outlives the
--- call that made it, and the first error cancels the others.
local core = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local spec = require "moonkeep.spec"
local units = require "moonkeep.units"

local M = {}

--- Waits. mk.sleep "1s"
function M.sleep(duration)
  core.sleep(units.check_duration(duration, "the time to sleep"))
end

--- Runs the functions of a list at once and returns their first results, in the list's order.
function M.all(functions)
  local scope <close> = core.scope()
  spec.check_argument("mk.all", "functions", "list", functions)
  for _, fn in ipairs(functions) do
    spec.check_argument("mk.all", "an item", "function", fn)
    scope:spawn(fn)
  end
  scope:join()
  local results = {}
  for i = 1, #functions do
    results[i] = (scope:results(i))
  end
  return table.unpack(results, 1, #functions)
end

--- Calls fn(item, index) for each item of a list, at most `parallel` (default 1) at a time.
--- Returns the list of first results, in the list's order.
function M.each(list, options, fn)
  if fn == nil then
    options, fn = {}, options
  end
  spec.check_argument("mk.each", "list", "table", list)
  spec.check_argument("mk.each", "fn", "function", fn)
  spec.check("mk.each", "each", options)
  if #list == 0 and next(list) ~= nil then
    errors.raise("INVALID", "mk.each: list must be a list, not a table with names")
  end
  local parallel = options.parallel or 1
  local results, next_index = {}, 0
  local scope <close> = core.scope()
  for _ = 1, math.min(parallel, #list) do
    scope:spawn(function()
      while next_index < #list do
        next_index = next_index + 1
        local index = next_index
        results[index] = fn(list[index], index)
      end
    end)
  end
  scope:join()
  return results
end

--- Calls fn and returns its results, or raises TIMEOUT when it has not returned in time, counted
--- from when it begins.
function M.timeout(duration, fn, ...)
  local ms = units.check_duration(duration, "the timeout")
  spec.check_argument("mk.timeout", "fn", "function", fn)
  local scope <close> = core.scope()
  local number = scope:spawn(function(...)
    scope:deadline(ms, errors.new("TIMEOUT", ("it was not done within %s"):format(duration)))
    return fn(...)
  end, ...)
  scope:join()
  return scope:results(number)
end

--- Calls fn with cancellation held off, for closers that must wait for something. After `limit`
--- (default "10s") a cancellation gets through all the same.
function M.shield(fn, limit)
  spec.check_argument("mk.shield", "fn", "function", fn)
  return core.shield(fn, units.check_duration(limit or "10s", "the limit of a shield"))
end

return M
