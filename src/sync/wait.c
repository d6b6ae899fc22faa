/* SPDX-License-Identifier: MIT */
#include "sync/wait.h"

#include <errno.h>
#include <sched.h>

#include "host/chosen.h"
#include "platform/clock.h"
#include "platform/cpu.h"
#include "platform/futex.h"

#define SHORT_SPIN_NS 2000u /* when spinning was in vain lately */
#define VAIN_LIMIT 4u
#define EAGER_ROUNDS 16u /* between two looks at the clock */
#define PROBE_EVERY 16u
#define FIRST_PAUSE 4u  /* turns of fi_cpu_relax */
#define LAST_PAUSE 128u /* a few microseconds */

static uint64_t budget_ns(const fi_waiter_t *who) {
    return who->in_vain < VAIN_LIMIT || who->in_vain % PROBE_EVERY == 0 ? fi_host_spin() : SHORT_SPIN_NS;
}

static void pause_a_while(fi_wait_t *w) {
    if (w->eager) {
        fi_cpu_relax();
        return;
    }
    w->pause = w->pause == 0 ? FIRST_PAUSE : w->pause < LAST_PAUSE ? w->pause * 2 : LAST_PAUSE;
    for (uint32_t i = 0; i < w->pause; i++) {
        fi_cpu_relax();
    }
}

bool fi_wait_spin(fi_wait_t *w) {
    if (w->who->policy == FERRY_WAIT_BLOCK) {
        return false;
    }
    if (w->eager && ++w->pause % EAGER_ROUNDS != 0) {
        fi_cpu_relax();
        return true;
    }
    uint64_t now = fi_ticks();
    if (w->spin_until == 0) {
        w->spin_until = now + budget_ns(w->who) * fi_ticks_per_us() / 1000;
    }
    if (now < w->spin_until) {
        pause_a_while(w);
        return true;
    }
    if (w->gave_way) {
        return false;
    }
    /* With more threads than processors, whoever runs now has mostly done what is waited for. */
    w->gave_way = true;
    w->who->in_vain++;
    sched_yield();
    return true;
}

static void first_look(fi_wait_t *w) {
    w->pace = fi_pace_begin(w->who->stalled != NULL ? w->who->grace : -1);
    w->deadline = fi_deadline(w->timeout);
}

/* What the clock says. */
static int judge(fi_wait_t *w) {
    int64_t now = fi_now_ns();

    w->hungry = now - w->pace.since >= FI_HUNGRY_NS;
    if (now >= w->deadline) {
        return -ETIMEDOUT;
    }
    return fi_pace_is_due(&w->pace, now) ? FI_WAIT_LOOK_WHY : 0;
}

static uint32_t sleeps_as(const fi_wait_t *w) {
    return w->hungry && w->sleeps_as == FI_TAKERS ? FI_TAKERS | FI_STARVING : w->sleeps_as;
}

/* No timer wakes us to announce our hunger: one so near is the next of its processor as a rule, and to set the hardware
 * for it and back costs more than all else here.  When we are woken, and another one was faster, is early enough. */
static int sleep_once(fi_wait_t *w, uint32_t *word, uint32_t expected) {
    int r = fi_futex_wait_shared(word, expected, sleeps_as(w), fi_earlier(w->pace.check, w->deadline));

    w->slept = true;
    if (r == 0) {
        w->woken = true; /* even when it is late: what woke us is ours */
        w->hungry = fi_now_ns() - w->pace.since >= FI_HUNGRY_NS;
        return 0;
    }
    return r == -EINTR ? r : judge(w);
}

int fi_wait_sleep(fi_wait_t *w, uint32_t *word, uint32_t expected) {
    if (w->who->halted != NULL && w->who->halted(w->who)) {
        return -ESHUTDOWN;
    }
    if (w->pace.since == 0) {
        first_look(w);
    }
    if (fi_wait_never_sleeps(w)) {
        w->spin_until = 0;
        return judge(w);
    }
    return sleep_once(w, word, expected);
}
