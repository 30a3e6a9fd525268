#ifndef MK_LOOP_LOOP_IMPL_H
#define MK_LOOP_LOOP_IMPL_H

/* For loop/ and flow/ only: what users of loop.h must not see. */
#include <uv.h>

#include "loop/loop.h"

struct mk_workers;

struct mk_loop {
    uv_loop_t uv;
    struct mk_workers *workers;
    int n_workers;
};

struct mk_workers *mk__workers_new(struct mk_loop *loop, int threads, struct mk_error *err);
/* Joins the threads and starts closing the async handle. */
void mk__workers_stop(struct mk_workers *workers);
void mk__workers_free(struct mk_workers *workers);

#endif
