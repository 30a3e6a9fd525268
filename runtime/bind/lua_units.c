/* moonkeep.core.units: what moonkeep.units shows by the same code as the C host; see base/size.h.
 */
#include "base/size.h"
#include "bind/bind.h"

/* format_size(bytes) -> "1.5 KiB" */
static int l_format_size(lua_State *L)
{
    char text[MK_SIZE_TEXT];
    mk_size_text(luaL_checknumber(L, 1), text);
    lua_pushstring(L, text);
    return 1;
}

int luaopen_core_units(lua_State *L)
{
    static const luaL_Reg functions[] = {{"format_size", l_format_size}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
