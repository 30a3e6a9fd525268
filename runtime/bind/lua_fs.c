/*
 * moonkeep.core.fs: files and folders, off the loop. Each function copies its arguments into an
 * operation, runs it on libuv's pool, and pushes what came out when the task is resumed. The
 * functions wait, so they can be used in tasks only.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/names.h"
#include "bind/bind.h"
#include "loop/call.h"
#include "loop/file.h"

#define READ_LIMIT (16 * 1024 * 1024)

struct op {
    struct mk_call call; /* first */
    int (*push)(lua_State *L, struct op *op);
    char *path, *path2; /* path2: a second path, or the bytes to write */
    size_t len;
    mode_t mode;
    bool exclusive, existing;
    char *bytes; /* result */
    size_t bytes_len;
    struct mk_names names; /* result */
    struct stat st;
    int fd;
};

static void op_free(struct op *op)
{
    if (op->fd >= 0)
        close(op->fd);
    mk_free(op->path);
    mk_free(op->path2);
    mk_free(op->bytes);
    mk_names_fini(&op->names);
    mk_free(op);
}

static void op_drop(struct mk_wait *wait)
{
    op_free((struct op *)(void *)wait);
}

/* The operation must be freed before anything is raised, also when pushing runs out of memory:
 * so the pushing happens in a protected call, which costs nothing that matters here. */
static int protected_push(lua_State *L)
{
    struct op *op = lua_touserdata(L, 1);
    return op->push ? op->push(L, op) : 0;
}

static int push_and_free(lua_State *L, struct op *op)
{
    int before = lua_gettop(L);
    lua_pushcfunction(L, protected_push);
    lua_pushlightuserdata(L, op);
    int status = lua_pcall(L, 1, LUA_MULTRET, 0);
    op_free(op);
    return status == LUA_OK ? lua_gettop(L) - before : lua_error(L);
}

static int op_push(lua_State *L, struct mk_wait *wait)
{
    struct op *op = (struct op *)(void *)wait;
    if (wait->status == MK_OK)
        return push_and_free(L, op);
    struct mk_error err = op->call.err;
    op_free(op);
    return mk_raise(L, &err);
}

static const struct mk_await_ops fs_ops = {.push = op_push, .drop = op_drop};

static struct op *op_new(lua_State *L, int (*run)(struct mk_call *call),
                         int (*push)(lua_State *L, struct op *op))
{
    size_t len;
    const char *path = luaL_checklstring(L, 1, &len);
    luaL_argcheck(L, len > 0 && strlen(path) == len, 1, "not a path");
    mk_await_check(L);
    struct op *op = mk_calloc(sizeof *op);
    if (op)
        op->path = mk_strdup(path);
    if (!op || !op->path) {
        mk_free(op);
        mk_raise_nomem(L);
    }
    op->fd = -1;
    op->call.run = run;
    op->push = push;
    return op;
}

static int op_await(lua_State *L, struct op *op)
{
    if (mk_call_start(mk_runtime_of(L)->loop, &op->call) != MK_OK) {
        op_free(op);
        mk_raise_nomem(L);
    }
    return mk_await(L, &op->call.wait, &fs_ops);
}

static struct op *of(struct mk_call *call)
{
    return (struct op *)(void *)call;
}

/* ---- small files --------------------------------------------------------------------------- */

static int run_write(struct mk_call *call)
{
    struct op *op = of(call);
    return mk_file_write(op->path, op->path2, op->len, op->mode, op->exclusive, &call->err);
}

/* write(path, text, mode, exclusive): durable; exclusive raises ALREADY_EXISTS */
static int l_write(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);
    lua_Integer mode = luaL_optinteger(L, 3, 0600);
    struct op *op = op_new(L, run_write, NULL);
    op->path2 = mk_alloc(len);
    if (!op->path2) {
        op_free(op);
        mk_raise_nomem(L);
    }
    memcpy(op->path2, text, len);
    op->len = len;
    op->mode = (mode_t)mode;
    op->exclusive = lua_toboolean(L, 4);
    return op_await(L, op);
}

static int run_read(struct mk_call *call)
{
    struct op *op = of(call);
    return mk_file_read(op->path, READ_LIMIT, &op->bytes, &op->bytes_len, &call->err);
}

static int push_bytes(lua_State *L, struct op *op)
{
    lua_pushlstring(L, op->bytes, op->bytes_len);
    return 1;
}

/* read(path) -> text: a small file, 16 MiB at most */
static int l_read(lua_State *L)
{
    return op_await(L, op_new(L, run_read, push_bytes));
}

/* ---- folders ------------------------------------------------------------------------------- */

static int run_mkdir(struct mk_call *call)
{
    return mk_file_make_dirs(of(call)->path, of(call)->mode, &call->err);
}

/* mkdir(path, mode): with its parents */
static int l_mkdir(lua_State *L)
{
    lua_Integer mode = luaL_optinteger(L, 2, 0700);
    struct op *op = op_new(L, run_mkdir, NULL);
    op->mode = (mode_t)mode;
    return op_await(L, op);
}

static int run_remove(struct mk_call *call)
{
    return mk_file_remove_tree(of(call)->path, &call->err);
}

/* remove(path): a file, or a folder with all that is in it; links are not followed */
static int l_remove(lua_State *L)
{
    return op_await(L, op_new(L, run_remove, NULL));
}

static int run_list(struct mk_call *call)
{
    struct op *op = of(call);
    DIR *dir = opendir(op->path);
    if (!dir)
        return mk_error_errno(&call->err, errno, "list", "could not list %s", op->path);
    int status = MK_OK;
    for (struct dirent *entry; status == MK_OK && (entry = readdir(dir));) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
            !mk_names_add(&op->names, name, strlen(name)))
            status = mk_error_nomem(&call->err, "list");
    }
    closedir(dir);
    return status;
}

static int push_names(lua_State *L, struct op *op)
{
    const char *name = op->names.bytes;
    lua_createtable(L, (int)op->names.n, 0);
    for (size_t i = 1; i <= op->names.n; i++, name += strlen(name) + 1) {
        lua_pushstring(L, name);
        lua_rawseti(L, -2, (lua_Integer)i);
    }
    return 1;
}

/* list(path) -> names, in no order */
static int l_list(lua_State *L)
{
    return op_await(L, op_new(L, run_list, push_names));
}

static int run_stems(struct mk_call *call)
{
    struct op *op = of(call);
    struct mk_names names = {0};
    if (run_list(call) != MK_OK)
        return call->err.status;
    names = op->names;
    op->names = (struct mk_names){0};
    bool ok = mk_names_group(&names, &op->names);
    mk_names_fini(&names);
    return ok ? MK_OK : mk_error_nomem(&call->err, "list");
}

static int push_stems(lua_State *L, struct op *op)
{
    const char *text = op->names.bytes, *before = "";
    lua_Integer n = (lua_Integer)(op->names.n / 2);
    lua_createtable(L, (int)n, 0);
    lua_createtable(L, (int)n, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_pushstring(L, text);
        lua_rawseti(L, -3, i);
        text += strlen(text) + 1;
        if (strcmp(text, before) == 0) /* as for most: Lua need not look for that string */
            lua_rawgeti(L, -1, i - 1);
        else
            lua_pushstring(L, text);
        lua_rawseti(L, -2, i);
        before = text;
        text += strlen(text) + 1;
    }
    return 2;
}

/* stems(path) -> the names by what is before their first dot: a list of stems, in the order of
 * bytes, and of their endings, "/json/log", with "/" alone for a name that has none; see
 * base/names.h */
static int l_stems(lua_State *L)
{
    return op_await(L, op_new(L, run_stems, push_stems));
}

/* group(names) -> the same of names that are known; does not wait */
static int l_group(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    struct op *op = mk_calloc(sizeof *op);
    struct mk_names names = {0};
    lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
    bool ok = op != NULL;
    for (lua_Integer i = 1; ok && i <= n; i++) {
        size_t len = 0;
        const char *name = lua_rawgeti(L, 1, i) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
        ok = !name || strlen(name) != len || mk_names_add(&names, name, len);
        lua_pop(L, 1);
    }
    ok = ok && mk_names_group(&names, &op->names);
    mk_names_fini(&names);
    if (ok) {
        op->fd = -1;
        op->push = push_stems;
        return push_and_free(L, op);
    }
    if (op)
        mk_names_fini(&op->names);
    mk_free(op);
    mk_raise_nomem(L);
}

static int run_mkdtemp(struct mk_call *call)
{
    struct op *op = of(call);
    if (!mkdtemp(op->path))
        return mk_error_errno(&call->err, errno, "mkdtemp", "could not create a folder %s",
                              op->path);
    return MK_OK;
}

static int push_path(lua_State *L, struct op *op)
{
    lua_pushstring(L, op->path);
    return 1;
}

/* mkdtemp(template) -> path: the template ends with XXXXXX; mode 0700 */
static int l_mkdtemp(lua_State *L)
{
    return op_await(L, op_new(L, run_mkdtemp, push_path));
}

/* ---- what a path is ------------------------------------------------------------------------ */

static int run_stat(struct mk_call *call)
{
    struct op *op = of(call);
    if (stat(op->path, &op->st) == 0)
        op->exclusive = true; /* found */
    else if (errno != ENOENT && errno != ENOTDIR)
        return mk_error_errno(&call->err, errno, "stat", "could not look at %s", op->path);
    return MK_OK;
}

static void set_integer(lua_State *L, const char *key, lua_Integer value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, key);
}

static int push_stat(lua_State *L, struct op *op)
{
    if (!op->exclusive) {
        lua_pushnil(L);
        return 1;
    }
    lua_createtable(L, 0, 5);
    set_integer(L, "size", op->st.st_size);
    set_integer(L, "mode", op->st.st_mode & 07777);
    set_integer(L, "uid", op->st.st_uid);
    set_integer(L, "mtime", op->st.st_mtime);
    lua_pushstring(L, S_ISDIR(op->st.st_mode)   ? "directory"
                      : S_ISREG(op->st.st_mode) ? "file"
                                                : "other");
    lua_setfield(L, -2, "type");
    return 1;
}

/* stat(path) -> { size, mode, uid, mtime, type } or nil */
static int l_stat(lua_State *L)
{
    return op_await(L, op_new(L, run_stat, push_stat));
}

static int run_realpath(struct mk_call *call)
{
    struct op *op = of(call);
    char *real = realpath(op->path, NULL);
    if (!real)
        return mk_error_errno(&call->err, errno, "realpath", "could not find %s", op->path);
    op->bytes = mk_strdup(real);
    free(real);
    if (!op->bytes)
        return mk_error_nomem(&call->err, "realpath");
    op->bytes_len = strlen(op->bytes);
    return MK_OK;
}

/* realpath(path) -> absolute path without links */
static int l_realpath(lua_State *L)
{
    return op_await(L, op_new(L, run_realpath, push_bytes));
}

/* ---- ownership, locks ---------------------------------------------------------------------- */

static int run_chown(struct mk_call *call)
{
    struct op *op = of(call);
    struct passwd entry, *found = NULL;
    char buffer[4096];
    getpwnam_r(op->path2, &entry, buffer, sizeof buffer, &found);
    if (!found)
        return mk_error_set(&call->err, MK_ENOENT, "chown", "there is no user \"%s\"", op->path2);
    if (chown(op->path, found->pw_uid, found->pw_gid) != 0)
        return mk_error_errno(&call->err, errno, "chown", "could not give %s to %s", op->path,
                              op->path2);
    return MK_OK;
}

/* chown(path, user): to the user and their group */
static int l_chown(lua_State *L)
{
    const char *user = luaL_checkstring(L, 2);
    struct op *op = op_new(L, run_chown, NULL);
    op->path2 = mk_strdup(user);
    if (!op->path2) {
        op_free(op);
        mk_raise_nomem(L);
    }
    return op_await(L, op);
}

static int run_space(struct mk_call *call)
{
    struct op *op = of(call);
    struct statvfs space;
    if (statvfs(op->path, &space) != 0)
        return mk_error_errno(&call->err, errno, "space", "could not look at %s", op->path);
    op->len = (size_t)space.f_bavail * space.f_frsize;
    return MK_OK;
}

static int push_space(lua_State *L, struct op *op)
{
    lua_pushinteger(L, (lua_Integer)op->len);
    return 1;
}

/* space(path) -> bytes that can still be written there */
static int l_space(lua_State *L)
{
    return op_await(L, op_new(L, run_space, push_space));
}

static int run_rename(struct mk_call *call)
{
    struct op *op = of(call);
    if (rename(op->path, op->path2) != 0)
        return mk_error_errno(&call->err, errno, "rename", "could not rename %s to %s", op->path,
                              op->path2);
    return MK_OK;
}

/* rename(from, to): replaces what is there */
static int l_rename(lua_State *L)
{
    const char *to = luaL_checkstring(L, 2);
    struct op *op = op_new(L, run_rename, NULL);
    op->path2 = mk_strdup(to);
    if (!op->path2) {
        op_free(op);
        mk_raise_nomem(L);
    }
    return op_await(L, op);
}

#define LOCK_TYPE "moonkeep.lock"

/* Whether the file has been removed since it was opened: its lock is worth nothing, for the next
 * one makes a file anew. */
static bool is_removed(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_nlink == 0;
}

static int run_lock(struct mk_call *call)
{
    struct op *op = of(call);
    int status;
    do {
        if (op->fd >= 0)
            close(op->fd);
        int create = op->existing ? 0 : O_CREAT;
        op->fd = open(op->path, O_RDWR | create | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (op->fd < 0 && op->existing && errno == ENOENT)
            return MK_OK;                 /* whoever had it is removing it */
        if (op->fd < 0 && errno == EROFS) /* a lock needs no right to write */
            op->fd = open(op->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (op->fd < 0)
            return mk_error_errno(&call->err, errno, "lock", "could not open %s", op->path);
        status = flock(op->fd, LOCK_EX | LOCK_NB);
    } while (status == 0 && is_removed(op->fd));
    if (status == 0)
        return MK_OK;
    int errnum = errno;
    close(op->fd);
    op->fd = -1;
    if (errnum == EWOULDBLOCK)
        return MK_OK; /* held by somebody else: no lock, no error */
    return mk_error_errno(&call->err, errnum, "lock", "could not lock %s", op->path);
}

static int push_lock(lua_State *L, struct op *op)
{
    if (op->fd < 0) {
        lua_pushnil(L);
        return 1;
    }
    int *fd = lua_newuserdatauv(L, sizeof *fd, 0);
    *fd = op->fd;
    op->fd = -1;
    luaL_setmetatable(L, LOCK_TYPE);
    return 1;
}

/* lock(path, existing) -> a closable lock, or nil when another process holds it. The kernel lets go
 * of it when this process ends, however it ends; children don't inherit it. existing: only if the
 * file is there, else nil; without it the file is made. */
static int l_lock(lua_State *L)
{
    bool existing = lua_toboolean(L, 2);
    struct op *op = op_new(L, run_lock, push_lock);
    op->existing = existing;
    return op_await(L, op);
}

static int lock_close(lua_State *L)
{
    int *fd = luaL_checkudata(L, 1, LOCK_TYPE);
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    return 0;
}

int luaopen_core_fs(lua_State *L)
{
    luaL_newmetatable(L, LOCK_TYPE);
    static const luaL_Reg methods[] = {{"close", lock_close}, {NULL, NULL}};
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, lock_close);
    lua_setfield(L, -2, "__close");
    lua_pushcfunction(L, lock_close);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    static const luaL_Reg functions[] = {
        {"write", l_write},     {"read", l_read},         {"mkdir", l_mkdir},
        {"remove", l_remove},   {"list", l_list},         {"stems", l_stems},
        {"group", l_group},     {"stat", l_stat},         {"chown", l_chown},
        {"mkdtemp", l_mkdtemp}, {"realpath", l_realpath}, {"lock", l_lock},
        {"rename", l_rename},   {"space", l_space},       {NULL, NULL},
    };
    luaL_newlib(L, functions);
    return 1;
}
