/* Any lines from the worker's end of the event socket: shown, for people and as JSON. */
#include "host/report.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mk_report reports[2];
    static int ready;
    struct mk_error err;
    for (int i = 0; i < 2 && !ready; i++)
        if (mk_report_init(&reports[i], i == 1, &err) != MK_OK)
            abort();
    if (!ready)
        reports[0].journal = reports[1].journal = open("/dev/null", O_WRONLY | O_CLOEXEC);
    ready = 1;
    reports[0].verbose = reports[1].verbose = true;
    reports[0].tty = size % 2 == 0;
    for (const char *line = (const char *)data; size > 0;) {
        const char *newline = memchr(line, '\n', size);
        size_t len = newline ? (size_t)(newline - line) : size;
        for (int i = 0; i < 2; i++)
            json_decref(mk_report_line(&reports[i], line, len));
        len += newline != NULL;
        line += len;
        size -= len;
    }
    return 0;
}
