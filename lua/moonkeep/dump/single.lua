--- Dumps of one stream: pg_dump (or pg_dumpall) writes it, and it goes through the compressor into
--- every store at once. On the way the table of contents is read by pg_restore itself, so a dump that
--- it cannot read is never published.
local dump_options = require "moonkeep.pg.dump_options"
local errors = require "moonkeep.errors"
local flow = require "moonkeep.flow"
local tools = require "moonkeep.pg.tools"

local M = {}

-- What each format is called, and how its end is proved while it is being made: by pg_restore,
-- which reads its table of contents, or by the line that pg_dump writes last.
local FORMATS = {
  custom = { object = "data.dump" },
  tar = { object = "data.tar" },
  plain = { object = "data.sql", last_line = "-- PostgreSQL database dump complete" },
  globals = { object = "globals.sql", last_line = "-- PostgreSQL database cluster dump complete" },
}

local TAIL_BYTES = 200

--- The stage that proves a stream of a format to be whole, for a tee: `report.proof.result` then
--- goes to check_proof.
function M.proof_stage(format, major)
  if FORMATS[format].last_line then
    return { kind = "process", label = "proof", keep_stdout = true,
      argv = { "tail", "--bytes=" .. TAIL_BYTES } }
  end
  return { kind = "process", label = "proof", early = true, keep_stdout = true,
    argv = { tools.reader(major), "--list", "--format=" .. format } }
end

-- Entries of `pg_restore -l`, whose other lines are comments.
local function count_toc(listing)
  local n = 0
  for line in listing:gmatch "[^\n]+" do
    if line:sub(1, 1) ~= ";" then
      n = n + 1
    end
  end
  return n
end

--- The number of entries in the table of contents (0 for SQL); nil, why when the stream is not
--- whole.
function M.check_proof(format, result)
  local last_line = FORMATS[format].last_line
  if not last_line then
    return count_toc(result)
  elseif result:find(last_line, 1, true) then
    return 0
  end
  return nil, ("it does not end with the line %q"):format(last_line)
end

local function argv_of(plan)
  local conninfo, env = plan.source:for_program()
  local argv
  if plan.format == "globals" then
    argv = { tools.find("pg_dumpall", plan.major), "--globals-only", "--no-password" }
    argv[#argv + 1] = not plan.with_passwords and "--no-role-passwords" or nil
  else
    argv = { tools.find("pg_dump", plan.major), "--format=" .. plan.format, "--no-password" }
    argv[#argv + 1] = plan.format == "custom" and "--compress=0" or nil
    dump_options.add_dump(argv, plan.options, plan.major)
  end
  argv[#argv + 1] = "--dbname=" .. conninfo
  return argv, env
end

--- What the object of a format is called, without the suffix of its codec.
function M.object_name(format)
  return FORMATS[format].object
end

--- Dumps into every store. `plan`: source, options (the table `dump`), format ("custom", "tar",
--- "plain", "globals"), with_passwords, major, codec, copies (moonkeep.copies), title, total. Returns
--- { objects, entries }.
function M.dump(plan)
  local argv, env = argv_of(plan)
  local _, _, suffix = flow.codec(plan.codec)
  local stored = { { kind = "encode", codec = plan.codec } }
  local object = { name = plan.copies:append(stored, FORMATS[plan.format].object .. suffix),
    role = "data", codec = plan.codec }
  local report = flow.run({
    { kind = "process", env = env, argv = argv },
    { kind = "tee", { M.proof_stage(plan.format, plan.major) }, stored },
  }, { title = plan.title, total = plan.total })
  object.size = report.stored.bytes_in
  object.sha256 = report.stored.result
  object.decoded_size = report.source.bytes_out
  local program = plan.format == "globals" and "pg_dumpall" or "pg_dump"
  if object.decoded_size == 0 then
    errors.raise("EMPTY_DUMP", program .. " ended without an error and without a byte")
  end
  local entries, why = M.check_proof(plan.format, report.proof.result)
  if not entries then
    errors.raise("TRUNCATED_DUMP", ("%s ended without an error, but its output is not whole: %s")
      :format(program, why))
  end
  return { objects = { object }, entries = entries }
end

return M
