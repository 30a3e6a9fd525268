--- Child processes from argument lists; nothing goes through a shell.
local core = require "moonkeep.core.process"
local flow = require "moonkeep.flow"
local spec = require "moonkeep.spec"

local M = { spawn = core.spawn, uid = core.uid, pid = core.pid }

local OPTIONS = {
  argv = { type = "list", required = true },
  env = { type = "table", check = function(env)
    for name, value in pairs(env) do
      if type(name) ~= "string" or (type(value) ~= "string" and value ~= false) then
        return ("must map names to strings, or to false: see %s"):format(tostring(name))
      end
    end
  end },
  cwd = { type = "string" },
  user = { type = "string" },
  stdin = { type = "string" },
}

--- Runs a program to its end and returns what it printed (at most 1 MiB). Raises PROCESS_FAILED,
--- with the end of its stderr as detail, unless it exits with 0.
--- options: argv (list), env (names to strings, false removes one), cwd, user, stdin (text).
function M.run(options)
  spec.check("mk.process.run", OPTIONS, options)
  local report = flow.run {
    { kind = "memory", text = options.stdin or "" },
    { kind = "process", label = "child", argv = options.argv, env = options.env,
      cwd = options.cwd, user = options.user, early = true, keep_stdout = true },
  }
  return report.child.result
end

return M
