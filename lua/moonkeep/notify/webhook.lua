--- Any HTTP endpoint: the event as JSON.
return {
  name = "webhook",
  doc = "An HTTP endpoint of your own.",
  keys = {
    { "url", "secret_text", "`https://...`", required = true },
    { "method", "string", "", default = '"POST"' },
    { "headers", "environment", "header lines by name; values may be secrets" },
    { "ca", "string", "a file of certificates, instead of the system's" },
    { "proxy", "secret_text", "its URL", default = "as `https_proxy` and `no_proxy` say" },
  },
  send = function(options, event, message)
    local http = require "moonkeep.http"
    local body = message.custom
    if body == nil then
      body = { title = message.title, text = message.text, event = event }
    end
    http.request { url = options.url, method = options.method or "POST", headers = options.headers,
      json = type(body) ~= "string" and body or nil, body = type(body) == "string" and body or nil,
      ca = options.ca, proxy = options.proxy, repeats = true, timeout = "15s", retries = 2 }
  end,
}
