--- What services that are told by HTTP share.
local merge = require "moonkeep.merge"

local M = {}

local KEYS = {
  { "proxy", "secret_text", "its URL", default = "as `https_proxy` and `no_proxy` say" },
  { "ca", "string", "a file of certificates, instead of the system's" },
}

--- Their own options, and those of all.
function M.with(keys)
  return table.move(KEYS, 1, #KEYS, #keys + 1, keys)
end

--- Sends a request, again if need be. `options`: the notifier's. Raises what mk.http.request raises.
function M.send(options, request)
  require("moonkeep.http").request(merge({ method = "POST", proxy = options.proxy, ca = options.ca,
    repeats = true, timeout = "15s", retries = 2 }, request))
end

return M
