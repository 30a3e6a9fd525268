--- The table `encrypt` of a job, or of ctx:backup: what the types of its keys do not say.
local keyring = require "moonkeep.encryption.keyring"
local types = require "moonkeep.definitions.types"

local M = {}

--- What is wrong with it: a list of { key, text, hint }. There must be one way to open what is sealed,
--- and somebody who may.
function M.mistakes(encrypt)
  local found = {}
  local by_key, by_passphrase = encrypt.recipients ~= nil, encrypt.passphrase ~= nil
  if by_key == by_passphrase then
    found[1] = { key = "encrypt", text = by_key and
      "encrypt has both recipients and a passphrase: one of them" or
      "encrypt has neither recipients nor a passphrase", hint = not by_key and
      "make a key (moonkeep keygen), and say encrypt = { recipients = { \"age1...\" } }; a job's " ..
      "`encrypt` replaces that of policy.lua as a whole" or nil }
  end
  for _, key in ipairs(by_passphrase and { "identity", "escrow" } or {}) do
    found[#found + 1] = encrypt[key] ~= nil and { key = "encrypt." .. key,
      text = ("encrypt.%s goes with recipients, not with a passphrase"):format(key) } or nil
  end
  return found
end

--- From now on what is encrypted so can be opened by its own keys.
function M.settle(encrypt)
  local identity = encrypt.identity
  for _, one in ipairs(types.secret.check(identity) and identity or { identity }) do
    keyring.add_identity(one)
  end
  if encrypt.passphrase then
    keyring.add_passphrase(encrypt.passphrase)
  end
end

return M
