#ifndef MK_BASE_CLOCK_H
#define MK_BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds on the monotonic clock: for deadlines and durations, never for dates. */
int64_t mk_monotonic_ms(void);
/* Milliseconds since 1970 UTC: for dates, never for durations. */
int64_t mk_wall_ms(void);

#endif
