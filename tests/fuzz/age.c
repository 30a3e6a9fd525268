/* Any bytes as an age file: the header is read, and ends as "corrupt", as "wrong key", or opens, and
 * touches nothing that is not its own. (There is no passphrase, for a bad one would take minutes.) */
#include "codec/age.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mk_age_keys keys;
    struct mk_error err;
    uint8_t key[MK_AGE_KEY_BYTES];
    size_t length = 0;
    /* the identity of the files in the corpus */
    keys.n = 1;
    for (int i = 0; i < MK_AGE_KEY_BYTES; i++)
        keys.keys[0][i] = (uint8_t)i;
    int status = mk_age_header_length(data, size, &length, &err);
    if (status == MK_OK && length > size)
        abort();
    if (status == MK_OK && length > 0)
        status = mk_age_header_open(&keys, data, length, key, &err);
    if (status != MK_OK && status != MK_ECORRUPT && status != MK_EKEY)
        abort();
    return 0;
}
