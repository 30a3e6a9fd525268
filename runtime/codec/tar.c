/* Writing and reading ustar archives: see tar.h. */
#include "codec/tar.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT_MODE     100
#define AT_UID      108
#define AT_GID      116
#define AT_CHECKSUM 148
#define AT_TYPE     156
#define AT_MAGIC    257

void mk_tar_header(uint8_t block[MK_TAR_BLOCK], const char *name, uint64_t size, int64_t time)
{
    char *text = (char *)block;
    memset(block, 0, MK_TAR_BLOCK);
    snprintf(text, MK_TAR_NAME, "%s", name);
    snprintf(text + AT_MODE, 8, "%07o", 0600);
    snprintf(text + AT_UID, 8, "%07o", 0);
    snprintf(text + AT_GID, 8, "%07o", 0);
    snprintf(text + MK_TAR_SIZE, 12, "%011" PRIo64, size & 077777777777);
    snprintf(text + MK_TAR_TIME, 12, "%011" PRIo64, (uint64_t)time & 077777777777);
    block[AT_TYPE] = '0';
    static const uint8_t magic[8] = {'u', 's', 't', 'a', 'r', 0, '0', '0'}; /* and the version */
    memcpy(block + AT_MAGIC, magic, sizeof magic);
    memset(block + AT_CHECKSUM, ' ', 8); /* it counts as blanks */
    unsigned sum = 0;
    for (int i = 0; i < MK_TAR_BLOCK; i++)
        sum += block[i];
    snprintf(text + AT_CHECKSUM, 8, "%06o", sum & 0777777);
    block[AT_CHECKSUM + 7] = ' ';
}

/* ---- reading --------------------------------------------------------------------------------- */

static int corrupt(struct mk_error *err, const char *what)
{
    return mk_error_set(err, MK_ECORRUPT, "tar", "the data is damaged: %s", what);
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

/* Digits, letters, dots and such: nothing that means something to whoever prints or splits it. */
static bool is_name(const char *text)
{
    size_t len = strnlen(text, MK_TAR_NAME);
    return len > 0 && len < MK_TAR_NAME &&
           strspn(text, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-") == len;
}

static int take_header(struct mk_tar_reader *self, enum mk_tar_event *event, struct mk_error *err)
{
    uint8_t expected[MK_TAR_BLOCK];
    self->header_len = 0;
    if (is_zero(self->header, MK_TAR_BLOCK)) {
        self->saw_zeros = true;
        self->blocks++;
        return MK_OK;
    }
    const char *text = (const char *)self->header;
    if (self->saw_zeros || !is_name(text))
        return corrupt(err, "a header of the archive is none");
    memcpy(self->name, text, MK_TAR_NAME);
    uint64_t time = strtoull(text + MK_TAR_TIME, NULL, 8);
    self->left = strtoull(text + MK_TAR_SIZE, NULL, 8);
    mk_tar_header(expected, self->name, self->left,
                  (int64_t)time); /* all else is always the same */
    if (memcmp(self->header, expected, MK_TAR_BLOCK) != 0)
        return corrupt(err, "a header of the archive is none");
    self->padding = mk_tar_padding(self->left);
    self->in_file = true;
    *event = MK_TAR_BEGIN;
    return MK_OK;
}

static size_t least(size_t a, uint64_t b)
{
    return a < b ? a : (size_t)b;
}

int64_t mk_tar_read(struct mk_tar_reader *self, const uint8_t *bytes, size_t len,
                    enum mk_tar_event *event, struct mk_error *err)
{
    *event = MK_TAR_NOTHING;
    if (self->in_file && self->left == 0) {
        self->in_file = false;
        *event = MK_TAR_END;
        return 0;
    }
    size_t n;
    if (self->in_file) {
        n = least(len, self->left);
        self->left -= n;
        *event = MK_TAR_BYTES;
        return (int64_t)n;
    }
    if (self->padding > 0) {
        n = least(len, self->padding);
        self->padding -= n;
        return is_zero(bytes, n)
                   ? (int64_t)n
                   : corrupt(err, "there is something between two files of the archive");
    }
    n = least(len, MK_TAR_BLOCK - self->header_len);
    memcpy(self->header + self->header_len, bytes, n);
    self->header_len += n;
    if (self->header_len == MK_TAR_BLOCK && take_header(self, event, err) != MK_OK)
        return err->status;
    return (int64_t)n;
}

bool mk_tar_is_complete(const struct mk_tar_reader *self)
{
    return self->blocks >= 2 && self->header_len == 0;
}
