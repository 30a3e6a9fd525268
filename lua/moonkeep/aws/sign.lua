--- Signature Version 4 of AWS, as object stores check it.
---
--- Source: docs.aws.amazon.com, "Create a signed AWS API request" (canonical request, string to
--- sign, key). For S3 the path is encoded once, and not normalised.
local clock = require "moonkeep.clock"
local hash = require "moonkeep.core.hash"
local names_of = require "moonkeep.names_of"

local M = {}

local ALGORITHM = "AWS4-HMAC-SHA256"

--- Percent-encoded but for unreserved characters; with `is_path`, slashes stay.
function M.encode(text, is_path)
  return (text:gsub(is_path and "[^%w%-._~/]" or "[^%w%-._~]", function(c)
    return ("%%%02X"):format(c:byte())
  end))
end

--- The query of parameters by name, in canonical form: sorted, and each with its "=".
function M.query(parameters)
  local pairs_of = {}
  for name, value in pairs(parameters or {}) do
    pairs_of[#pairs_of + 1] = M.encode(name) .. "=" .. M.encode(tostring(value))
  end
  table.sort(pairs_of)
  return table.concat(pairs_of, "&")
end

-- Header lines in canonical form, and their names.
local function canonical_headers(headers)
  local names, lines = names_of(headers), {}
  for i, name in ipairs(names) do
    local value = headers[name]:gsub("^%s+", ""):gsub("%s+$", ""):gsub("%s+", " ")
    lines[i] = ("%s:%s\n"):format(name, value)
  end
  return table.concat(lines), table.concat(names, ";")
end

local function signing_key(secret, date, region, service)
  local key = hash.hmac_sha256("AWS4" .. secret, date)
  key = hash.hmac_sha256(key, region)
  key = hash.hmac_sha256(key, service)
  return hash.hmac_sha256(key, "aws4_request")
end

--- Signs a request: { method, host, path (encoded), query (as M.query makes it), headers (by name
--- in lower case; gets host, x-amz-date, x-amz-security-token, authorization), body_sha256 (hex) },
--- with credentials { id, secret, token }, at a time of Unix.
function M.sign(request, credentials, region, service, time)
  local stamp = clock.compact(time)
  local date = stamp:sub(1, 8)
  local headers = request.headers
  headers.host, headers["x-amz-date"] = request.host, stamp
  headers["x-amz-security-token"] = credentials.token
  local lines, names = canonical_headers(headers)
  local canonical = table.concat({ request.method, request.path, request.query, lines, names,
    request.body_sha256 }, "\n")
  local scope = ("%s/%s/%s/aws4_request"):format(date, region, service)
  local text = table.concat({ ALGORITHM, stamp, scope, hash.hex(hash.sha256(canonical)) }, "\n")
  local signature = hash.hex(hash.hmac_sha256(signing_key(credentials.secret, date, region, service),
    text))
  headers.authorization = ("%s Credential=%s/%s, SignedHeaders=%s, Signature=%s"):format(ALGORITHM,
    credentials.id, scope, names, signature)
end

return M
