#ifndef MK_BASE_BACKUP_ID_H
#define MK_BASE_BACKUP_ID_H

#include <stdbool.h>
#include <time.h>

/* What an id of a backup, "20261122T020000Z-3f9a2c", tells: when what it has was read from the
 * server, and six digits that tell it from others of that second. */

/* Whether a text begins like an id; its numbers may be those of no date. What follows wants such.
 */
bool mk_backup_id_begins(const char *text);

/* Seconds since 1970. */
time_t mk_backup_id_time(const char *id);

/* The same as text, "2026-11-22T02:00:00Z". */
#define MK_BACKUP_ID_CREATED_LEN 20
void mk_backup_id_created(const char *id, char text[MK_BACKUP_ID_CREATED_LEN + 1]);

/* What follows the time: "3f9a2c". */
const char *mk_backup_id_short(const char *id);

#endif
