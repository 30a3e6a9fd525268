# Warnings are errors everywhere, so that a warning never gets old.
set(MK_WARNINGS
  -Wall -Wextra -Wpedantic -Werror
  -Wshadow -Wvla -Wcast-qual -Wundef -Wpointer-arith -Wwrite-strings
  -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wimplicit-fallthrough
  -Wconversion -Wno-sign-conversion
  -fstack-protector-strong)
