/* The two clocks: see clock.h. */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_ms(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t mk_monotonic_ms(void)
{
    return read_ms(CLOCK_MONOTONIC);
}

int64_t mk_wall_ms(void)
{
    return read_ms(CLOCK_REALTIME);
}

void mk_iso_time(int64_t wall_ms, char text[MK_ISO_BYTES])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t len = strftime(text, MK_ISO_BYTES, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + len, MK_ISO_BYTES - len, ".%03dZ", (int)(wall_ms % 1000));
}
