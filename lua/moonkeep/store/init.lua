--- Stores: named places for backups, chosen by URL. Today there is one kind, file:.
---
--- A store offers: begin(job, series, id) -> a closable session that stages objects and publishes
--- the manifest; list, manifest, source for reading; remove. See moonkeep.store.file.
local errors = require "moonkeep.errors"
local spec = require "moonkeep.spec"

local M = {}

local KINDS = { file = "moonkeep.store.file" }

--- mk.store("disk", "file:///var/backups/app")
function M.new(name, url)
  if type(name) ~= "string" or not name:match "^%w[%w._-]*$" then
    errors.raise("INVALID", "mk.store: the name must be made of letters, digits, '.', '_' and '-'")
  end
  local kind, rest = tostring(url):match "^(%a%w*)://(.*)$"
  if not kind then
    errors.raise("INVALID", ("mk.store: %q is not a URL"):format(tostring(url)),
      { hint = "write it as mk.store(\"disk\", \"file:///var/backups/app\")" })
  end
  if not KINDS[kind] then
    errors.raise("INVALID", ("mk.store: there is no kind of store %q"):format(kind),
      { hint = spec.nearest(kind, { "file" }) and "did you mean \"file\"?" or
        "there is: file" })
  end
  return require(KINDS[kind]).new(name, rest)
end

--- Whether the value is a store.
function M.is_store(value)
  return type(value) == "table" and type(value.begin) == "function"
end

--- A database's name as the name of a series: percent-encoded, so it can't be a path.
function M.series(name)
  return (name:gsub("[^%w_-]", function(c)
    return ("%%%02X"):format(c:byte())
  end))
end

return M
