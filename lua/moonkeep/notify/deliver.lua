--- What the supervisor starts for each event of a run that may concern somebody: finds out whom, puts
--- the messages on disk, and sends them, with whatever else waits. No code of the recipe's runs here:
--- whom it tells is known from its load (kept.lua), and templates run in the children that send
--- (child.lua).
---
--- A failure that nobody is named for is told by the site's notify.lua: MOONKEEP_NOTIFY, or
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
  local path = os.getenv "MOONKEEP_NOTIFY"
  path = path and path ~= "" and path or "/etc/moonkeep/notify.lua"
  return fs.exists(path) and path or nil
end

-- An entry of the outbox; delivered at once where it cannot be kept.
local function send(entry)
  local path, temporary = outbox.add(entry)
  if temporary then
    local _ <close> = temporary
    local err = outbox.deliver(path, entry)
    if err then
      log.error("%s could not be told, and the message cannot be kept: %s", entry.descriptor.service,
        tostring(err))
    end
  end
end

local function tell_one(recipient, event, entry)
  local own = merge(event, { kind = recipient.kind })
  if notices.allow(recipient, own) then
    entry.event = own
    send(entry)
    notices.note(recipient, own)
  end
end

--- Tells of an event whomever it concerns. `known`: see kept.lua, or nil. Their messages are on disk
--- when this returns; outbox.flush sends them.
function M.tell(event, known)
  if event.status == "ok" and event.job then
    event.has_recovered = event.has_recovered or notices.any(event.job, event.recipe)
  end
  local recipients, env = rules.recipients(event, known), known and known.env
  local file = #recipients == 0 and event.status == "failed" and site()
  if file then
    recipients[1] = { site = file, kind = "failure", descriptor = { service = file, options = {} } }
  end
  for _, recipient in ipairs(recipients) do -- each by itself
    local ok, err = xpcall(tell_one, errors.handler, recipient, event, { site = recipient.site,
      descriptor = recipient.descriptor, recipe = event.recipe, at = recipient.at, env = env })
    if not ok then
      log.error("somebody could not be told of %s: %s", event.job or event.recipe or "this",
        tostring(err))
    end
  end
  if event.status == "ok" and event.job then
    notices.forget(event.job, event.recipe, event.has_unusual_size)
  end
end

--- `path`: the file of { event, recipe, known, terminal } that the supervisor has written. With `keep`
--- messages are only put on disk: there is no time.
function M.run(path, keep)
  local ok, err = xpcall(function()
    local input = json.decode(fs.read(path))
    local seen = input.event
    if seen.error and seen.error.code == "CANCELED" and input.terminal then
      return -- whoever stopped it sits before it
    end
    local recipe = input.recipe
    M.tell(events.of_run(seen, recipe), input.known or recipe and kept.load(recipe) or nil)
    if not keep then
      outbox.flush { recipes = { [recipe or ""] = true } }
    end
  end, errors.handler)
  if not ok then
    log.error("nobody could be told of this run: %s", tostring(err))
  end
  return ok and 0 or 1
end

return M
