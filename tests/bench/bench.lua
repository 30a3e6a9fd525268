-- Runs one benchmark by its name, with the benchmarks' own support: ./dev bench NAME.
package.path = "tests/bench/?.lua;" .. package.path
assert(loadfile(("tests/bench/%s.lua"):format((...))))()
