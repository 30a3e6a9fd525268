-- Writes what is made from lua/moonkeep/definitions: the reference, the types for editors, the manual
-- page. `./dev docs` runs it; with --check it changes nothing and fails when something would change.
--
-- What a page has below the line MARK is written by hand, and is kept.
local fs = require "moonkeep.fs"
local man = require "moonkeep.docs.man"
local reference = require "moonkeep.docs.reference"
local stubs = require "moonkeep.docs.stubs"

local MARK = "<!-- By hand from here. -->\n"

local function tail_of(path)
  local text = fs.exists(path) and fs.read(path) or ""
  local at = text:find(MARK, 1, true)
  return MARK .. (at and text:sub(at + #MARK) or "")
end

local made = {
  ["lua/_meta/moonkeep.d.lua"] = stubs.text(),
  [".luarc.json"] = stubs.luarc "lua/_meta",
  ["docs/moonkeep.1"] = man.page() .. "\n",
}
for path, make in pairs { ["docs/reference/recipes.md"] = reference.recipes,
  ["docs/reference/commands.md"] = reference.commands } do
  made[path] = make(tail_of(path))
end

local is_check, n_stale = ... == "--check", 0
for path, text in pairs(made) do
  if not fs.exists(path) or fs.read(path) ~= text then
    n_stale = n_stale + 1
    print((is_check and "stale: " or "wrote ") .. path)
    if not is_check then
      fs.write(path, text, 420)
    end
  end
end
if is_check and n_stale > 0 then
  print "run ./dev docs"
  return 1
end
