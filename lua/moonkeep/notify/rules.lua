--- Whom an event concerns: the keys of a job's `notify` that it matches, and what it then is to whoever
--- is named there. The first match of a notifier counts.
local notify = require "moonkeep.notify"

local M = {}

local MATCHES = {
  started = { { "start", "start" }, { "always", "start" } },
  ok = { { "success", "success" }, { "always", "success" } },
  degraded = { { "degraded", "degraded" }, { "problem", "degraded" }, { "always", "degraded" } },
  failed = { { "failure", "failure" }, { "problem", "failure" }, { "always", "failure" } },
  skipped = { { "skipped", "skipped" }, { "problem", "skipped" }, { "always", "skipped" } },
  stale = { { "stale", "stale" }, { "problem", "stale" }, { "always", "stale" } },
}

--- A list of { key of `notify`, kind }.
function M.matches(event)
  local list, sizes = {}, event.has_unusual_size and { { "size", "size" }, { "problem", "size" } } or {}
  local function add(matches)
    table.move(matches, 1, #matches, #list + 1, list)
  end
  if event.status == "ok" then -- else there is worse to tell
    add(sizes)
  end
  add(event.has_recovered and { { "recovered", "recovered" } } or {})
  add(MATCHES[event.status])
  add(event.status ~= "ok" and sizes or {})
  return list
end

-- Adds those of one table { [key] = { descriptor... } } that are not in the list yet.
local function add(list, seen, event, table_of, job)
  for _, match in ipairs(M.matches(event)) do
    for i, descriptor in ipairs(table_of[match[1]] or {}) do
      local identity = notify.identity(descriptor)
      if not seen[identity] then
        seen[identity] = true
        list[#list + 1] = { descriptor = descriptor, kind = match[2],
          at = { job = job, key = match[1], index = i } }
      end
    end
  end
end

--- Who is to be told: a list of { descriptor, kind, at }. `known`: what is kept of the recipe
--- (moonkeep.notify.kept), or nil. Without a job, everybody whom one of its jobs would tell.
function M.recipients(event, known)
  local list, seen, names = {}, {}, {}
  for name in pairs(known and known.jobs or {}) do
    if not event.job or event.job == name then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    add(list, seen, event, known.jobs[name].notify or {}, name)
  end
  return list
end

return M
