--- Slack's incoming webhooks, and what understands the same (Mattermost, Rocket.Chat).
--- Source: Slack's manual, "Sending messages using incoming webhooks" and "Formatting text".
local post = require "moonkeep.notify.post"

local COLORS = { start = "#888888", success = "#2eb67d", recovered = "#2eb67d", size = "#ecb22e",
  degraded = "#ecb22e", skipped = "#ecb22e", stale = "#e01e5a", failure = "#e01e5a" }

local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" }

-- What a message quotes must not turn into links and mentions.
local function escape(text)
  return (text:gsub("[&<>]", ESCAPES))
end

return {
  name = "slack",
  doc = "A channel of Slack, Mattermost or Rocket.Chat, by an incoming webhook.",
  keys = post.with {
    { "url", "secret_text", "the webhook's; it is a secret", required = true },
    { "channel", "string", "another channel, where the service allows that" },
  },
  send = function(options, event, message)
    local body = type(message.custom) == "table" and message.custom or {
      text = escape(message.title), channel = options.channel,
      attachments = { { color = COLORS[event.kind], fallback = escape(message.title),
        text = escape(message.text) } } }
    post.send(options, { url = options.url, json = body })
  end,
}
