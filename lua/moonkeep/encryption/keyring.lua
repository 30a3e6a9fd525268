--- What opens encrypted backups here: the private keys and passphrases of the jobs that are loaded, of
--- `--identity`, of mk.identity, and of the environment. Nothing is read before it is needed.
local age = require "moonkeep.encryption.age"
local errors = require "moonkeep.errors"
local secret = require "moonkeep.secret"

local M = {}

local identities, passphrases = {}, {} -- secrets

local function add(list, one)
  for _, known in ipairs(list) do
    if known == one then
      return
    end
  end
  list[#list + 1] = one
end

--- Adds the private keys of a secret, which holds the text of a file of them (mk.identity).
function M.add_identity(one)
  add(identities, one)
end

--- Adds a passphrase.
function M.add_passphrase(one)
  add(passphrases, one)
end

local environment_was_read = false

-- MOONKEEP_IDENTITY is a file's path, MOONKEEP_PASSPHRASE the text itself.
local function read_environment()
  if environment_was_read then
    return
  end
  environment_was_read = true
  local path = os.getenv "MOONKEEP_IDENTITY"
  if path and path ~= "" then
    M.add_identity(secret.file(path))
  end
  local passphrase = secret.optional_env "MOONKEEP_PASSPHRASE"
  if passphrase then
    M.add_passphrase(passphrase)
  end
end

--- Whether there is anything that may open a backup that is sealed to keys; to a passphrase.
function M.has_identities()
  read_environment()
  return #identities > 0
end
function M.has_passphrases()
  read_environment()
  return #passphrases > 0
end

-- Calls fn(value) with the value of each secret until one returns something; raises what kept the others
-- from it.
local function try(list, fn)
  local first
  for _, one in ipairs(list) do
    local ok, result = xpcall(fn, errors.handler, secret.reveal, one)
    if ok and result then
      return result
    end
    first = first or not ok and result or nil
  end
  if first then
    error(first, 0)
  end
end

-- What opens it, by one kind of keys; nil: none of them does.
local function opened(bytes, with)
  local ok, text = pcall(age.open, bytes, with)
  if ok then
    return text
  elseif errors.of(text).code ~= "WRONG_KEY" then
    error(text, 0)
  end
end

local function by_identity(bytes)
  return try(identities, function(reveal, one)
    for _, identity in ipairs(age.identities(reveal(one), tostring(one))) do
      local text = opened(bytes, { identities = { identity } })
      if text then
        return { text = text, by = age.recipient(identity) }
      end
    end
  end)
end

local function by_passphrase(bytes)
  return try(passphrases, function(reveal, one)
    local text = opened(bytes, { passphrase = reveal(one) })
    return text and { text = text, by = "passphrase" }
  end)
end

--- Opens a small age file with whatever does: { text, by = the recipient, or "passphrase" }; nil when
--- nothing does. Raises CORRUPT, and why a key could not be read when no other one opens it.
function M.open(bytes)
  read_environment()
  return by_identity(bytes) or by_passphrase(bytes)
end

return M
