--- Where in a recipe a key of a table is written.
---
--- Lua tells the line of a call, but not those of the keys in the table that it is given. So the
--- text of the table is read again from that line on: strings and comments are skipped, brackets
--- are counted, and a name before a `=` that follows `{`, `,` or `;` is a key. Only messages depend
--- on it: a key that is not found has the line of the call.
local M = {}

local sources = {} -- the text of each recipe by its chunk name, as in "nightly.lua:12"

--- Remembers the text of a recipe for as long as it is being loaded.
function M.remember(name, text)
  sources[name] = text
end

-- The position after a string or comment that begins at `at`, or nil when none begins there.
local function skip_text(text, at)
  local comment = text:sub(at, at + 1) == "--"
  local from = comment and at + 2 or at
  local level = text:match("^%[(=*)%[", from)
  if level then
    local _, last = text:find("]" .. level .. "]", from, true)
    return (last or #text) + 1
  elseif comment then
    return text:find("\n", at, true) or #text + 1
  end
  local quote = text:match("^[\"']", at)
  if not quote then
    return nil
  end
  local i = at + 1
  while i <= #text do
    local c = text:sub(i, i)
    if c == quote or c == "\n" then
      return i + 1
    end
    i = i + (c == "\\" and 2 or 1)
  end
  return i
end

local OPENS = { ["{"] = true, ["("] = true, ["["] = true }
local CLOSES = { ["}"] = true, [")"] = true, ["]"] = true }
local BEFORE_KEY = { ["{"] = true, [","] = true, [";"] = true }

-- The positions of the keys of the first table at or after `at`: path ("dump.format") -> position.
local function keys_of(text, at)
  local found, path, depth, before = {}, {}, 0, nil
  at = text:find("{", at, true)
  while at and at <= #text do
    local after = skip_text(text, at)
    local name = not after and text:match("^[%a_][%w_]*", at)
    local c = text:sub(at, at)
    if after then
      before = text:sub(at, at + 1) == "--" and before or "text"
    elseif name then
      after = at + #name
      if BEFORE_KEY[before] and text:match("^%s*=[^=]", after) then
        path[depth] = name
        local full = table.concat(path, ".", 1, depth)
        found[full] = at -- a key that comes twice: Lua takes the last
      end
      before = "name"
    elseif OPENS[c] then
      depth = depth + 1
      path[depth] = ""
      before = c
    elseif CLOSES[c] then
      path[depth] = nil
      depth = depth - 1
      before = c
      if depth == 0 then
        break
      end
    elseif not c:match "%s" then
      before = c
    end
    at = after or at + 1
  end
  return found
end

local function line_of(text, position)
  return select(2, text:sub(1, position):gsub("\n", "")) + 1
end

--- "nightly.lua:14" for the key `path` of the table in the call at `where` ("nightly.lua:12"); nil
--- when it cannot be told.
function M.locate(where, path)
  local name, line = (where or ""):match "^(.*):(%d+)$"
  local text = sources[name]
  if not text or not path then
    return nil
  end
  local at = 1
  for _ = 2, tonumber(line) do
    at = (text:find("\n", at, true) or #text) + 1
  end
  local keys = keys_of(text, at)
  while path do
    if keys[path] then
      return ("%s:%d"):format(name, line_of(text, keys[path]))
    end
    path = path:match "^(.*)%.[^.]*$"
  end
end

return M
