--- What the supervisor starts for each event of a run that may concern somebody: finds out whom, and
--- sends it, with whatever else waits. No code of the recipe's runs here: whom it tells is known from
--- its last good load (kept.lua), and templates run in the children that send (child.lua).
---
--- A run whose recipe has never loaded is told of by the site's notify.lua: MOONKEEP_NOTIFY, or
--- /etc/moonkeep/notify.lua, which returns a table like a job's `notify`.
local errors = require "moonkeep.errors"
local events = require "moonkeep.notify.event"
local fs = require "moonkeep.fs"
local json = require "moonkeep.core.json"
local kept = require "moonkeep.notify.kept"
local log = require "moonkeep.log"
local merge = require "moonkeep.merge"
local notices = require "moonkeep.notify.notices"
local outbox = require "moonkeep.notify.outbox"
local rules = require "moonkeep.notify.rules"

local M = {}

local function site()
  local path = os.getenv "MOONKEEP_NOTIFY" or "/etc/moonkeep/notify.lua"
  return fs.exists(path) and path or nil
end

-- An entry of the outbox; delivered at once where there is no outbox.
local function send(entry)
  local path, temporary = outbox.add(entry)
  if temporary then
    local _ <close> = temporary
    local err = outbox.deliver(path, entry)
    if err then
      log.error("%s could not be told, and the message cannot be kept: %s", entry.site or
        entry.descriptor.service, tostring(err))
    end
  end
end

--- Tells of an event whomever it concerns.
function M.tell(event, known)
  local recipients = rules.recipients(event, known)
  for _, recipient in ipairs(recipients) do
    local own = merge(event, { kind = recipient.kind })
    if notices.allow(recipient, own) then
      send { descriptor = recipient.descriptor, event = own, recipe = event.recipe, at = recipient.at }
    end
  end
  local file = not known and event.status == "failed" and site()
  if file then
    send { site = file, event = merge(event, { kind = "failure" }) }
  end
  if event.status == "ok" and event.job then
    notices.forget(event.job)
  end
  outbox.flush()
end

--- `path`: the file of { event, recipe, terminal } that the supervisor has written.
function M.run(path)
  local input = json.decode(fs.read(path))
  local seen = input.event
  if seen.error and seen.error.code == "CANCELED" and input.terminal then
    return 0 -- whoever stopped it sits before it
  end
  local ok, err = xpcall(function()
    M.tell(events.of_run(seen, input.recipe), input.recipe and kept.load(input.recipe))
  end, errors.handler)
  if not ok then
    log.error("nobody could be told of this run: %s", tostring(err))
  end
  return ok and 0 or 1
end

return M
