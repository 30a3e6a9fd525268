#ifndef MK_LOOP_WORKERS_H
#define MK_LOOP_WORKERS_H

#include "loop/loop.h"

/*
 * Jobs for the loop's own worker threads. These are for CPU work only; blocking calls go to
 * loop/call.h, so that neither can starve the other. The job belongs to the pool from submit
 * until `done`, which runs on the loop thread in order of completion. A submitted job always
 * runs: owners that lost interest wait for it.
 */
struct mk_job {
    void (*run)(struct mk_job *job);  /* on a worker */
    void (*done)(struct mk_job *job); /* on the loop thread */
    struct mk_job *next;              /* the pool's */
};

void mk_workers_submit(struct mk_loop *loop, struct mk_job *job);

#endif
