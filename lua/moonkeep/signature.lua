--- Signatures of manifests, in minisign's format (jedisct1.github.io/minisign): Ed25519 over the BLAKE2b
--- hash of the text, and a second one over that and a trusted comment. Stock minisign verifies them:
---
---   minisign -V -P KEY -m ID.json -x ID/manifest.minisig
---
--- A secret key is a file that `moonkeep keygen --sign`, or `minisign -G -W`, makes: without a password,
--- for a host signs by itself.
local core = require "moonkeep.core.keys"
local errors = require "moonkeep.errors"
local hash = require "moonkeep.core.hash"
local host = require "moonkeep.core.host"
local redact = require "moonkeep.redact"
local secret = require "moonkeep.secret"

--- What a backup's signature is called, in its folder.
local M = { NAME = "manifest.minisig" }

local ALGORITHM, HASHED, NO_PASSWORD, CHECKSUM = "Ed", "ED", "\0\0", "B2"
local SECRET_BYTES, PUBLIC_BYTES, SIGNATURE_BYTES = 158, 42, 74

-- The bytes of a line of base64, if there are so many; in the one spelling that they have.
local function bytes_of(line, wanted)
  local ok, bytes = pcall(hash.unbase64, line or "")
  return ok and #bytes == wanted and hash.base64(bytes) == line and bytes or nil
end

-- As minisign shows a key's id: a number, little-endian.
local function shown_id(id)
  return (hash.hex(id:reverse()):upper())
end

-- ---- keys -----------------------------------------------------------------------------------------

--- A new key: the text of its secret file, and the public key in one line.
function M.generate()
  local seed = core.sign_generate()
  local public, id = core.sign_public(seed), hash.unhex(host.random(8))
  local line = hash.base64(ALGORITHM .. id .. public)
  local private = ALGORITHM .. NO_PASSWORD .. CHECKSUM .. ("\0"):rep(48) .. id .. seed .. public ..
    ("\0"):rep(32)
  return ("untrusted comment: minisign secret key; the public one is %s\n%s\n"):format(line,
    hash.base64(private)), line
end

--- The public key of a line (as `minisign -P` takes it): { id, key }; nil: it is none.
function M.public_key(line)
  local bytes = type(line) == "string" and bytes_of(line, PUBLIC_BYTES)
  if bytes and bytes:sub(1, 2) == ALGORITHM then
    return { id = shown_id(bytes:sub(3, 10)), key = bytes:sub(11) }
  end
end

-- The key of the text of a secret file.
local function secret_key(text, what)
  local line = text:match "^untrusted comment:[^\n]*\n(%S+)%s*$"
  redact.add(line)
  if text:find "AGE%-SECRET%-KEY" then
    errors.raise("INVALID", ("%s is a key of age's, for encryption"):format(what),
      { hint = "make one for signatures: moonkeep keygen --sign FILE" })
  end
  local bytes = bytes_of(line, SECRET_BYTES)
  if not bytes or bytes:sub(1, 2) ~= ALGORITHM then
    errors.raise("INVALID", ("%s is no secret key of minisign's"):format(what),
      { hint = "make one: moonkeep keygen --sign FILE" })
  elseif bytes:sub(3, 4) ~= NO_PASSWORD then
    errors.raise("INVALID", ("%s needs a password, and nobody is there to type it"):format(what),
      { hint = "make one without: moonkeep keygen --sign FILE, or minisign -G -W" })
  end
  local seed = bytes:sub(63, 94)
  if core.sign_public(seed) ~= bytes:sub(95, 126) then
    errors.raise("INVALID", ("%s is damaged: its two halves do not fit"):format(what),
      { hint = "take a copy of it, or make another one, and add its public key to `trust`" })
  end
  return { raw_id = bytes:sub(55, 62), seed = seed, public = core.sign_public(seed) }
end

-- ---- signing --------------------------------------------------------------------------------------

local Signer = {}
Signer.__index = Signer

--- What signs with the key of a secret: it has the key's `id`. Raises INVALID, SECRET_MISSING.
function M.signer(key)
  local self = setmetatable(secret_key(secret.reveal(key), secret.shown(key)), Signer)
  self.id = shown_id(self.raw_id)
  return self
end

--- The public key in one line.
function Signer:public_line()
  return hash.base64(ALGORITHM .. self.raw_id .. self.public)
end

--- The signature file of a text; `comment` is signed, too.
function Signer:sign(text, comment)
  local signature = core.sign(self.seed, hash.blake2b(text))
  local lines = { "untrusted comment: signature of a manifest of moonkeep",
    hash.base64(HASHED .. self.raw_id .. signature), "trusted comment: " .. comment,
    hash.base64(core.sign(self.seed, signature .. comment)), "" }
  return table.concat(lines, "\n")
end

-- ---- verifying ------------------------------------------------------------------------------------

--- Whether the text of a signature file signs a text by one of these keys: true; nil, why not.
function M.verify(text, signature_text, keys)
  local line, comment, global = signature_text:match(
    "^untrusted comment: [^\n]*\n(%S+)\ntrusted comment: ([^\n]*)\n(%S+)\n$")
  local bytes, outer = bytes_of(line, SIGNATURE_BYTES), bytes_of(global, SIGNATURE_BYTES - 10)
  if not bytes or not outer or bytes:sub(1, 2) ~= HASHED then
    return nil, "its signature is damaged"
  end
  local id, signature = shown_id(bytes:sub(3, 10)), bytes:sub(11)
  for _, key in ipairs(keys) do
    if key.id == id then
      if core.verify(key.key, hash.blake2b(text), signature) and
        core.verify(key.key, signature .. comment, outer) then
        return true
      end
      return nil, ("its signature by %s is not of this text: one of them was changed"):format(id)
    end
  end
  return nil, ("it is signed by %s, which is not trusted"):format(id)
end

return M
