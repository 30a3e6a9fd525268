--- Objects in a bucket of an S3 service: s3://bucket/prefix.
---
--- A driver of stores: see moonkeep.store.driver for the contract. An object appears whole or not at
--- all, as the service has it: one request, or an upload in parts that is completed last.
local clients = require "moonkeep.s3.client"
local core = require "moonkeep.core.http"
local credentials = require "moonkeep.aws.credentials"
local errors = require "moonkeep.errors"
local units = require "moonkeep.units"

local M = {}

local PART_BYTES = 16 << 20
local PARALLEL = 2

local Driver = {}
Driver.__index = Driver

--- The text of a small object. Raises NOT_FOUND.
function Driver:read(key)
  return self.client:get(self.prefix .. key, 16 << 20)
end

--- Stores a small object; with `exclusive` only if there is none: ALREADY_EXISTS.
function Driver:write(key, text, exclusive)
  if exclusive and not self.has_no_conditions then
    local ok, err = pcall(self.client.put, self.client, self.prefix .. key, text, true, self.headers)
    if ok then
      return
    elseif errors.of(err).code ~= "UNSUPPORTED" then
      error(err, 0)
    end
    self.has_no_conditions = true
  end
  if exclusive and self:stat(key) then
    errors.raise("ALREADY_EXISTS", ("there is an object %s already"):format(key))
  end
  self.client:put(self.prefix .. key, text, false, self.headers)
end

--- { size }, or nil.
function Driver:stat(key)
  return self.client:stat(self.prefix .. key)
end

--- The source of a flow.
function Driver:source(key)
  local feed = core.feed()
  return { kind = "feed", feed = feed, drive = function()
    self.client:get_into(feed, self.prefix .. key)
  end }
end

--- The sink of a flow: a new object.
function Driver:sink(key)
  local parts = core.parts(PART_BYTES)
  return { kind = "parts", parts = parts, drive = function()
    self.client:upload(self.prefix .. key, parts, self.parallel, self.headers)
  end }
end

--- The names directly below a folder ("" or one that ends with "/"): objects, folders.
function Driver:list(folder)
  local objects, folders = {}, {}
  local prefix = self.prefix .. folder
  self.client:list(prefix, function(key)
    objects[#objects + 1] = key:sub(#prefix + 1)
  end, "/", function(key)
    folders[#folders + 1] = key:sub(#prefix + 1, -2)
  end)
  return objects, folders
end

--- Removes objects.
function Driver:remove(keys)
  local full = {}
  for i, key in ipairs(keys) do
    full[i] = self.prefix .. key
  end
  self.client:delete(full)
end

--- Removes all below a folder.
function Driver:remove_folder(folder)
  local keys = {}
  self.client:list(self.prefix .. folder, function(key)
    keys[#keys + 1] = key
  end)
  self.client:delete(keys)
end

local function header_of(options)
  local headers = { ["x-amz-storage-class"] = options.storage_class }
  if options.encryption then
    local kind, key = options.encryption:match "^([^:]+):?(.*)$"
    headers["x-amz-server-side-encryption"] = kind
    headers["x-amz-server-side-encryption-aws-kms-key-id"] = key ~= "" and key or nil
  end
  return headers
end

--- `rest` is what follows s3:// in the URL. Returns nil, why, hint when that is no proper place.
function M.new(rest, options)
  local bucket, prefix = rest:match "^([%w._-]+)/?(.*)$"
  if not bucket then
    return nil, ("\"s3://%s\" has no bucket"):format(rest), "write it as s3://bucket/prefix"
  elseif prefix:find "//" or prefix:sub(1, 1) == "/" then
    return nil, ("the prefix %s has an empty folder in it"):format(prefix)
  end
  local region = options.region or os.getenv "AWS_REGION" or os.getenv "AWS_DEFAULT_REGION" or "us-east-1"
  local endpoint = options.endpoint or os.getenv "AWS_ENDPOINT_URL_S3" or os.getenv "AWS_ENDPOINT_URL"
  return setmetatable({
    prefix = prefix == "" and "" or prefix:gsub("/$", "") .. "/", headers = header_of(options),
    parallel = options.parallel or PARALLEL,
    client = clients.new { bucket = bucket, region = region, ca = options.ca, proxy = options.proxy,
      endpoint = endpoint or ("https://s3.%s.amazonaws.com"):format(region),
      path_style = options.path_style or (options.path_style == nil and endpoint ~= nil),
      credentials = credentials.chain(options), tries = (options.retries or 4) + 1,
      idle_ms = options.stall and units.duration(options.stall) or 60000, connect_ms = 10000 } }, Driver)
end

return M
