#ifndef MK_DB_SQLITE_H
#define MK_DB_SQLITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/names.h"

/*
 * SQLite, for the catalog. A batch of statements is run on a database file that is opened for it
 * and closed after it, in one transaction: nothing stays open between batches, so nothing can be
 * left open. It blocks (on the disk, on other processes' locks): to be called off the loop.
 */
enum mk_db_type { MK_DB_NULL, MK_DB_INTEGER, MK_DB_REAL, MK_DB_TEXT };

struct mk_db_param {
    enum mk_db_type type;
    int64_t integer;
    double real;
    char *text; /* owned; `len` bytes and a NUL */
    size_t len;
};

struct mk_db_value {
    enum mk_db_type type;
    uint32_t len; /* of a text, of which SQLite allows a billion bytes */
    union {
        int64_t integer;
        double real;
        size_t at; /* where in `texts` it begins */
    };
};

struct mk_db_statement {
    char *sql; /* owned; one statement */
    struct mk_db_param *params;
    int n_params;
    bool by_column; /* for the caller's use */
    /* what came out */
    char **columns;
    int n_columns;
    struct mk_db_value *values; /* row by row */
    size_t n_rows;
    struct mk_names texts; /* of all values, without NULs: there may be very many */
    int64_t changes;
};

/* Runs them in order. On an error everything is rolled back. `read_only`: nothing is written, so
 * several processes and threads can do that at once, and the file, which is created (0600)
 * otherwise, must be there. MK_ECORRUPT: the file is damaged or no database. */
int mk_db_run(const char *path, bool read_only, struct mk_db_statement *statements, int n,
              struct mk_error *err);
void mk_db_statement_fini(struct mk_db_statement *statement);

#endif
