--- Objects in a bucket of an S3 service: s3://bucket/prefix.
---
--- A driver of stores: see moonkeep.store.layout. An object appears whole or not at all, as the
--- service has it: one request, or an upload in parts that is completed last.
---
--- There are no locks: whoever makes a backup keeps an object, its lease, that it writes anew
--- several times in `lease` (15 minutes). One that is older, by the service's own clock, belonged
--- to a run that is dead.
local clients = require "moonkeep.s3.client"
local clock = require "moonkeep.clock"
local core = require "moonkeep.core.http"
local core_fs = require "moonkeep.core.fs"
local core_task = require "moonkeep.core.task"
local credentials = require "moonkeep.aws.credentials"
local errors = require "moonkeep.errors"
local hash = require "moonkeep.core.hash"
local host = require "moonkeep.core.host"
local json = require "moonkeep.core.json"
local log = require "moonkeep.log"
local pieces = require "moonkeep.store.pieces"
local redact = require "moonkeep.redact"
local secret = require "moonkeep.secret"
local sign = require "moonkeep.aws.sign"
local units = require "moonkeep.units"

local M = {}

local PARALLEL = 2

local Driver = {}
Driver.__index = Driver

--- The text of a small object. Raises NOT_FOUND.
function Driver:read(key)
  return self.client:get(self.prefix .. key, 16 << 20)
end

-- Whether it exists already because we have written it: of a try whose answer was lost.
local function is_there(self, key, text, err)
  if errors.of(err).code ~= "ALREADY_EXISTS" then
    return false
  end
  local ok, there = pcall(self.read, self, key)
  return ok and there == text
end

--- Stores a small object; with `exclusive` only if there is none: ALREADY_EXISTS. Marks, which change,
--- are not locked.
function Driver:write(key, text, exclusive, is_mark)
  if exclusive and not self.has_no_conditions then
    local ok, err = pcall(self.client.put, self.client, self.prefix .. key, text, true,
      self.headers(is_mark))
    if ok or is_there(self, key, text, err) then
      return
    elseif errors.of(err).code ~= "UNSUPPORTED" then
      error(err, 0)
    end
    self.has_no_conditions = true
  end
  if exclusive and self:stat(key) then
    errors.raise("ALREADY_EXISTS", ("there is an object %s already"):format(key))
  end
  self.client:put(self.prefix .. key, text, false, self.headers(is_mark))
end

--- { size, sha256 (if the service says it) }, or nil.
function Driver:stat(key)
  return self.client:stat(self.prefix .. key)
end

--- The source of a flow.
function Driver:source(key, n_pieces)
  local feed = core.feed()
  return { kind = "feed", feed = feed, drive = function()
    for i = 1, n_pieces or 1 do
      self.client:get_into(feed, self.prefix .. pieces.name(key, i))
    end
  end }
end

--- The sink of a flow: a new object.
function Driver:sink(key, piece_bytes)
  local part_bytes = math.min(piece_bytes or pieces.PART_BYTES, pieces.PART_BYTES)
  local parts = core.parts(part_bytes)
  return { kind = "parts", parts = parts, drive = function()
    self.client:upload(function(i) return self.prefix .. pieces.name(key, i) end, parts, {
      parallel = self.parallel, headers = self.headers,
      parts_of_piece = piece_bytes and piece_bytes // part_bytes })
  end }
end

-- The names directly below a folder: objects, folders.
local function list(self, folder)
  local objects, folders = {}, {}
  local prefix = self.prefix .. folder
  self.client:list(prefix, function(key)
    objects[#objects + 1] = key:sub(#prefix + 1)
  end, "/", function(key)
    folders[#folders + 1] = key:sub(#prefix + 1, -2)
  end)
  return objects, folders
end

function Driver:names(folder)
  local objects, folders = list(self, folder)
  return table.move(folders, 1, #folders, #objects + 1, objects)
end

function Driver:stems(folder)
  return core_fs.group(self:names(folder))
end

function Driver:folders(folder)
  return (select(2, list(self, folder)))
end

--- What `doctor` has to say of the place: a list of texts.
function Driver:remarks()
  local ok, answer = pcall(self.client.call, self.client, { method = "GET", query = {
    versioning = "" } })
  if ok and answer.body:find("<Status>Enabled</Status>", 1, true) then
    return { "keeps old versions: what is deleted, or expires, stays as one until a lifecycle rule " ..
      "of the bucket removes it" }
  end
  return {}
end

-- Folders are parts of keys.
function Driver.make_folder() end

function Driver.path() end

--- What messages call it.
function Driver:shown(key)
  return ("s3://%s/%s%s"):format(self.client.bucket, self.prefix, key)
end

--- Removes objects.
function Driver:remove(keys)
  local full = {}
  for i, key in ipairs(keys) do
    full[i] = self.prefix .. key
  end
  self.client:delete(full)
end

--- Removes all below a folder, and ends uploads to it.
function Driver:remove_folder(folder)
  local keys, uploads = {}, {}
  self.client:list(self.prefix .. folder, function(key)
    keys[#keys + 1] = key
  end)
  self.client:delete(keys)
  self.client:list_uploads(self.prefix .. folder, function(key, upload)
    uploads[#uploads + 1] = { key, upload }
  end)
  for _, one in ipairs(uploads) do
    self.client:abort_upload(one[1], one[2])
  end
end

-- ---- leases -------------------------------------------------------------------------------------

local LEASE_MS = 15 * 60 * 1000
local REMOVE_TRIES, LEASE_END_MS = 2, 5000

local Lease = {}
Lease.__index = Lease

local function write_lease(self)
  if self.written and clock.monotonic() - self.written > self.driver.lease_ms then
    self.is_lost = true -- for good: what others did meanwhile is not undone by writing it anew
  end
  self.driver.client:put(self.driver.prefix .. self.key, json.encode { holder = self.holder,
    host = host.name() }) -- without what objects have: it is never locked
  self.written = clock.monotonic()
end

-- As far as that goes: it also runs out by itself.
local function remove_lease(self)
  pcall(self.driver.client.delete, self.driver.client, { self.driver.prefix .. self.key }, REMOVE_TRIES)
end

-- Until it is closed.
local function renew(self)
  while true do
    core_task.sleep(self.driver.lease_ms // 5)
    local ok, err = pcall(write_lease, self)
    if not ok then
      log.debug("could not renew %s: %s", self.driver:shown(self.key), tostring(err))
    end
  end
end

--- Raises BUSY when others may have taken us for dead.
function Lease:check()
  if self.is_lost or clock.monotonic() - self.written > self.driver.lease_ms then
    errors.raise("BUSY", ("%s could not be renewed for so long that another run may have removed " ..
      "what this one has stored"):format(self.driver:shown(self.key)))
  end
end

function Lease:close()
  self.scope:cancel(errors.new("CANCELED", "the lease is given up"))
  pcall(self.scope.join, self.scope)
  remove_lease(self)
end
Lease.__close = Lease.close

-- Whether the lease of a run that may be alive is there. Its age is by the service's clock.
local function is_leased(self, key)
  local ok, stat = pcall(self.stat, self, key)
  if not ok and errors.is_denied(stat) then
    return false -- whoever may only write does not see it; names of backups are random
  elseif not ok then
    error(stat, 0)
  end
  return stat ~= nil and stat.age * 1000 < self.lease_ms
end

function Driver:hold(key)
  if is_leased(self, key) then
    return nil
  end
  local lease = setmetatable({ driver = self, key = key, holder = host.random(8),
    scope = core_task.scope() }, Lease)
  local ok, err = pcall(write_lease, lease)
  if not ok then -- it may be there all the same, and would keep us out
    core_task.shield(function() remove_lease(lease) end, LEASE_END_MS)
    error(err, 0)
  end
  lease.scope:spawn(renew, lease)
  return lease
end

-- ---- making -------------------------------------------------------------------------------------

-- A function (is_mark) that gives the headers with which objects are stored.
local function headers_of(options)
  return function(is_mark)
    local headers = { ["x-amz-storage-class"] = options.storage_class,
      ["x-amz-tagging"] = options.tags and sign.query(options.tags) }
    if options.encryption then
      local kind, key = options.encryption:match "^([^:]+):?(.*)$"
      headers["x-amz-server-side-encryption"] = kind
      headers["x-amz-server-side-encryption-aws-kms-key-id"] = key ~= "" and key or nil
    end
    if options.lock and not is_mark then
      headers["x-amz-object-lock-mode"] = options.lock_mode or "GOVERNANCE"
      headers["x-amz-object-lock-retain-until-date"] = clock.iso((clock.wall() +
        units.duration(options.lock)) // 1000)
    end
    return headers
  end
end

local CUSTOMER_KEY_BYTES = 32

-- A function that gives the 32 bytes with which the service encrypts; nil: there is no such key.
local function customer_key_of(options)
  return options.encryption_key and function()
    local text = secret.reveal(options.encryption_key)
    local ok, key = pcall(hash.unbase64, text)
    if not ok or #key ~= CUSTOMER_KEY_BYTES then
      errors.raise("INVALID", "the encryption_key of the store is not 32 bytes as base64",
        { hint = "make one with: openssl rand -base64 32" })
    end
    redact.add(hash.base64(hash.md5(key)))
    return key
  end
end

-- Whether an endpoint can be given a key that nobody else may see.
local function is_private(endpoint)
  return endpoint:find "^https://" ~= nil or endpoint:find "^http://127%." ~= nil or
    endpoint:find "^http://localhost[:/]?" ~= nil
end

--- `rest` is what follows s3:// in the URL. Returns nil, why, hint when that is no proper place.
function M.new(rest, options)
  local bucket, prefix = rest:match "^([%w._-]+)/?(.*)$"
  if not bucket then
    return nil, ("\"s3://%s\" has no bucket"):format(rest), "write it as s3://bucket/prefix"
  elseif prefix:find "//" or prefix:sub(1, 1) == "/" then
    return nil, ("the prefix %s has an empty folder in it"):format(prefix)
  end
  local region = options.region or os.getenv "AWS_REGION" or os.getenv "AWS_DEFAULT_REGION" or
    "us-east-1"
  local own = options.endpoint or os.getenv "AWS_ENDPOINT_URL_S3" or os.getenv "AWS_ENDPOINT_URL"
  local endpoint = own or ("https://s3.%s.amazonaws.com"):format(region)
  if options.encryption_key and not is_private(endpoint) then
    return nil, "the encryption_key would be sent without encryption to " .. endpoint,
      "use an endpoint that begins with https://"
  end
  local checksums = options.checksums
  if checksums == nil then
    checksums = own == nil or options.lock ~= nil -- which cannot be stored without
  end
  return setmetatable({
    prefix = prefix == "" and "" or prefix:gsub("/$", "") .. "/", headers = headers_of(options),
    parallel = options.parallel or PARALLEL,
    lease_ms = options.lease and units.duration(options.lease) or LEASE_MS,
    client = clients.new { bucket = bucket, region = region, ca = options.ca, proxy = options.proxy,
      endpoint = endpoint, checksums = checksums, customer_key = customer_key_of(options),
      path_style = options.path_style or (options.path_style == nil and own ~= nil),
      credentials = credentials.chain(options), tries = options.retries and options.retries + 1,
      idle_ms = options.stall and units.duration(options.stall) } }, Driver)
end

return M
