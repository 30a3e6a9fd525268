--- Questions to whoever sits at the terminal. The supervisor asks; see runtime/host/supervisor.c.
local errors = require "moonkeep.errors"
local host = require "moonkeep.core.host"
local json = require "moonkeep.core.json"

local M = {}

--- Asks and returns the line that was typed; nil when there is no terminal, or it was closed.
function M.ask(text)
  local reply = host.ask { event = "prompt", text = text }
  return reply and json.decode(reply).answer
end

--- Raises NOT_CONFIRMED unless `name` is typed, or `consent` (of --yes) is that name.
function M.confirm(action, name, consent)
  if consent == name then
    return
  elseif consent then
    errors.raise("NOT_CONFIRMED", ("--yes names %q, but this would %s %q"):format(consent, action,
      name), { hint = "nothing was done; if that is what you want: --yes=" .. name })
  end
  local answer = M.ask(("To %s %q, type its name:"):format(action, name))
  if answer == nil then
    errors.raise("NOT_CONFIRMED", ("this would %s %q, and there is nobody to ask"):format(action,
      name), { hint = "nothing was done; if that is what you want: --yes=" .. name })
  elseif answer ~= name then
    errors.raise("NOT_CONFIRMED", ("%q was typed, not %q"):format(answer, name),
      { hint = "nothing was done" })
  end
end

return M
