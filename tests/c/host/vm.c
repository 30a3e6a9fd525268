#include "host/vm.h"

#include <lauxlib.h>

#include "support.h"

static void the_library_is_found_and_files_are_not(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_vm *vm = mk_vm_new(1 << 26, false, &err);
    lua_State *L = mk_vm_state(vm);
    assert_int_equal(luaL_dostring(L, "return require('moonkeep.units').duration('90m')"), LUA_OK);
    assert_int_equal(lua_tointeger(L, -1), 5400000);
    assert_int_not_equal(luaL_dostring(L, "require 'some.file'"), LUA_OK);
    mk_vm_free(vm);
}

static void lua_cannot_take_more_memory_than_it_is_given(void **state)
{
    (void)state;
    struct mk_error err;
    struct mk_vm *vm = mk_vm_new(8 << 20, false, &err);
    lua_State *L = mk_vm_state(vm);
    assert_int_not_equal(luaL_dostring(L, "local t = {} for i = 1, 1e9 do t[i] = i end"), LUA_OK);
    assert_string_equal(lua_tostring(L, -1), "not enough memory");
    assert_int_not_equal(luaL_dostring(L, "return ('x'):rep(1 << 24)"), LUA_OK);
    assert_string_equal(lua_tostring(L, -1), "not enough memory");
    lua_gc(L, LUA_GCCOLLECT);
    assert_int_equal(luaL_dostring(L, "return ('x'):rep(1 << 20)"), LUA_OK);
    mk_vm_free(vm);
}

static void a_cap_below_what_lua_itself_needs_is_an_error(void **state)
{
    (void)state;
    struct mk_error err;
    assert_null(mk_vm_new(1000, false, &err));
    assert_null(mk_vm_new(20000, false, &err));
    assert_int_equal(err.status, MK_ENOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_library_is_found_and_files_are_not),
        cmocka_unit_test(lua_cannot_take_more_memory_than_it_is_given),
        cmocka_unit_test(a_cap_below_what_lua_itself_needs_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
