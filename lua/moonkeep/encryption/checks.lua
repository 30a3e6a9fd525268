--- What `doctor` has to say of a job's keys: findings, as in moonkeep.doctor.
local age = require "moonkeep.encryption.age"
local escrow = require "moonkeep.encryption.escrow"
local fs = require "moonkeep.fs"
local host = require "moonkeep.core.host"
local list_of = require "moonkeep.list_of"
local secret = require "moonkeep.secret"
local set_of = require "moonkeep.set_of"
local signatures = require "moonkeep.signature"
local trust = require "moonkeep.trust"
local types = require "moonkeep.definitions.types"
local units = require "moonkeep.units"

local M = {}

local READABLE_BY_OTHERS = 63 -- 0077

-- A private key that others can read is none.
local function check_mode(findings, check, one)
  local reference = secret.reference(one)
  local stat = reference.kind == "file" and fs.stat(reference.argument)
  if stat and stat.mode & READABLE_BY_OTHERS ~= 0 then
    findings:add("error", check, reference.argument .. " can be read by others",
      "chmod 0400 " .. reference.argument)
  end
end

-- The private keys that are here, which must be of those that it is sealed to.
local function check_identity(findings, one, recipients)
  check_mode(findings, "encrypt", one)
  local is_one = set_of(recipients)
  for _, identity in ipairs(age.identities(secret.reveal(one), secret.shown(one))) do
    local recipient = age.recipient(identity)
    findings:add(is_one[recipient] and "ok" or "error", "encrypt", ("%s is the private key of %s%s")
      :format(secret.shown(one), recipient, is_one[recipient] and "" or ", which is no recipient"),
      not is_one[recipient] and "name its public key in `recipients`, or another file" or nil)
  end
end

--- Checks `encrypt`.
function M.encryption(findings, job)
  local encrypt = job.keys.encrypt
  if encrypt.passphrase then
    check_mode(findings, "encrypt", encrypt.passphrase)
    secret.reveal(encrypt.passphrase)
    findings:add("ok", "encrypt", "by a passphrase")
    return
  end
  local recipients, identity = list_of(encrypt.recipients), encrypt.identity
  if #recipients == 1 then
    findings:add("note", "encrypt", "there is one recipient: if its private key is lost, so is every " ..
      "backup", "have two, kept in two places")
  end
  for _, one in ipairs(types.secret.check(identity) and identity or { identity }) do
    findings:try("encrypt", check_identity, one, recipients)
  end
  local now = host.wall() // 1000
  for _, item in ipairs((escrow.witnesses(job.keys))) do
    findings:add("ok", "encrypt", ("%s: %s"):format(item.recipient, item.time and
      ("its private key opened a backup %s ago"):format(units.format_duration(math.max(1,
      now - item.time) * 1000)) or "its private key is not known to have opened any"))
  end
  local warning, hint = escrow.warning(job.keys)
  if warning then
    findings:add("warn", "encrypt", warning, hint)
  end
end

--- Checks `sign` and `trust`.
function M.signatures(findings, job)
  check_mode(findings, "sign", job.keys.sign)
  local signer = signatures.signer(job.keys.sign)
  local is_believed = trust.accepts(job.name, signer.id)
  findings:add(is_believed and "ok" or "error", "sign", ("the key %s signs%s"):format(signer.id,
    is_believed and "" or ", and `trust` does not have it"), not is_believed and
    ("trust = { %q }"):format(signer:public_line()) or nil)
  if not job.keys.trust then
    findings:add("note", "sign", "nothing is refused that is not signed",
      ("trust = { %q }"):format(signer:public_line()))
  end
end

return M
