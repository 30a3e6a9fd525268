--- healthchecks.io, or one's own instance of it: it alerts when nothing is heard in time, which is what
--- finds a machine that is off. Source: its manual, "Pinging API".
local post = require "moonkeep.notify.post"

-- What is added to the URL of a check.
local SIGNALS = { start = "/start", success = "", recovered = "", size = "", failure = "/fail",
  degraded = "/fail", stale = "/fail", skipped = "/log" }

local MAX_BYTES = 10000 -- more is cut off by the service

return {
  name = "healthchecks",
  doc = "A check of healthchecks.io, or of one's own instance: it hears of every start and end.",
  keys = post.with {
    { "url", "secret_text", "the check's ping URL, `https://hc-ping.com/UUID`", required = true },
  },
  pings = true,
  send = function(options, event, message)
    local body = (message.title .. "\n\n" .. message.text):sub(1, MAX_BYTES)
    local path, query = options.url:match "^([^?]*)(.*)$"
    post.send(options, { url = path:gsub("/+$", "") .. SIGNALS[event.kind] .. query, body = body,
      timeout = "10s" })
  end,
}
