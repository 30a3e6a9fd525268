--- Small texts as age files, and the texts of age's keys. (Objects of backups are sealed and opened by
--- stages of their flows.)
local errors = require "moonkeep.errors"
local flow = require "moonkeep.flow"
local keys = require "moonkeep.core.keys"
local merge = require "moonkeep.merge"
local redact = require "moonkeep.redact"

local M = { generate = keys.age_generate, is_recipient = keys.age_is_recipient,
  recipient = keys.age_recipient }

local MAX_BYTES = 1 << 20

local function through(text, stage, with)
  return flow.run({ { kind = "memory", text = text }, merge(with, { kind = stage }),
    { kind = "text", limit = MAX_BYTES, label = "text" } }).text.result
end

--- The text as an age file. `to`: { recipients = { "age1..." } } or { passphrase }, which takes half a
--- second and 128 MiB.
function M.seal(text, to)
  return through(text, "seal", to)
end

--- The text of an age file. `with`: { identities = { "AGE-SECRET-KEY-1..." } } or { passphrase }. Raises
--- WRONG_KEY, CORRUPT.
function M.open(bytes, with)
  return through(bytes, "open", with)
end

-- What a line may be that is no identity, and what to do then.
local OTHERS = {
  { "^age1", "it has a public key: the private one, AGE-SECRET-KEY-1..., is in the file that keygen " ..
    "made" },
  { "^AGE%-SECRET%-KEY%-1", "a key in it is mistyped or cut: its checksum is wrong" },
  { "^age%-encryption%.org/", "it is encrypted itself: decrypt it first (age --decrypt)" },
  { "^untrusted comment:", "it is a key of signatures (minisign): it encrypts nothing" },
  { "PRIVATE KEY%-%-%-", "it is an SSH or PEM key: only age's own are read here" },
  { "^ssh%-", "it is an SSH key: only age's own are read here" },
}

local function hint_for(line)
  for _, other in ipairs(OTHERS) do
    if line:find(other[1]) then
      return other[2]
    end
  end
  return "its lines are AGE-SECRET-KEY-1..., as moonkeep keygen and age-keygen write them"
end

--- The identities in the text of a file of them, as age-keygen writes it: one in a line, and comments.
--- `what`: what the text is called. Raises INVALID when there is none, or anything else.
function M.identities(text, what)
  local list = {}
  for line in text:gsub("^\xEF\xBB\xBF", ""):gmatch "[^\r\n]+" do
    line = line:match "^%s*(.-)%s*$"
    if M.recipient(line) then
      redact.add(line)
      list[#list + 1] = line
    elseif line ~= "" and line:sub(1, 1) ~= "#" then
      errors.raise("INVALID", ("%s is no file of age's private keys"):format(what),
        { hint = hint_for(line) })
    end
  end
  if #list == 0 then
    errors.raise("INVALID", ("%s has no private key in it"):format(what), { hint = hint_for "" })
  end
  return list
end

return M
