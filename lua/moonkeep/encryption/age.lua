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

--- The identities in the text of a file of them, as age-keygen writes it: one in a line, and comments.
--- `what`: what the text is called. Raises INVALID when there is none, or anything else.
function M.identities(text, what)
  local list = {}
  for line in text:gmatch "[^\r\n]+" do
    line = line:match "^%s*(.-)%s*$"
    if line ~= "" and line:sub(1, 1) ~= "#" then
      redact.add(line)
      if not M.recipient(line) then
        errors.raise("INVALID", ("%s is no file of age's private keys"):format(what), { hint =
          "its lines are AGE-SECRET-KEY-1...; make one with moonkeep keygen, or age-keygen" })
      end
      list[#list + 1] = line
    end
  end
  if #list == 0 then
    errors.raise("INVALID", ("%s has no private key in it"):format(what),
      { hint = "make one with moonkeep keygen, or age-keygen" })
  end
  return list
end

return M
