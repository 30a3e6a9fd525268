/*
 * A bucket that fills with time and that bytes empty, below zero if need be: see limiter.h. A
 * source or sink may go on while it is not empty. Those that may not are in a list, and their flows
 * are pumped when the time has come; one timer is enough, for they all wait for the same.
 *
 * Limit: the bucket holds BURST_MS of the rate, so after a pause that much goes at once.
 */
#include "flow/limiter.h"

#include "base/clock.h"
#include "base/mem.h"
#include "flow/flow_impl.h"
#include "loop/timer.h"

#define BURST_MS 250

struct mk_limiter {
    int refs;
    struct mk_loop *loop;
    int64_t rate;    /* bytes per second; 0: no limit */
    int64_t bytes;   /* in the bucket */
    int64_t seen_ms; /* when it was looked at */
    struct mk_timer *timer;
    struct mk_node *waiting;
    struct mk_node *waking; /* those whose flows are being pumped, one after the other */
};

struct mk_limiter *mk_limiter_new(struct mk_loop *loop, struct mk_error *err)
{
    struct mk_limiter *limiter = mk_calloc(sizeof *limiter);
    if (!limiter) {
        mk_error_nomem(err, "limiter");
        return NULL;
    }
    limiter->refs = 1;
    limiter->loop = loop;
    limiter->seen_ms = mk_monotonic_ms();
    return limiter;
}

struct mk_limiter *mk_limiter_ref(struct mk_limiter *limiter)
{
    limiter->refs++;
    return limiter;
}

void mk_limiter_unref(struct mk_limiter *limiter)
{
    if (!limiter || --limiter->refs > 0)
        return;
    mk_timer_close(limiter->timer);
    mk_free(limiter);
}

static void fill(struct mk_limiter *limiter)
{
    int64_t now = mk_monotonic_ms();
    int64_t elapsed = now - limiter->seen_ms;
    int64_t most = limiter->rate * BURST_MS / 1000;
    limiter->seen_ms = now;
    if (elapsed > 60000)
        elapsed = 60000; /* no product overflows */
    limiter->bytes += limiter->rate * elapsed / 1000;
    if (limiter->bytes > most)
        limiter->bytes = most;
}

static void pump_waiting(struct mk_limiter *limiter)
{
    mk_limiter_ref(limiter); /* the last one may end meanwhile */
    limiter->waking = limiter->waiting;
    limiter->waiting = NULL;
    while (limiter->waking) {
        struct mk_flow *flow = limiter->waking->flow;
        mk__limiter_forget(limiter->waking);
        mk__flow_pump(flow);
    }
    mk_limiter_unref(limiter);
}

static void on_time(void *arg)
{
    struct mk_limiter *limiter = arg;
    mk_timer_close(limiter->timer);
    limiter->timer = NULL;
    pump_waiting(limiter);
}

void mk_limiter_set_rate(struct mk_limiter *limiter, int64_t bytes_per_second)
{
    fill(limiter);
    limiter->rate = bytes_per_second;
    if (limiter->bytes > 0 || bytes_per_second == 0)
        limiter->bytes = 0;
    mk_timer_close(limiter->timer);
    limiter->timer = NULL;
    pump_waiting(limiter); /* those that still must wait wait anew */
}

bool mk__limiter_allows(struct mk_limiter *limiter, struct mk_node *node)
{
    if (limiter->rate == 0)
        return true;
    fill(limiter);
    if (limiter->bytes >= 0)
        return true;
    if (!node->is_limited) {
        node->is_limited = true;
        node->next_limited = NULL;
        struct mk_node **last = &limiter->waiting; /* in turn, or the others would starve */
        while (*last)
            last = &(*last)->next_limited;
        *last = node;
    }
    if (!limiter->timer) {
        struct mk_error err;
        int64_t ms = -limiter->bytes * 1000 / limiter->rate + 1;
        limiter->timer = mk_timer_start(limiter->loop, ms, on_time, limiter, &err);
    }
    return limiter->timer == NULL; /* memory is out: rather too fast than never */
}

void mk__limiter_charge(struct mk_limiter *limiter, size_t bytes)
{
    if (limiter->rate > 0)
        limiter->bytes -= (int64_t)bytes;
}

static bool remove_from(struct mk_node **link, struct mk_node *node)
{
    while (*link && *link != node)
        link = &(*link)->next_limited;
    if (!*link)
        return false;
    *link = node->next_limited;
    return true;
}

void mk__limiter_forget(struct mk_node *node)
{
    if (!node->is_limited)
        return;
    node->is_limited = false;
    if (!remove_from(&node->limiter->waiting, node))
        remove_from(&node->limiter->waking, node);
}
