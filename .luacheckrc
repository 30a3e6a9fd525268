std = "lua54"
max_line_length = 100
self = false
files["tests"] = { std = "lua54+busted" }
files["recipes"] = { std = "lua54" }
exclude_files = { "lua/_meta" } -- types only: no code to check
