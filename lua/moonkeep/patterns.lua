--- Patterns of names with * (any text) and ? (any character), as in pg_dump's options.
local errors = require "moonkeep.errors"
local spec = require "moonkeep.spec"

local M = {}

local function to_lua(pattern)
  return "^" .. pattern:gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", function(c)
    return c == "*" and ".*" or c == "?" and "." or "%" .. c
  end) .. "$"
end

--- Whether a name matches a pattern.
function M.matches(name, pattern)
  return name:find(to_lua(pattern)) ~= nil
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
