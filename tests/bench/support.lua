--- What the benchmarks share: whole commands measured by GNU time, run in turn, and the page that
--- the tables go to.
local mk = require "moonkeep"

local M = {}

M.binary = os.getenv "MOONKEEP" or "build/release/moonkeep"
M.runs = tonumber(os.getenv "MOONKEEP_BENCH_RUNS" or "5")

local PAGE = "docs/reference/benchmarks.md"

function M.median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

--- A whole command with all its children: wall seconds, and in GNU time's view CPU seconds and the
--- peak memory of the largest process in MiB.
function M.measure(folder, argv)
  local out = folder .. "/time"
  local began = mk.clock.monotonic()
  mk.process.run { argv = { "/usr/bin/time", "-q", "-o", out, "-f", "%U %S %M",
    table.unpack(argv) } }
  local wall = (mk.clock.monotonic() - began) / 1000
  local user, system, kib = mk.fs.read(out):match "([%d.]+) ([%d.]+) (%d+)"
  return { wall = wall, cpu = user + system, mib = kib / 1024 }
end

--- Runs two commands in turn, A B A B ..., after one round that only warms up, so a machine that
--- slows down slows both. `before` runs ahead of each. Returns the medians of each, and of the
--- ratios pair by pair.
function M.compare(folder, a, b, before)
  local figures = { a = {}, b = {} }
  for round = 0, M.runs do
    for which, argv in pairs { a = a, b = b } do
      if before then
        before(which)
      end
      figures[which][round] = M.measure(folder, argv)
    end
  end
  local result = { a = {}, b = {}, ratio = {} }
  for _, key in ipairs { "wall", "cpu", "mib" } do
    local ours, theirs, ratios = {}, {}, {}
    for i = 1, M.runs do
      ours[i], theirs[i] = figures.a[i][key], figures.b[i][key]
      ratios[i] = ours[i] / theirs[i]
    end
    result.a[key], result.b[key] = M.median(ours), M.median(theirs)
    result.ratio[key] = M.median(ratios)
  end
  return result
end

--- The CPU seconds that a process and its children that have ended have used.
function M.cpu_of(pid)
  local text = mk.fs.read(("/proc/%d/stat"):format(pid)):match "%)(.*)$"
  local fields = {}
  for field in text:gmatch "%S+" do
    fields[#fields + 1] = tonumber(field) or 0
  end
  return (fields[12] + fields[13] + fields[14] + fields[15]) / 100 -- ticks of 10 ms
end

--- Runs several commands in turn, round after round, after one round that only warms up.
--- `contenders`: a list of { name, argv, server (a pid whose CPU counts, too), before (function),
--- size (function: bytes, after a run), seconds (function: of the part that is meant, after a run;
--- without it: the whole command) }. Sets the medians `wall`, `cpu`, `server_cpu`, `mib`,
--- `size`, and `ratio`: of the wall times, to the first contender's of the same round.
function M.rounds(folder, contenders)
  local figures = {}
  for round = 0, M.runs do
    for i, contender in ipairs(contenders) do
      figures[i] = figures[i] or {}
      if contender.before then
        contender.before()
      end
      local server = contender.server and M.cpu_of(contender.server) or 0
      local figure = M.measure(folder, contender.argv)
      mk.sleep "200ms" -- until the server has taken note of its backends' ends
      figure.server_cpu = contender.server and M.cpu_of(contender.server) - server or 0
      figure.size = contender.size and contender.size() or 0
      figure.wall = contender.seconds and contender.seconds() or figure.wall
      figure.ratio = round > 0 and figure.wall / (i == 1 and figure.wall or
        figures[1][round].wall) or 0
      if round > 0 then
        figures[i][round] = figure
      end
    end
  end
  for i, contender in ipairs(contenders) do
    for _, key in ipairs { "wall", "cpu", "server_cpu", "mib", "size", "ratio" } do
      local list = {}
      for round = 1, M.runs do
        list[round] = figures[i][round][key]
      end
      contender[key] = M.median(list)
    end
  end
  contenders.figures = figures
  return contenders
end

--- Says what `rounds` has set, as a table.
function M.say_table(say, contenders)
  say "| | wall s | beside the first | CPU s | largest process MiB |"
  say "|---|---|---|---|---|"
  for _, c in ipairs(contenders) do
    say("| %s | %.2f | %.2f | %.2f | %.0f |", c.name, c.wall, c.ratio, c.cpu, c.mib)
  end
  say ""
end

--- The median of the ratios, round by round, of two contenders' wall times.
function M.ratio(contenders, a, b)
  local ratios = {}
  for round = 1, M.runs do
    ratios[round] = contenders.figures[a][round].wall / contenders.figures[b][round].wall
  end
  return M.median(ratios)
end

--- Writes a recipe of one job with this body, and returns the command that runs it.
function M.job(folder, name, body, ...)
  local path = ("%s/%s.lua"):format(folder, name)
  mk.fs.write(path, ([[
    local mk = require "moonkeep"
    return mk.job { name = "bench", run = function(ctx) %s end }]]):format(body:format(...)))
  return { M.binary, "run", "-q", "--log-format", "human", path }
end

--- The same for a plain script, without a supervisor.
function M.script(folder, name, body, ...)
  local path = ("%s/%s.lua"):format(folder, name)
  mk.fs.write(path, body:format(...))
  return { M.binary, "--script", path }
end

--- A shell command as an argument list; a failing part of a pipe fails it.
function M.shell(text, ...)
  return { "bash", "-c", "set -eo pipefail; " .. text:format(...) }
end

--- A section of the page: collects lines, shows them, and replaces the section when it is closed.
function M.section(name, title)
  local section = { lines = { "## " .. title, "" } }
  print(section.lines[1])

  function section.say(text, ...)
    local line = select("#", ...) > 0 and text:format(...) or text
    section.lines[#section.lines + 1] = line
    print(line)
  end

  function section.write()
    local from, to = ("<!-- %s -->"):format(name), ("<!-- end of %s -->"):format(name)
    local page = mk.fs.read(PAGE)
    local first = page:find(from, 1, true)
    local _, last = page:find(to, 1, true)
    mk.fs.write(PAGE, page:sub(1, first - 1) .. from .. "\n" ..
      table.concat(section.lines, "\n") .. "\n" .. page:sub(last - #to + 1), 420)
  end
  return section
end

return M
