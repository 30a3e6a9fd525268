/* Any text as a connection string or URI: keys, or an error that does not show a password. */
#include "pg/pg.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_key(void *arg, const char *key, const char *value)
{
    *(size_t *)arg += strlen(key) + strlen(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    struct mk_error err = {0};
    size_t total = 0;
    int status = mk_pg_conninfo_parse(text, on_key, &total, &err);
    if (status != MK_OK && (!err.message[0] || !err.hint[0]))
        abort();
    if (status != MK_OK && strstr(err.message, "s3cret"))
        abort();
    free(text);
    return 0;
}
