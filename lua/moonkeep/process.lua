--- Child processes from argument lists; nothing goes through a shell.
local core = require "moonkeep.core.process"
local flow = require "moonkeep.flow"
local secret = require "moonkeep.secret"
local spec = require "moonkeep.spec"

local M = { spawn = core.spawn, uid = core.uid, pid = core.pid }

-- The environment with its secrets revealed: this child needs them.
local function reveal(env)
  local revealed = {}
  for name, value in pairs(env or {}) do
    revealed[name] = secret.reveal(value)
  end
  return env and revealed
end

--- Runs a program to its end and returns what it printed (at most 1 MiB). Raises PROCESS_FAILED,
--- with the end of its stderr as detail, unless it exits with 0.
--- options: see `process` in definitions/tables.lua; env may have secrets.
function M.run(options)
  spec.check("mk.process.run", "process", options)
  local report = flow.run {
    { kind = "memory", text = options.stdin or "" },
    { kind = "process", label = "child", argv = options.argv, env = reveal(options.env),
      cwd = options.cwd, user = options.user, early = true, keep_stdout = true },
  }
  return report.child.result
end

return M
