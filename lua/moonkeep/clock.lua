--- The clocks.
local host = require "moonkeep.core.host"

return {
  --- Milliseconds for durations.
  monotonic = host.monotonic,
  --- Milliseconds since 1970 UTC.
  wall = host.wall,
  --- "20261122T020000Z", of a time of Unix or now
  compact = function(time)
    return (os.date("!%Y%m%dT%H%M%SZ", time or host.wall() // 1000))
  end,
  --- "2026-11-22T02:00:00Z", the same
  iso = function(time)
    return (os.date("!%Y-%m-%dT%H:%M:%SZ", time or host.wall() // 1000))
  end,
}
