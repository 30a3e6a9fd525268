--- Policies: rules of an organisation for every job of a folder, in its policy.lua.
---
---   local mk = require "moonkeep"
---   mk.policy {
---     defaults = { overlap = "skip", deadline = "6h" },
---     require = function(job)
---       if job.tags.env == "prod" and job.verify ~= "decoded" then
---         return "production jobs are verified as decoded", "add verify = \"decoded\""
---       end
---     end,
---   }
local core_error = require "moonkeep.core.error"
local errors = require "moonkeep.errors"
local merge = require "moonkeep.merge"
local spec = require "moonkeep.spec"

local M = {}

local current -- the policies of the folder whose recipes are being loaded, or nil

--- Calls fn(...) with an empty set of policies; returns fn's results.
function M.scope(fn, ...)
  local outer = current
  current = {}
  local results = table.pack(xpcall(fn, errors.handler, ...))
  current = outer
  if not results[1] then
    error(results[2], 0)
  end
  return table.unpack(results, 2, results.n)
end

--- mk.policy { defaults, require, before_run, before_expire }
function M.new(keys)
  if not spec.check("mk.policy", "policy", keys) then
    if current then
      current[#current + 1] = { keys = {}, where = core_error.where() }
    end
    return
  end
  if keys.defaults then
    local found = spec.mistakes("job", keys.defaults, "defaults.")
    if keys.defaults.name then
      found[#found + 1] = { key = "defaults.name", text = "defaults.name: every job has its own" }
    end
    for i = #found, 1, -1 do -- a name is the one key that no default can give
      if found[i].text:find " is missing$" then
        table.remove(found, i)
      end
    end
    if #found > 0 then
      spec.report("mk.policy", found)
    end
  end
  if not current then
    errors.raise("INVALID", "mk.policy belongs into policy.lua, beside the recipes")
  end
  current[#current + 1] = { keys = keys, where = core_error.where() }
end

--- The keys of a job with the folder's defaults. Where each default came from is kept beside them.
function M.with_defaults(keys)
  local merged, origins = merge(keys), {}
  for _, policy in ipairs(current or {}) do
    for key, value in pairs(policy.keys.defaults or {}) do
      if merged[key] == nil then
        merged[key] = value
        origins[key] = policy.where
      end
    end
  end
  return merged, origins
end

-- What rules see of a job: its keys, never nil where a table is usual.
local function view(job)
  local seen = merge({ name = job.name, where = job.where }, job.keys)
  seen.tags = seen.tags or {}
  return seen
end

--- What is wrong with a job by the rules of its folder: a list of { key, text, hint }.
function M.violations(job)
  local found = {}
  for _, policy in ipairs(job.policies or {}) do
    if policy.keys.require then
      local why, fix = policy.keys.require(view(job))
      if why then
        found[#found + 1] = { text = ("job %s breaks the policy of %s: %s"):format(job.name,
          policy.where, tostring(why)), where = job.where, hint = fix and tostring(fix) }
      end
    end
  end
  return found
end

--- Raises POLICY when a rule keeps the job from running now.
function M.check_run(job)
  for _, policy in ipairs(job.policies or {}) do
    local why = policy.keys.before_run and policy.keys.before_run(view(job))
    if why then
      errors.raise("POLICY", ("job %s must not run now: %s"):format(job.name, tostring(why)),
        { where = policy.where })
    end
  end
end

--- A function(backup, plan) -> why a backup of the job must not expire, or nil; nil when no policy of
--- its folder has a say in that.
function M.veto_of(job)
  local asked = {}
  for _, policy in ipairs(job.policies or {}) do
    asked[#asked + 1] = policy.keys.before_expire and policy or nil
  end
  return #asked > 0 and function(backup, plan)
    for _, policy in ipairs(asked) do
      local may_go, why = policy.keys.before_expire(backup, plan)
      if may_go == false then
        return why and tostring(why) or ("before_expire of %s"):format(policy.where)
      end
    end
  end or nil
end

--- Whether the folder has a policy.
function M.is_used()
  return #current > 0
end

--- The set that is in force.
function M.current()
  return current
end

return M
