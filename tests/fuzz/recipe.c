/* What people write, as text: sizes, durations, times, cron fields, URLs, patterns, --set, listings of
 * archives, SQL of roles, and whole recipes, which are loaded (text, strict globals, no I/O) with a limit on
 * instructions. An error is an answer; a crash, a hang or a broken invariant is not. */
#include <lauxlib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "bind/bind.h"
#include "host/vm.h"
#include "loop/loop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char harness[] =
    "local units, cron = require 'moonkeep.units', require 'moonkeep.schedule.cron'\n"
    "local schedule, zone = require 'moonkeep.schedule', require 'moonkeep.schedule.zone'\n"
    "local settings, lines = require 'moonkeep.settings', require 'moonkeep.recipe_lines'\n"
    "local patterns, toc = require 'moonkeep.patterns', require 'moonkeep.pg.toc_list'\n"
    "local stores, globals = require 'moonkeep.store', require 'moonkeep.pg.globals'\n"
    "local spec, jobs, pg = require 'moonkeep.spec', require 'moonkeep.job', require 'moonkeep.pg'\n"
    "local errors = require 'moonkeep.errors'\n"
    "local mk = { job = jobs.new, task = jobs.task, pg = pg.source, store = stores.new }\n"
    "local function check_time(ms) assert(ms == nil or math.type(ms) == 'integer' and ms > 0) end\n"
    "local function run(text)\n"
    "  check_time((units.duration(text)))\n"
    "  local bytes = units.size(text)\n"
    "  assert(bytes == nil or math.type(bytes) == 'integer' and bytes >= 0)\n"
    "  local rule, why = cron.parse(text)\n"
    "  assert(rule or type(why) == 'string')\n"
    "  for _, key in ipairs { 'cron', 'every', 'on' } do\n"
    "    local keys = { [key] = text, at = key == 'on' and '02:00' or nil, tz = 'UTC' }\n"
    "    local compiled, found = schedule.compile(keys)\n"
    "    if #found == 0 then schedule.describe(compiled) end\n"
    "  end\n"
    "  pcall(stores.new, 's', text)\n"
    "  pcall(settings.parse, { text })\n"
    "  patterns.matches(text, text)\n"
    "  patterns.matches(text:match '^[^\\n]*\\n?(.*)$', text:match '^[^\\n]*')\n"
    "  pcall(toc.choose, text, { '*' }, true)\n"
    "  for _, sql in ipairs(globals.split(text)) do globals.parse(sql) end\n"
    "  errors.explain(errors.new('X', text))\n"
    "  lines.remember('r', text)\n"
    "  lines.locate('r:1', 'a.b')\n"
    "  pcall(spec.collecting, 'r', function()\n"
    "    local environment = setmetatable({ require = function() return mk end },\n"
    "      { __index = function(_, name) error('no ' .. tostring(name)) end })\n"
    "    return (assert(load(text, '@r', 't', environment)))()\n"
    "  end)\n"
    "end\n"
    "return function(text)\n"
    "  debug.sethook(function() error 'too long' end, '', 2000000)\n"
    "  local ok, err = pcall(run, text)\n"
    "  debug.sethook()\n"
    "  assert(ok or tostring(err):find('too long', 1, true) or\n"
    "    tostring(err):find('not enough memory', 1, true), err)\n"
    "end\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mk_vm *vm;
    struct mk_error err;
    if (!vm) {
        vm = mk_vm_new(64 << 20, false, &err);
        struct mk_loop *loop = mk_loop_new(0, &err);
        if (!vm || !loop || !mk_sched_new(mk_vm_state(vm), loop, mk_error_handler, 0, &err) ||
            luaL_dostring(mk_vm_state(vm), harness) != LUA_OK) {
            fprintf(stderr, "%s\n", vm ? lua_tostring(mk_vm_state(vm), -1) : err.message);
            abort();
        }
    }
    lua_State *L = mk_vm_state(vm);
    lua_pushvalue(L, 1);
    lua_pushlstring(L, (const char *)data, size);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
    return 0;
}
