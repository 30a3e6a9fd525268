--- What opens encrypted backups here: the private keys and passphrases of the jobs that are loaded, of
--- mk.identity, and of the environment; or, with `--identity`, only what that names, so that it can be
--- seen whether it does. Nothing is read before it is needed.
local age = require "moonkeep.encryption.age"
local errors = require "moonkeep.errors"
local secret = require "moonkeep.secret"

local M = {}

local identities, passphrases = {}, {} -- secrets
local is_closed = false                -- nothing more is added

local function add(list, one)
  for _, known in ipairs(list) do
    if known == one then
      return
    end
  end
  list[#list + 1] = not is_closed and one or nil
end

--- Adds the private keys of a secret, which holds the text of a file of them (mk.identity).
function M.add_identity(one)
  add(identities, one)
end

--- Adds a passphrase.
function M.add_passphrase(one)
  add(passphrases, one)
end

--- Only the private keys of these secrets from now on.
function M.only(list)
  identities, passphrases, is_closed = list, {}, true
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

-- What opens it, by one kind of keys; nil: none of them does.
local function opened(bytes, with)
  local ok, text = pcall(age.open, bytes, with)
  if ok then
    return text
  elseif errors.of(text).code ~= "WRONG_KEY" then
    error(text, 0)
  end
end

local function by_identity(bytes, one, tried)
  for _, identity in ipairs(age.identities(secret.reveal(one), secret.shown(one))) do
    local text = opened(bytes, { identities = { identity } })
    if text then
      return { text = text, by = age.recipient(identity) }
    end
    tried[#tried + 1] = age.recipient(identity)
  end
end

local function by_passphrase(bytes, one)
  local text = opened(bytes, { passphrase = secret.reveal(one) })
  return text and { text = text, by = "passphrase" }
end

--- Opens a small age file with whatever does: { text, by = the recipient, or "passphrase" }; nil when
--- nothing does, and the public keys of those that were tried. Raises CORRUPT, and why a key could not
--- be read when no other one opens it.
function M.open(bytes)
  read_environment()
  local tried, first = {}, nil
  for _, kind in ipairs { { identities, by_identity }, { passphrases, by_passphrase } } do
    for _, one in ipairs(kind[1]) do
      local ok, found = xpcall(kind[2], errors.handler, bytes, one, tried)
      if ok and found then
        return found
      end
      first = first or not ok and found or nil
    end
  end
  if first then
    error(first, 0)
  end
  return nil, tried
end

return M
