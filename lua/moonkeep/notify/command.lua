--- A program of one's own: what nobody foresaw.
local json = require "moonkeep.core.json"

local MAX_BYTES = 100 * 1024 -- of a variable: Linux takes 128 KiB

return {
  name = "command",
  doc = "A program: it reads the message, or what `template` returns, and has the event in its " ..
    "environment (`MOONKEEP_KIND`, `MOONKEEP_JOB`, `MOONKEEP_TITLE`, `MOONKEEP_EVENT` as JSON).",
  keys = {
    { "argv", "list", "the program and its arguments; nothing goes through a shell", required = true,
      of = "string" },
    { "env", "environment", "added to the environment; values may be secrets" },
    { "user", "string", "run as this user" },
  },
  send = function(options, event, message)
    local env = { MOONKEEP_KIND = event.kind, MOONKEEP_JOB = event.job or "",
      MOONKEEP_TITLE = message.title }
    local encoded = json.encode(event)
    env.MOONKEEP_EVENT = #encoded < MAX_BYTES and encoded or nil
    for name, value in pairs(options.env or {}) do
      env[name] = value
    end
    require("moonkeep.process").run { argv = options.argv, env = env, user = options.user,
      stdin = message.text .. "\n" }
  end,
}
