/*
 * Ids of backups: see backup_id.h. (A manifest is written when all of its backup is there, which
 * may be hours later than what its id tells.) In C, for there may be very many.
 */
#include "base/backup_id.h"

#include <string.h>

#define SHAPE "00000000T000000Z-"

bool mk_backup_id_begins(const char *text)
{
    for (size_t i = 0; i < strlen(SHAPE); i++) /* ends at the end of the text at the latest */
        if (SHAPE[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != SHAPE[i])
            return false;
    return true;
}

static int number(const char *digits, int n)
{
    int value = 0;
    for (int i = 0; i < n; i++)
        value = 10 * value + (digits[i] - '0');
    return value;
}

time_t mk_backup_id_time(const char *id)
{
    struct tm time = {.tm_year = number(id, 4) - 1900,
                      .tm_mon = number(id + 4, 2) - 1,
                      .tm_mday = number(id + 6, 2),
                      .tm_hour = number(id + 9, 2),
                      .tm_min = number(id + 11, 2),
                      .tm_sec = number(id + 13, 2)};
    return timegm(&time);
}

void mk_backup_id_created(const char *id, char text[MK_BACKUP_ID_CREATED_LEN + 1])
{
    static const struct {
        int from, to, n;
    } parts[] = {{0, 0, 4}, {4, 5, 2}, {6, 8, 2}, {9, 11, 2}, {11, 14, 2}, {13, 17, 2}};
    memcpy(text, "0000-00-00T00:00:00Z", MK_BACKUP_ID_CREATED_LEN + 1);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        memcpy(text + parts[i].to, id + parts[i].from, (size_t)parts[i].n);
}

const char *mk_backup_id_short(const char *id)
{
    return id + strlen(SHAPE);
}
