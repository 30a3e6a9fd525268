/* One-shot wait tokens: see wait.h. */
#include "loop/wait.h"

#include <assert.h>
#include <stddef.h>

void mk_wait_init(struct mk_wait *wait, void (*cancel)(struct mk_wait *wait))
{
    wait->state = MK_WAIT_ARMED;
    wait->status = 0;
    wait->cancel = cancel;
    wait->on_fire = NULL;
    wait->arg = NULL;
}

void mk_wait_fire(struct mk_wait *wait, int status)
{
    assert(wait->state == MK_WAIT_ARMED);
    wait->state = MK_WAIT_FIRED;
    wait->status = status;
    if (wait->on_fire)
        wait->on_fire(wait, wait->arg);
}
