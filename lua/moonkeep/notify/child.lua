--- One delivery, in a process of its own: --deliver FILE, an entry of the outbox. What fails is an event
--- `undelivered` on stderr, and exit code 1.
local clock = require "moonkeep.clock"
local errors = require "moonkeep.errors"
local fs = require "moonkeep.fs"
local host = require "moonkeep.core.host"
local json = require "moonkeep.core.json"
local log = require "moonkeep.log"
local message = require "moonkeep.notify.message"
local notify = require "moonkeep.notify"
local recipe = require "moonkeep.recipe"
local rules = require "moonkeep.notify.rules"
local secret = require "moonkeep.secret"

local M = {}

local DELAYED_MS = 5 * 60 * 1000

-- The template of a notifier of a recipe, as long as it is still the same notifier.
local function template_of(entry)
  for _, job in ipairs(recipe.load(entry.recipe)) do
    if job.name == entry.at.job then
      local notifier = notify.list((job.keys.notify or {})[entry.at.key])[entry.at.index]
      local is_same = notifier and notify.identity(notify.descriptor(notifier)) ==
        notify.identity(entry.descriptor)
      return is_same and notifier.options.template or nil
    end
  end
end

local function copy_of(event)
  return json.decode(json.encode(event))
end

-- What is wrong with a template is said in the message.
local function with_note(built, why)
  built.text = ("%s\nnote    the template of this message failed: %s"):format(built.text, why)
  return built
end

local function build(find_template, event)
  local ok, result = xpcall(function()
    local template = find_template()
    return template and message.by_template(template, copy_of(event)) or message.of(event)
  end, errors.handler)
  return ok and result or with_note(message.of(event), tostring(result))
end

-- Everybody whom the site's notify.lua names for a failure, once. Who has been told is written into the
-- entry, for the next try.
local function send_by_site(path, entry)
  local table_of, first = recipe.load_notify(entry.site), nil
  entry.done = entry.done or {}
  for _, match in ipairs(rules.matches(entry.event)) do
    for _, notifier in ipairs(notify.list(table_of[match[1]])) do
      local identity = notify.identity(notify.descriptor(notifier))
      if not entry.done[identity] then
        local ok, err = pcall(notify.send, notifier, entry.event, build(function()
          return notifier.options.template
        end, entry.event))
        entry.done[identity] = ok or nil
        first = first or not ok and err or nil
      end
    end
  end
  if first then
    fs.write(path, json.encode(entry))
    error(first, 0)
  end
end

--- Runs in the main task. Returns the exit code.
function M.main(path)
  local entry = json.decode(fs.read(path))
  secret.optional_env "PGPASSWORD" -- no program that tells inherits a secret
  for _, name in ipairs(entry.env or {}) do
    secret.optional_env(name)
  end
  if host.wall() - entry.first_ms > DELAYED_MS then
    entry.event.delayed_since = clock.iso(entry.first_ms // 1000)
  end
  if entry.site then
    send_by_site(path, entry)
    return 0
  end
  local notifier = notify.from_descriptor(entry.descriptor)
  if not notifier then
    errors.raise("UNSUPPORTED", ("there is no service %q here"):format(entry.descriptor.service),
      { hint = "install a newer moonkeep" })
  end
  local has_template = entry.descriptor.has_template and not entry.no_template
  local built = build(function() return has_template and template_of(entry) or nil end, entry.event)
  notify.send(notifier, entry.event, entry.no_template and with_note(built, entry.no_template) or built)
  return 0
end

--- Called when main has raised.
function M.failed(err)
  err = errors.of(err)
  log.event({ event = "undelivered", error = { code = err.code, message = err.message,
    hint = err.hint } }, true)
  return 1
end

return M
