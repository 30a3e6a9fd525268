-- Runs busted inside moonkeep: build/release/moonkeep --script tests/busted.lua FOLDER_OR_FILE...
--
-- So specs are tasks: they may await, and what they test is the binary itself. Ends with a line
-- "N passed, N failed, N skipped"; exits with 1 when a test failed or none was run.
local busted = require "busted.core"()
require "busted"(busted)

package.path = "tests/?.lua;" .. package.path

local filter = os.getenv "FILTER"
local output = os.getenv "BUSTED_OUTPUT" or "plainTerminal"
require "busted.modules.output_handler_loader"()(busted, output, {
  defaultOutput = "plainTerminal", enableSound = false, verbose = true, suppressPending = false,
  language = "en", deferPrint = false, arguments = {},
})
if filter then
  require "busted.modules.filter_loader"()(busted, { filter = { filter }, filterOut = {},
    tags = {}, excludeTags = {}, name = {}, excludeNames = {}, excludeNamesFile = nil,
    list = false, nokeepgoing = false, suppressPending = false })
end

local counts = { success = 0, failure = 0, error = 0, pending = 0 }
busted.subscribe({ "test", "end" }, function(_, _, status)
  counts[status] = counts[status] + 1
end)
-- An error outside of a test: a file that does not load, a failing setup.
busted.subscribe({ "error" }, function(element)
  if element.descriptor ~= "it" then
    counts.error = counts.error + 1
  end
end)

local load_files = require "busted.modules.test_file_loader"(busted, { "lua" })
load_files({ ... }, { "_spec%.lua$" }, { recursive = true, excludes = {} })
require "busted.execute"(busted)(1, { seed = os.time(), shuffle = false, sort = false })
busted.publish { "exit" }

local failed = counts.failure + counts.error
io.stdout:write(("%d passed, %d failed, %d skipped\n"):format(counts.success, failed,
  counts.pending))
io.stdout:flush()
return (failed > 0 or counts.success == 0) and 1 or 0
