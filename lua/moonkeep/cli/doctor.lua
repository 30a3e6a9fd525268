--- moonkeep doctor
local doctor = require "moonkeep.doctor"
local log = require "moonkeep.log"
local output = require "moonkeep.cli.output"
local targets = require "moonkeep.cli.targets"

local M = {}

local CODES = { ok = 0, note = 0, warn = 3, error = 1 }
local SHOWN = { ok = { "green", "ok   " }, note = { "dim", "note " },
  warn = { "yellow", "warn " }, error = { "red", "ERROR" } }

local function show(finding, several)
  local color, label = table.unpack(SHOWN[finding.level])
  log.show("  %s  %-12s %s%s", output.paint(color, label), finding.check,
    finding.database and several and finding.database .. ": " or "", finding.text)
  for line in (finding.fix or ""):gmatch "[^\n]+" do
    log.show("         %-12s fix: %s", "", line)
  end
end

function M.run(options)
  local worst, jobs = "ok", {}
  for i, item in ipairs(targets.chosen(options)) do
    local findings = doctor.examine(item.job)
    local plain = {}
    for k, finding in ipairs(findings) do
      plain[k] = finding
      if finding.level == "error" or finding.level == "warn" and worst == "ok" then
        worst = finding.level
      end
    end
    jobs[i] = { job = item.job.name, findings = plain }
    if not options.json then
      log.show("%s", output.paint("bold", item.job.name))
      for _, finding in ipairs(findings) do
        if finding.level ~= "ok" or not options.quiet then
          show(finding, item.job.keys.databases ~= nil)
        end
      end
    end
  end
  if options.json then
    output.json("doctor", { level = worst, jobs = jobs })
  end
  return CODES[worst]
end

return M
