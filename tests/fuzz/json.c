/* Any text as JSON: an error, or a value whose text stays the same when it is read once more. */
#include "host/vm.h"

#include <lauxlib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char check[] =
    "local json, text = require 'moonkeep.core.json', ...\n"
    "local ok, value = pcall(json.decode, text)\n"
    "if not ok then assert(value.code == 'CORRUPT', tostring(value)) return end\n"
    "local written, first = pcall(json.encode, value)\n" /* an array with nulls has no form */
    "if written then assert(json.encode(json.decode(first)) == first, first) end\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    if (!L) {
        struct mk_error err;
        struct mk_vm *vm = mk_vm_new(256u << 20, false, &err);
        if (!vm)
            abort();
        L = mk_vm_state(vm);
        if (luaL_loadstring(L, check) != LUA_OK)
            abort();
    }
    lua_pushvalue(L, 1);
    lua_pushlstring(L, (const char *)data, size);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
    return 0;
}
