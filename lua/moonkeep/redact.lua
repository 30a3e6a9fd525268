--- Keeps known secrets out of what is logged: every text of an event passes through here.
local M = {}

-- Shorter ones would turn up inside ordinary words.
local MIN_BYTES = 4
local SHOWN = "[redacted]"

local known, is_known = {}, {}

--- From now on, this text is replaced wherever it appears.
function M.add(text)
  if type(text) == "string" and #text >= MIN_BYTES and not is_known[text] then
    is_known[text] = true
    known[#known + 1] = text
    table.sort(known, function(a, b) return #a > #b end) -- one may be a part of another
  end
end

-- What is a private key wherever it stands, also where somebody has put it by mistake: those of age,
-- and of minisign.
local KEYS = { { "AGE-SECRET-KEY-1", "%w+" }, { "RWQAAEIy", "[%w+/=]+" }, { "RWRTY0Iy", "[%w+/=]+" } }

-- The text without private keys.
local function without_keys(text)
  for _, key in ipairs(KEYS) do
    if text:find(key[1], 1, true) then
      text = text:gsub(key[1]:gsub("%-", "%%-") .. key[2], SHOWN)
    end
  end
  return text
end

--- The text without secrets.
function M.text(text)
  text = without_keys(text)
  for _, secret in ipairs(known) do
    local from, last = text:find(secret, 1, true)
    while from do
      text = text:sub(1, from - 1) .. SHOWN .. text:sub(last + 1)
      from, last = text:find(secret, from + #SHOWN, true)
    end
  end
  return text
end

--- The value with every string in it made safe; tables are copied.
function M.value(value)
  if type(value) == "string" then
    return M.text(value)
  elseif type(value) ~= "table" then
    return value
  end
  local copy = setmetatable({}, getmetatable(value))
  for key, item in pairs(value) do
    copy[key] = M.value(item)
  end
  return copy
end

return M
