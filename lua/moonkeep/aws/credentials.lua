--- Credentials of AWS and of what speaks its protocol: { id, secret, token, expires (Unix) }.
---
--- Found in this order, as Amazon's own programs do: what the recipe gives; AWS_ACCESS_KEY_ID ...;
--- a web identity (AWS_WEB_IDENTITY_TOKEN_FILE, as pods of EKS have); a profile of
--- ~/.aws/credentials or ~/.aws/config; a container's endpoint (ECS, EKS); the instance's (IMDSv2).
--- What expires is asked for again five minutes before. Source: docs.aws.amazon.com, "Standardized
--- credential providers".
local clock = require "moonkeep.clock"
local errors = require "moonkeep.errors"
local fs = require "moonkeep.fs"
local http = require "moonkeep.http"
local merge = require "moonkeep.merge"
local redact = require "moonkeep.redact"
local secret = require "moonkeep.secret"
local sign = require "moonkeep.aws.sign"
local xml = require "moonkeep.core.xml"
local zone = require "moonkeep.schedule.zone"

local M = {}

local REFRESH_S = 300

-- "2026-11-22T02:00:00Z" -> Unix
local function time_of(text)
  local y, mo, d, h, mi, s = (text or ""):match "^(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)"
  return y and zone.unix(y, mo, d, h, mi, s)
end

local function made(id, key, token, expires)
  redact.add(key)
  if token and token ~= "" then
    redact.add(token)
  end
  return { id = id, secret = key, token = token ~= "" and token or nil, expires = expires }
end

-- ---- providers: each gives credentials, or nil when it does not apply ------------------------

local function of_options(options)
  if options.access_key then
    return made(secret.reveal(options.access_key), secret.reveal(options.secret_key),
      secret.reveal(options.session_token))
  end
end

local function of_environment(_, env)
  local id, key = env "AWS_ACCESS_KEY_ID", env "AWS_SECRET_ACCESS_KEY"
  if id and key then
    return made(id, key, env "AWS_SESSION_TOKEN")
  end
end

-- The keys of a section of an INI file; nil: there is no such section.
local function section(path, name)
  local ok, text = pcall(fs.read, path)
  local keys
  local is_wanted = false
  for line in (ok and text or ""):gmatch "[^\n]+" do
    local title = line:match "^%s*%[%s*(.-)%s*%]"
    if title then
      is_wanted = title == name or title == "profile " .. name
      keys = is_wanted and (keys or {}) or keys
    elseif is_wanted then
      local key, value = line:match "^%s*([%w_]+)%s*=%s*(.-)%s*$"
      if key then
        keys[key] = value
      end
    end
  end
  return keys
end

local function of_profile(options, env)
  local name = options.profile or env "AWS_PROFILE" or "default"
  local home = env "HOME" or ""
  for _, path in ipairs { env "AWS_SHARED_CREDENTIALS_FILE" or home .. "/.aws/credentials",
    env "AWS_CONFIG_FILE" or home .. "/.aws/config" } do
    local keys = section(path, name)
    if keys and keys.aws_access_key_id then
      return made(keys.aws_access_key_id, keys.aws_secret_access_key or "", keys.aws_session_token)
    end
  end
  if options.profile then
    errors.raise("SECRET_MISSING", ("there is no profile %s with an access key"):format(name),
      { hint = "see ~/.aws/credentials" })
  end
end

local QUICK = { connect_ms = 2000, idle_ms = 5000, total_ms = 10000, tries = 3 }

local function ask(request)
  request = merge(QUICK, request)
  local answer = http.try(function() return request end)
  if answer.status ~= 200 then
    errors.raise("SECRET_MISSING", ("%s answered %d"):format(request.url:gsub("%?.*", ""),
      answer.status), { hint = "see which role this host, container or pod has" })
  end
  return answer
end

local function of_json(answer)
  local found = answer:json()
  return made(found.AccessKeyId, found.SecretAccessKey, found.Token, time_of(found.Expiration))
end

local function deep_text(element, name)
  for _, child in ipairs(element or {}) do
    if child.name == name then
      return child.text
    end
    local found = deep_text(child, name)
    if found then
      return found
    end
  end
end

local function of_web_identity(options, env)
  local file, role = env "AWS_WEB_IDENTITY_TOKEN_FILE", env "AWS_ROLE_ARN"
  if not file or not role then
    return nil
  end
  local region = options.region or env "AWS_REGION" or env "AWS_DEFAULT_REGION"
  local endpoint = env "AWS_ENDPOINT_URL_STS" or region and ("https://sts.%s.amazonaws.com"):format(
    region) or "https://sts.amazonaws.com"
  local answer = ask { url = endpoint .. "/", method = "POST", repeats = true, ca = options.ca,
    headers = { "Content-Type: application/x-www-form-urlencoded" },
    body = sign.query { Action = "AssumeRoleWithWebIdentity", Version = "2011-06-15", RoleArn = role,
      RoleSessionName = env "AWS_ROLE_SESSION_NAME" or "moonkeep",
      WebIdentityToken = fs.read(file):gsub("%s+$", "") } }
  local root = xml.parse(answer.body)
  return made(deep_text(root, "AccessKeyId"), deep_text(root, "SecretAccessKey"),
    deep_text(root, "SessionToken"), time_of(deep_text(root, "Expiration")))
end

local CONTAINER_HOST = "http://169.254.170.2"

local function of_container(_, env)
  local relative, full = env "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    env "AWS_CONTAINER_CREDENTIALS_FULL_URI"
  if not relative and not full then
    return nil
  end
  local token, file = env "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    env "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
  token = file and fs.read(file):gsub("%s+$", "") or token
  return of_json(ask { url = relative and CONTAINER_HOST .. relative or full, proxy = "",
    headers = { token and "Authorization: " .. token or nil } })
end

local function of_instance(_, env)
  if env "AWS_EC2_METADATA_DISABLED" == "true" then
    return nil
  end
  local base = (env "AWS_EC2_METADATA_SERVICE_ENDPOINT" or "http://169.254.169.254"):gsub("/$", "") ..
    "/latest/"
  local ok, token = pcall(ask, { url = base .. "api/token", method = "PUT", body = "", proxy = "",
    headers = { "X-aws-ec2-metadata-token-ttl-seconds: 21600" }, connect_ms = 1000, tries = 1 })
  if not ok then
    return nil
  end
  local headers = { "X-aws-ec2-metadata-token: " .. token.body }
  local roles = base .. "meta-data/iam/security-credentials/"
  local role = ask({ url = roles, headers = headers, proxy = "" }).body:match "[^\r\n]+"
  return of_json(ask { url = roles .. role, headers = headers, proxy = "" })
end

local PROVIDERS = { of_options, of_environment, of_web_identity, of_profile, of_container, of_instance }

--- A function that gives credentials that are good now, or, with true, that looks for them anew:
--- somebody has replaced them. `options`: those of an s3: store. `env`: for tests. Raises
--- SECRET_MISSING.
function M.chain(options, env)
  env = env or os.getenv
  local current
  return function(anew)
    local is_good = current and (not current.expires or
      current.expires - REFRESH_S > clock.wall() // 1000)
    if is_good and not anew then
      return current
    end
    for _, provider in ipairs(PROVIDERS) do
      current = provider(options, env)
      if current then
        return current
      end
    end
    errors.raise("SECRET_MISSING", "there are no credentials for S3", { hint = "give the store " ..
      "access_key and secret_key, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this host " ..
      "a role" })
  end
end

return M
