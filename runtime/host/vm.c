/*
 * The Lua state of a run. The cap counts every byte that Lua holds; an allocation beyond it fails,
 * which Lua turns into a collection first and an error second. The library is loaded from source
 * text, so tracebacks show its lines and no bytecode is ever trusted. MOONKEEP_LUA_PATH names a
 * folder to load it from instead, for its developers.
 */
#include "host/vm.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bind/bind.h"
#include "host/library.h"

#define RESERVE_BYTES (256u * 1024)

struct mk_vm {
    lua_State *L;
    size_t used, limit;
    const struct mk_sched *sched;
};

static void *vm_alloc(void *arg, void *ptr, size_t old_size, size_t new_size)
{
    struct mk_vm *vm = arg;
    size_t old = ptr ? old_size : 0; /* without a block old_size is a type tag */
    if (new_size == 0) {
        free(ptr);
        vm->used -= old;
        return NULL;
    }
    bool is_host = vm->sched && !mk_sched_is_running(vm->sched);
    size_t limit = vm->limit + (is_host ? RESERVE_BYTES : 0);
    if (new_size > old && vm->used + (new_size - old) > limit)
        return NULL;
    void *block = realloc(ptr, new_size);
    if (block)
        vm->used += new_size - old;
    return block;
}

static int load_from_folder(lua_State *L, const char *folder, const struct mk_library_file *file)
{
    const char *path = lua_pushfstring(L, "%s/%s", folder, file->file);
    if (luaL_loadfilex(L, path, "t") != LUA_OK)
        return lua_error(L);
    return 1;
}

/* The searcher of the embedded library: module name -> loader. */
static int search_library(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    for (const struct mk_library_file *file = mk_library; file->module; file++) {
        if (strcmp(file->module, name) != 0)
            continue;
        const char *folder = getenv("MOONKEEP_LUA_PATH");
        if (folder && *folder && strncmp(name, "moonkeep", 8) == 0)
            return load_from_folder(L, folder, file);
        const char *chunk = lua_pushfstring(L, "@%s", file->file);
        if (luaL_loadbufferx(L, file->text, file->len, chunk, "t") != LUA_OK)
            return lua_error(L);
        return 1;
    }
    lua_pushfstring(L, "no library module '%s'", name);
    return 1;
}

static const luaL_Reg native_modules[] = {
    {"moonkeep.core.error", luaopen_core_error},
    {"moonkeep.core.task", luaopen_core_task},
    {"moonkeep.core.fs", luaopen_core_fs},
    {"moonkeep.core.process", luaopen_core_process},
    {"moonkeep.core.flow", luaopen_core_flow},
    {"moonkeep.core.pg", luaopen_core_pg},
    {"moonkeep.core.db", luaopen_core_db},
    {"moonkeep.core.http", luaopen_core_http},
    {"moonkeep.core.json", luaopen_core_json},
    {"moonkeep.core.host", luaopen_core_host},
    {"moonkeep.core.hash", luaopen_core_hash},
    {"moonkeep.core.keys", luaopen_core_keys},
    {"moonkeep.core.xml", luaopen_core_xml},
    {"moonkeep.core.backup_id", luaopen_core_backup_id},
    {"moonkeep.core.columns", luaopen_core_columns},
    {"moonkeep.core.units", luaopen_core_units},
    {NULL, NULL},
};

static int setup(lua_State *L)
{
    bool system_modules = lua_toboolean(L, 1);
    luaL_openlibs(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    for (const luaL_Reg *module = native_modules; module->name; module++) {
        lua_pushcfunction(L, module->func);
        lua_setfield(L, -2, module->name);
    }
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "searchers");
    int searchers = lua_gettop(L);
    lua_Integer n = luaL_len(L, searchers);
    for (lua_Integer i = n; i >= 2; i--) { /* 1 is the preload table's */
        lua_rawgeti(L, searchers, i);
        if (system_modules)
            lua_rawseti(L, searchers, i + 1);
        else
            lua_pop(L, 1);
        lua_pushnil(L);
        lua_rawseti(L, searchers, i);
    }
    lua_pushcfunction(L, search_library);
    lua_rawseti(L, searchers, 2);
    /* Before anything can raise an error value. */
    luaL_requiref(L, "moonkeep.core.error", luaopen_core_error, 0);
    return 0;
}

struct mk_vm *mk_vm_new(size_t memory_limit, bool system_modules, struct mk_error *err)
{
    struct mk_vm *vm = mk_calloc(sizeof *vm);
    if (!vm) {
        mk_error_nomem(err, "lua");
        return NULL;
    }
    vm->limit = memory_limit;
    vm->L = lua_newstate(vm_alloc, vm);
    if (!vm->L) {
        mk_free(vm);
        mk_error_nomem(err, "lua");
        return NULL;
    }
    lua_pushcfunction(vm->L, setup);
    lua_pushboolean(vm->L, system_modules);
    if (lua_pcall(vm->L, 1, 0, 0) != LUA_OK) {
        mk_error_set(err, MK_ENOMEM, "lua", "could not set Lua up: %s", lua_tostring(vm->L, -1));
        mk_vm_free(vm);
        return NULL;
    }
    return vm;
}

lua_State *mk_vm_state(struct mk_vm *vm)
{
    return vm->L;
}

void mk_vm_set_limit(struct mk_vm *vm, size_t memory_limit)
{
    vm->limit = memory_limit;
}

void mk_vm_set_sched(struct mk_vm *vm, const struct mk_sched *sched)
{
    vm->sched = sched;
}

void mk_vm_free(struct mk_vm *vm)
{
    if (!vm)
        return;
    lua_close(vm->L);
    mk_free(vm);
}
