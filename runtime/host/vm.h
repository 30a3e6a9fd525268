#ifndef MK_HOST_VM_H
#define MK_HOST_VM_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "sched/sched.h"

/*
 * A Lua state with a memory cap, the native modules (moonkeep.core.*) and the embedded library.
 * With `system_modules` Lua's own search for files stays on (for test runners); without, only the
 * library can be required.
 */
struct mk_vm;
struct mk_vm *mk_vm_new(size_t memory_limit, bool system_modules, struct mk_error *err);
lua_State *mk_vm_state(struct mk_vm *vm);
void mk_vm_set_limit(struct mk_vm *vm, size_t memory_limit);
/* From now on the host may use a small reserve beyond the limit whenever no task is running: it
 * must be able to tell a task that memory is out. NULL: no longer. */
void mk_vm_set_sched(struct mk_vm *vm, const struct mk_sched *sched);
void mk_vm_free(struct mk_vm *vm);

#endif
