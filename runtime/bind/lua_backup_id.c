/*
 * moonkeep.core.backup_id: what an id of a backup, "20261122T020000Z-3f9a2c", tells: when what it
 * has was read from the server. (Its manifest is written when all of it is there, which may be
 * hours later.) In C, for there may be very many.
 */
#include <string.h>
#include <time.h>

#include "bind/bind.h"

#define SHAPE "00000000T000000Z"

/* The time in an id, whose shape is checked; its numbers may be those of no date. */
static const char *check_id(lua_State *L)
{
    const char *id = luaL_checkstring(L, 1);
    for (size_t i = 0; i < strlen(SHAPE); i++) {
        bool is_right = SHAPE[i] == '0' ? id[i] >= '0' && id[i] <= '9' : id[i] == SHAPE[i];
        luaL_argcheck(L, is_right, 1, "no id of a backup"); /* also at its end, too early */
    }
    return id;
}

static int number(const char *digits, int n)
{
    int value = 0;
    for (int i = 0; i < n; i++)
        value = 10 * value + (digits[i] - '0');
    return value;
}

/* time_of(id) -> seconds since 1970 */
static int l_time_of(lua_State *L)
{
    const char *id = check_id(L);
    struct tm time = {.tm_year = number(id, 4) - 1900,
                      .tm_mon = number(id + 4, 2) - 1,
                      .tm_mday = number(id + 6, 2),
                      .tm_hour = number(id + 9, 2),
                      .tm_min = number(id + 11, 2),
                      .tm_sec = number(id + 13, 2)};
    lua_pushinteger(L, timegm(&time));
    return 1;
}

/* created_at(id) -> the same as text, "2026-11-22T02:00:00Z" */
static int l_created_at(lua_State *L)
{
    const char *id = check_id(L);
    char text[] = "0000-00-00T00:00:00Z";
    static const struct {
        int from, to, n;
    } parts[] = {{0, 0, 4}, {4, 5, 2}, {6, 8, 2}, {9, 11, 2}, {11, 14, 2}, {13, 17, 2}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        memcpy(text + parts[i].to, id + parts[i].from, (size_t)parts[i].n);
    lua_pushlstring(L, text, strlen(text));
    return 1;
}

int luaopen_core_backup_id(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"time_of", l_time_of}, {"created_at", l_created_at}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
