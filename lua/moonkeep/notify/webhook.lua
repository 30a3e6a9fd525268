--- Any HTTP endpoint: the event as JSON.
local post = require "moonkeep.notify.post"

return {
  name = "webhook",
  doc = "An HTTP endpoint of your own.",
  keys = post.with {
    { "url", "secret_text", "`https://...`", required = true },
    { "method", "string", "", default = '"POST"' },
    { "headers", "environment", "header lines by name; values may be secrets" },
  },
  send = function(options, event, message)
    local body = message.custom
    if body == nil then
      body = { title = message.title, text = message.text, event = event }
    end
    post.send(options, { url = options.url, method = options.method, headers = options.headers,
      json = type(body) ~= "string" and body or nil, body = type(body) == "string" and body or nil })
  end,
}
