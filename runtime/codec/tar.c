/* Headers of ustar archives: see tar.h. */
#include "codec/tar.h"

#include <inttypes.h>
#include <stdio.h>
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
