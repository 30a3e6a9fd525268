std = "lua54"
max_line_length = 105
self = false
files["tests"] = { std = "lua54+busted" }
files["recipes"] = { std = "lua54" }
exclude_files = { "lua/_meta" } -- types only: no code to check
files["lua/moonkeep/pg/faults.lua"] = { max_line_length = 120 }
files["tests/lua/fault_samples.lua"] = { max_line_length = false }
files["tests/e2e/mistakes_spec.lua"] = { max_line_length = 125 }
