#ifndef MK_BASE_CLOCK_H
#define MK_BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds on the monotonic clock: for deadlines and durations, never for dates. */
int64_t mk_monotonic_ms(void);
/* Milliseconds since 1970 UTC: for dates, never for durations. */
int64_t mk_wall_ms(void);
/* "2026-11-22T02:00:00.123Z" */
#define MK_ISO_BYTES 32
void mk_iso_time(int64_t wall_ms, char text[MK_ISO_BYTES]);

#endif
