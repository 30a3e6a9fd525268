--- Requests to an S3 service about one bucket: signed, tried again, and with errors that say what
--- to do.
---
--- Credentials are asked for anew with every try, so long uploads outlive them; what is refused because
--- they have expired, or were replaced, is tried again with those that are there now. A request that
--- the service answers with another region is made again there, once, and so are all that follow.
---
--- The SHA-256 of what is sent is signed, and the service compares it. With `checksums` it also keeps
--- it, and says it later: Amazon's does, not all others.
local clock = require "moonkeep.clock"
local core_task = require "moonkeep.core.task"
local errors = require "moonkeep.errors"
local faults = require "moonkeep.s3.faults"
local hash = require "moonkeep.core.hash"
local http = require "moonkeep.http"
local sign = require "moonkeep.aws.sign"
local xml = require "moonkeep.core.xml"
local zone = require "moonkeep.schedule.zone"

local M = {}

local EMPTY_SHA256 = hash.hex(hash.sha256 "")
local OBJECT_METHODS = { GET = true, HEAD = true, PUT = true }

local Client = {}
Client.__index = Client

--- A client: { bucket, region, endpoint (URL without a path), path_style, credentials (a function
--- that gives { id, secret, token }, anew when it gets true), ca, proxy, tries, checksums,
--- customer_key (a function that gives the 32 bytes of SSE-C, or nil) }.
function M.new(options)
  return setmetatable(options, Client)
end

-- ---- XML ----------------------------------------------------------------------------------------

--- The text of the first element of a name in another; nil: there is none.
function M.text(element, name)
  for _, child in ipairs(element or {}) do
    if child.name == name then
      return child.text
    end
  end
end

-- ---- errors -------------------------------------------------------------------------------------

local function error_code(answer)
  local root = answer.body ~= "" and xml.parse(answer.body)
  if root and root.name == "Error" then
    return M.text(root, "Code"), M.text(root, "Message"), root
  end
  local by_status = { [403] = "AccessDenied", [404] = "NoSuchKey", [412] = "PreconditionFailed",
    [409] = "ConditionalRequestConflict", [501] = "NotImplemented", [503] = "SlowDown",
    [301] = "PermanentRedirect" }
  return by_status[answer.status]
end

local function shown(self, request)
  return ("%s s3://%s/%s"):format(request.method, self.bucket, request.key or "")
end

-- What a service's code is here, and what to do about it.
local function explain(self, code)
  local fault = faults[code] or { "S3_ERROR" }
  return fault[1], fault[2] and fault[2]:format(self.bucket)
end

--- Raises what an answer that is no success means.
function Client:refuse(request, answer)
  local code, message = error_code(answer)
  local name, hint = explain(self, code)
  local text = ("%s: it answered %d"):format(shown(self, request), answer.status)
  message = (message or "") ~= "" and ": " .. message or ""
  errors.raise(name, code and ("%s, %s%s"):format(text, code, message) or text, {
    hint = hint, status = answer.status, s3 = code })
end

-- ---- requests -----------------------------------------------------------------------------------

-- The host and the path of a key. (A name with dots has no certificate as a host.)
local function address(self, key)
  local scheme, host = self.endpoint:match "^(%a+://)([^/]+)$"
  local path = key and "/" .. sign.encode(key, true) or "/"
  if self.path_style or self.bucket:find(".", 1, true) then
    return scheme, host, "/" .. self.bucket .. path
  end
  return scheme, self.bucket .. "." .. host, path
end

-- Whether a request is about an object's bytes.
local function is_of_object(request)
  return request.key ~= nil and (OBJECT_METHODS[request.method] or (request.query or {}).uploads ~= nil)
end

-- What encrypts an object with the customer's own key: SSE-C.
local function add_customer_key(self, headers)
  local key = self.customer_key()
  headers["x-amz-server-side-encryption-customer-algorithm"] = "AES256"
  headers["x-amz-server-side-encryption-customer-key"] = hash.base64(key)
  headers["x-amz-server-side-encryption-customer-key-md5"] = hash.base64(hash.md5(key))
end

local function add_checksum(request, headers, body_sha256)
  if request.method == "PUT" then
    headers["x-amz-checksum-sha256"] = hash.base64(hash.unhex(body_sha256))
    headers["x-amz-sdk-checksum-algorithm"] = "SHA256"
  elseif request.method == "HEAD" then
    headers["x-amz-checksum-mode"] = "ENABLED"
  elseif (request.query or {}).uploads then
    headers["x-amz-checksum-algorithm"] = "SHA256"
    headers["x-amz-checksum-type"] = "COMPOSITE" -- that of the parts' sums, which is none of the whole
  end
end

-- A signed description for moonkeep.core.http.
local function signed(self, request)
  local scheme, host, path = address(self, request.key)
  local query = sign.query(request.query)
  local body_sha256 = request.sha256 or request.body and hash.hex(hash.sha256(request.body)) or
    EMPTY_SHA256
  local headers = {}
  for name, value in pairs(request.headers or {}) do
    headers[name] = value
  end
  if self.customer_key and is_of_object(request) then
    add_customer_key(self, headers)
  end
  if self.checksums and request.key then
    add_checksum(request, headers, body_sha256)
  end
  headers["x-amz-content-sha256"] = body_sha256
  sign.sign({ method = request.method, host = host, path = path, query = query, headers = headers,
    body_sha256 = body_sha256 }, self.credentials(), self.region, "s3", clock.wall() // 1000)
  headers.host = nil
  return { method = request.method, url = scheme .. host .. path .. (query ~= "" and "?" .. query or ""),
    headers = http.header_lines(headers), body = request.body, ca = self.ca, proxy = self.proxy,
    limit = request.limit, tries = request.tries or self.tries, idle_ms = self.idle_ms,
    repeats = true }
end

-- The region that an answer says the bucket is in, if it is another.
local function other_region(self, answer)
  if answer.status ~= 301 and answer.status ~= 400 and answer.status ~= 307 then
    return nil
  end
  local region = answer.headers["x-amz-bucket-region"]
  if not region then
    local _, _, root = error_code(answer)
    region = M.text(root, "Region")
  end
  return region and region ~= self.region and region ~= "" and region or nil
end

local STALE = { ExpiredToken = true, InvalidToken = true, InvalidAccessKeyId = true,
  SignatureDoesNotMatch = true }

-- Whether a request was refused for credentials that others have replaced meanwhile.
local function are_stale(self, answer)
  if answer.status ~= 403 and answer.status ~= 400 or not STALE[error_code(answer) or ""] then
    return false
  end
  local before = self.credentials()
  local now = self.credentials(true)
  return now.id ~= before.id or now.token ~= before.token or now.secret ~= before.secret
end

--- Makes a request: { method, key, query, headers (names in lower case), body (text or part),
--- sha256 (of a part), limit, allow = { [status] = true } (of no success, that the caller knows
--- what to do with) }. Returns the answer. Raises what Client:refuse does, NETWORK, TIMEOUT, TLS.
function Client:call(request)
  local function try()
    return http.try(function() return signed(self, request) end)
  end
  local answer = try()
  local region = other_region(self, answer)
  if region then
    self.region = region
    answer = try()
  elseif are_stale(self, answer) then
    answer = try()
  end
  if answer.status // 100 ~= 2 and not (request.allow and request.allow[answer.status]) then
    self:refuse(request, answer)
  end
  return answer
end

local MONTHS = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9,
  Oct = 10, Nov = 11, Dec = 12 }

-- "Fri, 27 Nov 2026 16:35:09 GMT" -> Unix
local function http_time(text)
  local d, month, y, h, m, s = (text or ""):match "(%d+) (%a+) (%d+) (%d+):(%d+):(%d+)"
  return MONTHS[month] and zone.unix(y, MONTHS[month], d, h, m, s)
end

-- ---- objects ------------------------------------------------------------------------------------

--- Lets an object fill a feed. Returns the first answer. Raises also CORRUPT when it is another one
--- than it was in the beginning.
function Client:get_into(feed, key)
  local request = { method = "GET", key = key }
  local first, bad = http.fill(feed, function(from)
    request.headers = from > 0 and { range = ("bytes=%d-"):format(from) } or nil
    return signed(self, request)
  end)
  if bad and bad.status // 100 == 2 then
    errors.raise("CORRUPT", ("%s: it changed while it was read"):format(shown(self, request)))
  elseif bad then
    self:refuse(request, bad)
  end
  return first
end

--- The text of a small object. Raises NOT_FOUND.
function Client:get(key, limit)
  return self:call { method = "GET", key = key, limit = limit }.body
end

--- Stores a small object; with `exclusive` only if there is none (ALREADY_EXISTS), where the
--- service can do that: UNSUPPORTED says that it cannot. `headers`: more of them.
function Client:put(key, text, exclusive, headers)
  local all = { ["content-type"] = "application/octet-stream" }
  for name, value in pairs(headers or {}) do
    all[name] = value
  end
  all["if-none-match"] = exclusive and "*" or nil
  return self:call { method = "PUT", key = key, body = text, headers = all }
end

local SUM_BYTES = 44 -- 32 as base64

--- { size, sha256 (if the service says it), etag, age (seconds, by the service's clock) }, or nil when
--- there is no such object.
function Client:stat(key)
  local answer = self:call { method = "HEAD", key = key, allow = { [404] = true } }
  if answer.status == 404 then
    return nil
  end
  local sum = answer.headers["x-amz-checksum-sha256"] or ""
  return { size = math.tointeger(tonumber(answer.headers["content-length"])),
    sha256 = #sum == SUM_BYTES and answer.headers["x-amz-checksum-type"] ~= "COMPOSITE" and
      hash.hex(hash.unbase64(sum)) or nil,
    etag = answer.headers.etag, age = (http_time(answer.headers.date) or 0) -
      (http_time(answer.headers["last-modified"]) or 0) }
end

-- The answer as XML, whose outermost element's name must begin with this: some errors come with
-- status 200.
local function parsed(self, request, answer, name)
  local root, why = xml.parse(answer.body)
  if root and root.name == "Error" then
    self:refuse(request, answer)
  elseif not root or root.name:sub(1, #name) ~= name then
    errors.raise("S3_ERROR", ("%s: the answer is not the one of an S3 service (%s)"):format(
      shown(self, request), why or root.name), { hint = "check `endpoint`" })
  end
  return root
end

local LIST_LIMIT = 16 * 1024 * 1024

--- Calls fn(key, size, time) for each object whose key begins with `prefix`, in order, and, with
--- `delimiter`, folder(name) for what those up to the next one have in common.
function Client:list(prefix, fn, delimiter, folder)
  local token
  repeat
    local request = { method = "GET", limit = LIST_LIMIT, query = { ["list-type"] = 2, prefix = prefix,
      delimiter = delimiter, ["continuation-token"] = token } }
    local root = parsed(self, request, self:call(request), "ListBucketResult")
    for _, child in ipairs(root) do
      if child.name == "Contents" then
        fn(M.text(child, "Key"), math.tointeger(tonumber(M.text(child, "Size"))), M.text(child,
          "LastModified"))
      elseif child.name == "CommonPrefixes" and folder then
        folder(M.text(child, "Prefix"))
      end
    end
    token = M.text(root, "IsTruncated") == "true" and M.text(root, "NextContinuationToken") or nil
  until not token
end

local ESCAPES = { ["<"] = "&lt;", [">"] = "&gt;", ["&"] = "&amp;", ['"'] = "&quot;", ["\r"] = "&#13;",
  ["\n"] = "&#10;" }

local function escape(text)
  return (text:gsub("[<>&\"\r\n]", ESCAPES))
end

local BATCH = 1000

-- Deletes at most BATCH objects in one request.
local function delete_batch(self, keys, tries)
  local list = {}
  for i, key in ipairs(keys) do
    list[i] = ("<Object><Key>%s</Key></Object>"):format(escape(key))
  end
  local body = "<Delete><Quiet>true</Quiet>" .. table.concat(list) .. "</Delete>"
  local request = { method = "POST", query = { delete = "" }, body = body, limit = LIST_LIMIT,
    tries = tries,
    headers = { ["content-md5"] = hash.base64(hash.md5(body)), ["content-type"] = "application/xml" } }
  local answer = self:call(request)
  local root = answer.body ~= "" and parsed(self, request, answer, "DeleteResult") or {}
  for _, child in ipairs(root) do
    local code = child.name == "Error" and M.text(child, "Code")
    if code and code ~= "NoSuchKey" then
      local name, hint = explain(self, code)
      errors.raise(name, ("could not delete s3://%s/%s: %s"):format(self.bucket,
        M.text(child, "Key"), code), { hint = hint, s3 = code })
    end
  end
end

--- Deletes objects; that one is not there is no error. `tries`: other than those of all requests.
function Client:delete(keys, tries)
  if #keys == 1 then -- in Ceph a batch takes twenty times as long
    self:call { method = "DELETE", key = keys[1], allow = { [404] = true }, tries = tries }
    return
  end
  for from = 1, #keys, BATCH do
    delete_batch(self, table.move(keys, from, math.min(from + BATCH - 1, #keys), 1, {}), tries)
  end
end

-- ---- uploads in parts ---------------------------------------------------------------------------

local function create_upload(self, key, headers)
  local request = { method = "POST", key = key, query = { uploads = "" }, headers = headers }
  local root = parsed(self, request, self:call(request), "InitiateMultipartUploadResult")
  return M.text(root, "UploadId")
end

--- Calls fn(key, upload) for each upload that has begun, and not ended, to keys that begin with
--- `prefix`.
function Client:list_uploads(prefix, fn)
  local key_marker, upload_marker
  repeat
    local request = { method = "GET", limit = LIST_LIMIT, query = { uploads = "", prefix = prefix,
      ["key-marker"] = key_marker, ["upload-id-marker"] = upload_marker } }
    local root = parsed(self, request, self:call(request), "ListMultipartUploadsResult")
    for _, child in ipairs(root) do
      if child.name == "Upload" then
        fn(M.text(child, "Key"), M.text(child, "UploadId"))
      end
    end
    local is_truncated = M.text(root, "IsTruncated") == "true"
    key_marker = is_truncated and M.text(root, "NextKeyMarker") or nil
    upload_marker = is_truncated and M.text(root, "NextUploadIdMarker") or nil
  until not key_marker
end

local ABORT_TRIES, ABORT_WAIT_MS = 10, 200

--- Ends an upload without a result. A part that was still on its way may bring it back, as the
--- service's manual says: so it is ended until it is not there any more.
function Client:abort_upload(key, upload)
  for try = 1, ABORT_TRIES do
    local answer = self:call { method = "DELETE", key = key, query = { uploadId = upload },
      allow = { [404] = true } }
    if answer.status == 404 then
      return
    end
    core_task.sleep(try * ABORT_WAIT_MS)
  end
end

local MAX_PARTS = 10000 -- what Amazon's service takes, and most others; some take 1000

local function put_part(self, key, upload, part, number)
  if number > MAX_PARTS then
    errors.raise("UNSUPPORTED", ("s3://%s/%s is larger than an object in %d parts can be"):format(
      self.bucket, key, MAX_PARTS), { hint = "give the job a smaller piece_size, of at most 150GiB" })
  end
  local answer = self:call { method = "PUT", key = key, body = part, sha256 = part.sha256,
    query = { partNumber = number, uploadId = upload } }
  return { number = number, etag = answer.headers.etag, sha256 = part.sha256 }
end

local function complete_upload(self, key, upload, stored)
  table.sort(stored, function(a, b) return a.number < b.number end)
  local list = {}
  for i, part in ipairs(stored) do
    local sum = self.checksums and ("<ChecksumSHA256>%s</ChecksumSHA256>"):format(hash.base64(
      hash.unhex(part.sha256))) or ""
    list[i] = ("<Part><PartNumber>%d</PartNumber><ETag>%s</ETag>%s</Part>"):format(part.number,
      escape(part.etag), sum)
  end
  local request = { method = "POST", key = key, query = { uploadId = upload }, body =
    "<CompleteMultipartUpload>" .. table.concat(list) .. "</CompleteMultipartUpload>",
    headers = { ["content-type"] = "application/xml" } }
  parsed(self, request, self:call(request), "CompleteMultipartUploadRes") -- of moto: Response
end

local function flow_has_ended()
  errors.raise("CANCELED", "the flow has ended")
end

-- Sends the parts of a piece, several at a time, as they come. Returns { number, etag } of each.
local function send_parts(self, key, upload, first, parts, options)
  local stored, has_ended, n_taken, before = {}, false, 0, first.number - 1
  local function take()
    n_taken = n_taken + 1
    if n_taken == 1 then
      return first
    elseif n_taken <= (options.parts_of_piece or math.huge) then
      local part, is_over = parts:next()
      has_ended = has_ended or is_over
      return part
    end
  end
  local scope <close> = core_task.scope()
  for _ = 1, options.parallel do
    scope:spawn(function()
      for part in take do
        local one = put_part(self, key, upload, part, part.number - before)
        stored[#stored + 1] = one -- the length is that of now, not of before it waited
        part:close()
      end
    end)
  end
  scope:join()
  if has_ended then
    flow_has_ended()
  end
  return stored
end

-- Stores a piece, whose first part is there: in one request when it is one.
local function upload_piece(self, key, first, parts, options)
  local headers = options.headers()
  if first.is_last or options.parts_of_piece == 1 then
    self:call { method = "PUT", key = key, body = first, sha256 = first.sha256, headers = headers }
    first:close()
    return
  end
  local upload = core_task.shield(function() -- or nobody would know which to end
    return create_upload(self, key, headers)
  end, 30000)
  local ok, err = pcall(function()
    complete_upload(self, key, upload, send_parts(self, key, upload, first, parts, options))
  end)
  if not ok then
    core_task.shield(function() pcall(self.abort_upload, self, key, upload) end, 15000)
    error(err, 0)
  end
end

local DELETE_TRIES = 2

--- Stores what comes in parts (moonkeep.core.http), as one object or several. `key_of(i)`: the key of
--- each. `options`: parallel, headers (a function that gives the objects'), parts_of_piece (how many
--- each has at most; nil: there is only one). What it raises leaves none of them.
function Client:upload(key_of, parts, options)
  local keys, n_stored = {}, 0
  local ok, err = pcall(function()
    local first, has_ended = parts:next()
    while first do
      table.insert(keys, key_of(#keys + 1))
      upload_piece(self, keys[#keys], first, parts, options)
      n_stored = n_stored + 1
      first, has_ended = parts:next()
    end
    if has_ended then
      flow_has_ended()
    end
  end)
  if not ok then
    if n_stored > 0 then -- what has failed is not there
      core_task.shield(function() pcall(self.delete, self, keys, DELETE_TRIES) end, 15000)
    end
    error(err, 0)
  end
end

return M
