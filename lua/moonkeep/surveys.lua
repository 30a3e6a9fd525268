--- What there is in several stores. What one of them cannot tell, its listing failing, keeps nobody from
--- what the others have: it is left out, all of it, and why is told.
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local stores = require "moonkeep.store"
local task = require "moonkeep.task"

local M = {}

--- The places of jobs: each of their stores.
function M.places_of(jobs)
  local places = {}
  for _, job in ipairs(jobs) do
    for _, store in ipairs(job.keys.upload or {}) do
      places[#places + 1] = { store = store, job = job.name }
    end
  end
  return places
end

-- Errors of a store where nobody answers; asking it again would take as long again.
local NOBODY = { NETWORK = true, TIMEOUT = true }

local function survey(place, is_wanted)
  local list = {}
  for _, job in ipairs(place.job and { place.job } or place.store:jobs()) do
    for _, series in ipairs(place.store:series(job)) do
      if not is_wanted or is_wanted(series) then
        list[#list + 1] = { place = place, store = place.store, job = job, series = series }
      end
    end
  end
  task.each(list, { parallel = stores.SERIES_AT_ONCE }, function(of)
    of.ids, of.states = of.store:survey(of.job, of.series)
  end)
  return list
end

-- The survey of a place; false: it is left out.
local function survey_or_leave(place, is_wanted, left_out, is_silent)
  if is_silent[place.store.url] then
    return false
  end
  local ok, result = xpcall(survey, errors.handler, place, is_wanted)
  if ok then
    return result
  elseif core_task.canceled() then
    error(result, 0)
  end
  is_silent[place.store.url] = NOBODY[errors.of(result).code]
  left_out[#left_out + 1] = { store = place.store, job = place.job,
    error = errors.explain(errors.of(result)) }
  return false
end

--- The series of places, { store, job (its folder; nil: all) }, or those for which `is_wanted`, a
--- function(series), is true: a list of { place, store, job, series, ids, states (see Store:survey) },
--- in the places' order; what was left out: a list of { store, job, error }; and the other places.
function M.of(places, is_wanted)
  local found, left_out, is_silent, read = {}, {}, {}, {}
  local results = task.each(places, { parallel = stores.SERIES_AT_ONCE }, function(place)
    return survey_or_leave(place, is_wanted, left_out, is_silent)
  end)
  for i, place in ipairs(places) do
    if results[i] then
      read[#read + 1] = place
      table.move(results[i], 1, #results[i], #found + 1, found)
    end
  end
  return found, left_out, read
end

--- What was left out as errors that name the store.
function M.errors_of(left_out)
  local list = {}
  for i, one in ipairs(left_out) do
    list[i] = errors.new(one.error.code, ("store %s cannot be read: %s"):format(one.store.name,
      one.error.message), { hint = one.error.hint, status = one.error.status })
  end
  return list
end

--- Calls fn(of, id, marks) for every backup of such a list, oldest first in each series.
function M.each(found, fn)
  for _, of in ipairs(found) do
    for id, marks in stores.there(of.ids, of.states) do
      fn(of, id, marks)
    end
  end
end

return M
