--- Patterns of names with * (any text) and ? (any character), as in pg_dump's options.
local errors = require "moonkeep.errors"
local spec = require "moonkeep.spec"

local M = {}

-- A piece of a pattern between stars, as a Lua pattern. ? is one character of UTF-8, which cannot be
-- read in two ways, so a piece is found in time that is linear in the name.
local function to_lua(piece)
  return (piece:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", function(c)
    return c == "?" and utf8.charpattern or "%" .. c
  end))
end

--- Whether a name matches a pattern. Each piece between two stars is looked for where the one before it
--- ended, and never again: with .* for each star Lua would try all ways to part the name, for hours
--- where there are seven of them.
function M.matches(name, pattern)
  local first, rest = pattern:match "^([^*]*)(.*)$"
  if rest == "" then
    return name:find("^" .. to_lua(first) .. "$") ~= nil
  end
  local _, at = name:find("^" .. to_lua(first))
  local middle, last = rest:match "^(.*)%*([^*]*)$"
  for piece in middle:gmatch "[^*]+" do
    if at then
      _, at = name:find(to_lua(piece), at + 1)
    end
  end
  return at ~= nil and name:find(to_lua(last) .. "$", at + 1) ~= nil
end

--- Whether a name matches one of a list of patterns.
function M.matches_any(name, patterns)
  for _, pattern in ipairs(patterns) do
    if M.matches(name, pattern) then
      return true
    end
  end
  return false
end

--- The names that match one of the patterns, in the names' order. Raises NOT_FOUND for a pattern
--- that matches nothing. `what`: "database", for messages.
function M.select(names, patterns, what)
  local found, used = {}, {}
  for _, name in ipairs(names) do
    local is_wanted = false
    for _, pattern in ipairs(patterns) do
      if M.matches(name, pattern) then
        used[pattern], is_wanted = true, true
      end
    end
    found[#found + 1] = is_wanted and name or nil
  end
  for _, pattern in ipairs(patterns) do
    if not used[pattern] then
      errors.raise("NOT_FOUND", ("there is no %s %q%s"):format(what, pattern,
        spec.suggestion(pattern, names)), { hint = #names > 0 and
        ("there are: " .. table.concat(names, ", ", 1, math.min(#names, 20))) or nil })
    end
  end
  return found
end

return M
