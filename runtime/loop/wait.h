#ifndef MK_LOOP_WAIT_H
#define MK_LOOP_WAIT_H

/*
 * A one-shot wait token, embedded in the operation that completes it. States only move forward:
 * ARMED (the operation runs) -> FIRED (it has ended) -> CONSUMED (its result was taken, and the
 * operation may be freed). Exactly one fire per token, cancelled or not. Loop thread only.
 */
enum mk_wait_state { MK_WAIT_ARMED, MK_WAIT_FIRED, MK_WAIT_CONSUMED };

struct mk_wait {
    enum mk_wait_state state;
    int status; /* 0 or MK_E*; set by fire */
    /* Asks the operation to end early. It still fires later, usually with MK_ECANCELED, through
     * its normal path. NULL: it cannot be hurried. */
    void (*cancel)(struct mk_wait *wait);
    /* Set by whoever waits; called once by fire. It may only record, never run user code. */
    void (*on_fire)(struct mk_wait *wait, void *arg);
    void *arg;
};

void mk_wait_init(struct mk_wait *wait, void (*cancel)(struct mk_wait *wait));
void mk_wait_fire(struct mk_wait *wait, int status);

#endif
