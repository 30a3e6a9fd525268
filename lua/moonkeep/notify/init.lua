--- Notifiers: whom a job tells of what became of it. mk.notify.<service>(options) makes one; see
--- moonkeep.notify.services for the services, deliver.lua for how and when they are told.
---
--- A notifier can be kept as JSON (its descriptor), for the time when its recipe does not load: secrets
--- are kept by name, functions not at all.
local core_error = require "moonkeep.core.error"
local json = require "moonkeep.core.json"
local secret = require "moonkeep.secret"
local services = require "moonkeep.notify.services"
local spec = require "moonkeep.spec"

local M = {}

local by_name = {}
for _, service in ipairs(services) do
  by_name[service.name] = service
end

local Notifier = { __name = "moonkeep.Notifier" }
Notifier.__index = Notifier

function Notifier:__tostring()
  return self.service.name
end

local function make(service, options)
  return setmetatable({ service = service, options = options, where = core_error.where() }, Notifier)
end

-- mk.notify.<service>: a table of options, or the first one by itself.
local function maker(service)
  return function(options)
    if type(options) ~= "table" or secret.is_secret(options) then
      options = { [service.keys[1][1]] = options }
    end
    spec.check("mk.notify." .. service.name, "notify_" .. service.name, options)
    return make(service, options)
  end
end

--- What recipes have as mk.notify: a maker for each service.
M.makers = {}
for _, service in ipairs(services) do
  M.makers[service.name] = maker(service)
end

--- The notifiers of a value of the table `notify`: one, or a list.
function M.list(value)
  return getmetatable(value) == Notifier and { value } or value or {}
end

-- ---- descriptors ----------------------------------------------------------------------------------

local function kept(value)
  local reference = secret.reference(value)
  if reference then
    return { ["$secret"] = reference }
  elseif type(value) ~= "table" then
    return value
  end
  local copy = {}
  for key, item in pairs(value) do
    copy[key] = kept(item)
  end
  return copy
end

local function unkept(value)
  if type(value) ~= "table" then
    return value
  elseif value["$secret"] then
    return secret.from_reference(value["$secret"])
  end
  local copy = {}
  for key, item in pairs(value) do
    copy[key] = unkept(item)
  end
  return copy
end

--- A notifier as JSON can hold it: { service, options, has_template }.
function M.descriptor(notifier)
  local options, has_template = {}, nil
  for key, value in pairs(notifier.options) do
    if type(value) == "function" then
      has_template = true
    else
      options[key] = kept(value)
    end
  end
  return { service = notifier.service.name, options = options, has_template = has_template }
end

--- What tells one notifier from another.
function M.identity(descriptor)
  return json.encode { descriptor.service, descriptor.options }
end

--- The notifier of a descriptor, without its template; nil when its service is unknown here.
function M.from_descriptor(descriptor)
  local service = by_name[descriptor.service]
  return service and make(service, unkept(descriptor.options))
end

-- ---- sending --------------------------------------------------------------------------------------

local function revealed(value)
  value = secret.reveal(value)
  if type(value) ~= "table" then
    return value
  end
  local copy = {}
  for key, item in pairs(value) do
    copy[key] = revealed(item)
  end
  return copy
end

--- Sends a message by a notifier. Raises what its service raises.
function M.send(notifier, event, message)
  notifier.service.send(revealed(notifier.options), event, message)
end

--- Whether a service hears of everything.
function M.pings(descriptor)
  local service = by_name[descriptor.service]
  return service ~= nil and service.pings == true
end

return M
