/* moonkeep.core.backup_id: what ids of backups tell; see base/backup_id.h. */
#include "base/backup_id.h"
#include "bind/bind.h"

static const char *check_id(lua_State *L)
{
    const char *id = luaL_checkstring(L, 1);
    luaL_argcheck(L, mk_backup_id_begins(id), 1, "no id of a backup");
    return id;
}

/* time_of(id) -> seconds since 1970 */
static int l_time_of(lua_State *L)
{
    lua_pushinteger(L, mk_backup_id_time(check_id(L)));
    return 1;
}

/* created_at(id) -> the same as text, "2026-11-22T02:00:00Z" */
static int l_created_at(lua_State *L)
{
    char text[MK_BACKUP_ID_CREATED_LEN + 1];
    mk_backup_id_created(check_id(L), text);
    lua_pushlstring(L, text, MK_BACKUP_ID_CREATED_LEN);
    return 1;
}

int luaopen_core_backup_id(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"time_of", l_time_of}, {"created_at", l_created_at}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
