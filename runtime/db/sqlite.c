/*
 * SQLite batches: see sqlite.h. Other processes write the same file, so a batch that writes takes
 * the lock at its beginning and waits for it, at most BUSY_MS. The rollback journal is used, not
 * WAL: state folders may be on network file systems, and writes are rare.
 */
#include "db/sqlite.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#define BUSY_MS  10000
#define MAX_ROWS 100000

static int fail(struct mk_error *err, sqlite3 *db, const char *path)
{
    int code = db ? sqlite3_errcode(db) & 0xff : SQLITE_NOMEM;
    const char *text = db ? sqlite3_errmsg(db) : "out of memory";
    int status = MK_ESYS;
    if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
        status = MK_ECORRUPT;
    else if (code == SQLITE_READONLY || code == SQLITE_CANTOPEN || code == SQLITE_PERM)
        status = MK_EACCES;
    else if (code == SQLITE_FULL)
        status = MK_ENOSPC;
    else if (code == SQLITE_IOERR)
        status = MK_EIO;
    else if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
        status = MK_EBUSY;
    else if (code == SQLITE_NOMEM)
        status = MK_ENOMEM;
    return mk_error_set(err, status, "database", "%s: %s", path, text);
}

static int bind_params(sqlite3_stmt *stmt, const struct mk_db_statement *statement)
{
    int result = SQLITE_OK;
    for (int i = 0; i < statement->n_params && result == SQLITE_OK; i++) {
        const struct mk_db_param *value = &statement->params[i];
        if (value->type == MK_DB_INTEGER)
            result = sqlite3_bind_int64(stmt, i + 1, value->integer);
        else if (value->type == MK_DB_REAL)
            result = sqlite3_bind_double(stmt, i + 1, value->real);
        else if (value->type == MK_DB_TEXT)
            result = sqlite3_bind_text(stmt, i + 1, value->text, (int)value->len, SQLITE_STATIC);
    }
    return result;
}

static bool take_text(sqlite3_stmt *stmt, int column, struct mk_db_statement *statement,
                      struct mk_db_value *value)
{
    const void *text = sqlite3_column_text(stmt, column);
    value->type = MK_DB_TEXT;
    value->len = (uint32_t)sqlite3_column_bytes(stmt, column);
    value->at = statement->texts.len;
    if (!text || !mk_names_reserve(&statement->texts, value->len + 1))
        return false;
    memcpy(statement->texts.bytes + value->at, text, value->len);
    statement->texts.len += value->len;
    return true;
}

static bool take_value(sqlite3_stmt *stmt, int column, struct mk_db_statement *statement,
                       struct mk_db_value *value)
{
    switch (sqlite3_column_type(stmt, column)) {
    case SQLITE_INTEGER:
        value->type = MK_DB_INTEGER;
        value->integer = sqlite3_column_int64(stmt, column);
        return true;
    case SQLITE_FLOAT:
        value->type = MK_DB_REAL;
        value->real = sqlite3_column_double(stmt, column);
        return true;
    case SQLITE_NULL:
        value->type = MK_DB_NULL;
        return true;
    default:
        return take_text(stmt, column, statement, value);
    }
}

static bool take_columns(sqlite3_stmt *stmt, struct mk_db_statement *statement)
{
    statement->n_columns = sqlite3_column_count(stmt);
    statement->columns = mk_calloc(((size_t)statement->n_columns + 1) * sizeof(char *));
    bool ok = statement->columns != NULL;
    for (int i = 0; ok && i < statement->n_columns; i++) {
        statement->columns[i] = mk_strdup(sqlite3_column_name(stmt, i));
        ok = statement->columns[i] != NULL;
    }
    return ok;
}

static bool take_row(sqlite3_stmt *stmt, struct mk_db_statement *statement)
{
    size_t n = (size_t)statement->n_columns;
    size_t used = statement->n_rows * n;
    bool is_full = (statement->n_rows & (statement->n_rows - 1)) == 0; /* 0, 1, 2, 4, ... */
    if (is_full) {
        size_t cap = (statement->n_rows ? 2 * statement->n_rows : 1) * n;
        struct mk_db_value *larger = mk_realloc(statement->values, (cap + 1) * sizeof *larger);
        if (!larger)
            return false;
        statement->values = larger;
    }
    for (size_t i = 0; i < n; i++)
        if (!take_value(stmt, (int)i, statement, &statement->values[used + i]))
            return false;
    statement->n_rows++;
    return true;
}

static int run_one(sqlite3 *db, const char *path, struct mk_db_statement *statement,
                   struct mk_error *err)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(db, statement->sql, -1, &stmt, NULL) != SQLITE_OK ||
        bind_params(stmt, statement) != SQLITE_OK) {
        fail(err, db, path);
        sqlite3_finalize(stmt);
        return err->status;
    }
    if (!stmt) /* an empty statement */
        return MK_OK;
    int status = take_columns(stmt, statement) ? MK_OK : mk_error_nomem(err, "database");
    int result = SQLITE_DONE;
    while (status == MK_OK && (result = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (statement->n_rows == MAX_ROWS)
            status = mk_error_set(err, MK_EINVAL, "database", "more than %d rows", MAX_ROWS);
        else if (!take_row(stmt, statement))
            status = mk_error_nomem(err, "database");
    }
    if (status == MK_OK && result != SQLITE_DONE)
        status = fail(err, db, path);
    statement->changes = sqlite3_changes64(db);
    sqlite3_finalize(stmt);
    return status;
}

static int exec(sqlite3 *db, const char *path, const char *sql, struct mk_error *err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? MK_OK : fail(err, db, path);
}

int mk_db_run(const char *path, bool read_only, struct mk_db_statement *statements, int n,
              struct mk_error *err)
{
    sqlite3 *db = NULL;
    if (!read_only) { /* SQLite would make it 0644 */
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0)
            close(fd);
    }
    /* One thread has the connection: no locks inside it. Whoever reads may have to roll back what a
     * killed process was writing. */
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE;
    int status = sqlite3_open_v2(path, &db, flags, NULL) == SQLITE_OK ? MK_OK : fail(err, db, path);
    if (status == MK_OK) {
        sqlite3_busy_timeout(db, BUSY_MS);
        status = exec(db, path, read_only ? "BEGIN" : "BEGIN IMMEDIATE", err);
    }
    for (int i = 0; status == MK_OK && i < n; i++)
        status = run_one(db, path, &statements[i], err);
    if (status == MK_OK)
        status = exec(db, path, "COMMIT", err);
    sqlite3_close(db); /* rolls back what was not committed */
    return status;
}

void mk_db_statement_fini(struct mk_db_statement *statement)
{
    mk_free(statement->sql);
    for (int i = 0; i < statement->n_params; i++)
        mk_free(statement->params[i].text);
    mk_free(statement->params);
    for (int i = 0; statement->columns && i < statement->n_columns; i++)
        mk_free(statement->columns[i]);
    mk_free(statement->columns);
    mk_free(statement->values);
    mk_names_fini(&statement->texts);
}
