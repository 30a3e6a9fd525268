/* Sizes for people: see size.h. In C, for there may be very many. */
#include "base/size.h"

#include <stdio.h>

void mk_size_text(double bytes, char text[MK_SIZE_TEXT])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    if (bytes < 1024) {
        snprintf(text, MK_SIZE_TEXT, "%.0f B", bytes);
        return;
    }
    size_t i = 0;
    for (bytes /= 1024; bytes >= 1024 && i + 1 < sizeof units / sizeof *units; i++)
        bytes /= 1024;
    snprintf(text, MK_SIZE_TEXT, "%.1f %s", bytes, units[i]);
}
