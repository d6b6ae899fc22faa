/* SPDX-License-Identifier: MIT
 *
 * The five kinds in a space that spans machines: what each call changes in the value that all share.
 */
#include <errno.h>
#include <stdio.h>

#include "base/error.h"
#include "lock/lock.h"
#include "net/lease.h"
#include "platform/cancel.h"
#include "platform/clock.h"

#define LOOK_NS INT64_C(5000000000) /* for calls without a timeout of their own */
#define TIDY_NS INT64_C(500000000)
#define GIVE_UP_NS INT64_C(200000000)
#define TOUCH_MS 300 /* for the server's answer to a ping */

typedef struct fi_lease_step {
    fi_lease_who_t who;
    uint32_t role;
    bool queue;
    bool unrepaired;
    uint32_t count;
    uint32_t round;
    bool alone;
    bool by_count;
    int64_t began; /* ns: when it was last tried */
    bool tried;    /* it would have been taken, or we would have arrived, if the change was made */
    uint32_t held; /* as far as this handle knows */
} fi_lease_step_t;

static fi_lease_step_t step_of(const fi_lease_t *l) {
    fi_lease_step_t step = {.role = 0};

    fi_lease_who(l, &step.who);
    return step;
}

static int change(fi_lease_t *l, fi_lease_step_t *step, fi_change_fn *f, const fi_term_t *p, uint64_t *token) {
    return fi_value_change(&l->object->record, fi_value_number(), f, step, p, token);
}

/* ---- sentences ---- */

static int explain(const fi_lease_t *l, int r, int64_t timeout, const char *wanted) {
    const char *word = l->object->record.word;
    const char *name = fi_lease_name(l);

    switch (r) {
    case -EAGAIN:
        return fi_fail(r, "the %s \"%s\" is not %s now", word, name, wanted);
    case -ENOTCONN:
        if (timeout == FERRY_NOW) {
            return fi_fail(r, "the %s \"%s\": there is no connection to a server now; it is being tried again", word,
                           name);
        }
        return fi_fail(-ETIMEDOUT, "the %s \"%s\" was not %s within %.3f ms: there is no connection to a server", word,
                       name, wanted, (double)timeout / 1e6);
    case -ETIMEDOUT:
        if (timeout == FERRY_NOW) {
            return fi_fail(r, "the %s \"%s\" was not %s at once: %s", word, name, wanted, fi_error_text());
        }
        return fi_fail(r, "the %s \"%s\" was not %s within %.3f ms", word, name, wanted, (double)timeout / 1e6);
    default:
        return fi_wait_explain(r, word, name);
    }
}

/* ---- leases that are lost ---- */

static int tell_lost(fi_lease_t *l, const char *how) {
    fi_leases_t *leases = l->object->leases;
    int64_t back = __atomic_load_n(&leases->back_since, __ATOMIC_ACQUIRE);
    char when[160] = "";

    if (l->lost_since) {
        snprintf(when, sizeof when, ", %.3f s ago", (double)(fi_now_ns() - l->lost_since) / 1e9);
    } else if (back) {
        snprintf(when, sizeof when, " (there was no connection for %.3f s, until %.3f s ago)",
                 (double)__atomic_load_n(&leases->gap, __ATOMIC_RELAXED) / 1e9, (double)(fi_now_ns() - back) / 1e9);
    }
    return fi_fail(-ESTALE, "the lease on the %s \"%s\" was lost%s: %s", l->object->record.word, fi_lease_name(l), when,
                   how);
}

static const char unheard[] = "this process was not heard of for too long, so what it held was given to others";
static const char cut_off[] = "there is no connection to a server, so others may have taken it by now";

static void begin_to_hold(fi_lease_t *l, uint32_t units) {
    fi_store_relaxed32(&l->held, units);
    if (units > 0) {
        fi_lease_touch_begins(l->object->leases);
    }
}

/* Nothing is held any more. */
static void let_go(fi_lease_t *l) {
    fi_store_relaxed32(&l->held, 0);
    __atomic_store_n(&l->token, 0, __ATOMIC_RELAXED);
    l->unrepaired = false;
}

static int is_held(fi_lease_state_t *s, void *arg) {
    const fi_lease_step_t *step = arg;

    return fi_lease_holding(s, step->who.node, step->who.handle) ? 0 : -ESTALE;
}

/* There is no answer about the lease, maybe since servers elect a leader: is there one of the server itself? */
static void touch(fi_net_t *net, fi_leases_t *leases) {
    int64_t begin = fi_now_ns();

    if (fi_net_is_up(net) && fi_nats.natsConnection_FlushTimeout(net->control, TOUCH_MS) == NATS_OK) {
        fi_lease_note_contact(leases, begin);
    }
}

/* Does the handle, which believes so, still hold it? 0 or -ESTALE, which is noted. */
static int look_whether_held(fi_lease_t *l) {
    fi_lease_step_t step = step_of(l);
    int64_t begin = fi_now_ns();
    fi_term_t p = {.deadline = begin + TIDY_NS, .stubborn = true};
    int64_t since;

    if (fi_load_relaxed32(&l->lost)) {
        return tell_lost(l, unheard);
    }
    int r = fi_net_is_up(fi_lease_net(l)) ? change(l, &step, is_held, &p, NULL) : -ENOTCONN;
    if (r == -ESTALE) {
        fi_store_relaxed32(&l->lost, 1);
        return tell_lost(l, unheard);
    }
    if (r == 0) {
        fi_lease_note_held(l, begin);
        return 0;
    }
    touch(fi_lease_net(l), l->object->leases);
    if (fi_lease_is_over(l, &since)) {
        fi_store_relaxed32(&l->lost, 1);
        l->lost_since = since;
        return tell_lost(l, cut_off);
    }
    return 0; /* it is not known, within the time that is ours */
}

static int any_holder(fi_lease_state_t *s, void *arg) {
    (void)arg;
    return fi_lease_is_held(s);
}

static int not_held(fi_lease_t *l) {
    fi_lease_step_t step = step_of(l);
    fi_term_t p = {.deadline = fi_deadline(TIDY_NS), .stubborn = true};
    const char *word = l->object->record.word;

    if (change(l, &step, any_holder, &p, NULL) == 0) {
        return fi_fail(-EALREADY, "nobody holds the %s \"%s\": it was unlocked before", word, fi_lease_name(l));
    }
    return fi_fail(-EPERM, "this handle does not hold the %s \"%s\", another one does", word, fi_lease_name(l));
}

int fi_lease_check(fi_lease_t *l) {
    int r = fi_lease_enter(l);

    if (r < 0) {
        return r;
    }
    if (!fi_load_relaxed32(&l->held)) {
        return fi_lease_leave(
            l, fi_fail(-EPERM, "this handle does not hold the %s \"%s\"", l->object->record.word, fi_lease_name(l)));
    }
    return fi_lease_leave(l, look_whether_held(l));
}

/* ---- taking and giving back ---- */

/* What it makes is sent after that. */
static int take(fi_lease_state_t *s, void *arg) {
    fi_lease_step_t *step = arg;

    step->began = fi_now_ns();
    int r = fi_lease_take(s, step->role, &step->who, step->queue);
    step->tried |= r > 0;
    return r;
}

/* A change without an answer may be in place all the same. */
static int undo(fi_lease_state_t *s, void *arg) {
    const fi_lease_step_t *step = arg;

    fi_lease_unqueue(s, step->who.node, step->who.handle);
    const fi_lease_entry_t *e = fi_lease_holding(s, step->who.node, step->who.handle);
    if (e && step->held == 0) {
        fi_lease_drop(s, step->who.node, step->who.handle, false);
    } else if (e && e->units > step->held) {
        (void)fi_lease_give(s, step->who.node, step->who.handle, false);
    }
    return 0;
}

/* If that cannot be said, whoever waits for it learns from us, when he asks, that we do not wait or hold it. */
static void give_up(fi_lease_t *l) {
    fi_lease_step_t step = step_of(l);
    fi_term_t p = {.deadline = fi_deadline(fi_net_patience(fi_lease_net(l), GIVE_UP_NS)), .stubborn = true};
    char sentence[FI_ERROR_TEXT_MAX];

    snprintf(sentence, sizeof sentence, "%s", fi_error_text());
    step.held = fi_load_relaxed32(&l->held);
    if (fi_net_is_up(fi_lease_net(l))) {
        (void)change(l, &step, undo, &p, NULL);
    }
    (void)fi_fail(0, "%s", sentence);
}

static int take_or_wait(fi_lease_t *l, uint32_t role, int64_t timeout) {
    fi_lease_step_t step = step_of(l);
    fi_term_t p = {.deadline = fi_deadline(timeout)};
    uint64_t token = 0;

    step.role = role;
    int r = change(l, &step, take, &p, &token);
    if (r == -EAGAIN && timeout != FERRY_NOW) {
        step.queue = true;
        r = fi_lease_wait(l, role, take, &step, p.deadline, &token);
    }
    if (r < 0 && r != -ENOTRECOVERABLE && (step.queue || (step.tried && r != -EAGAIN))) {
        give_up(l);
    }
    if (r > 0) {
        __atomic_store_n(&l->token, token, __ATOMIC_RELAXED);
        __atomic_store_n(&l->held_since, fi_now_ns(), __ATOMIC_RELAXED);
        fi_lease_note_held(l, step.began);
        fi_store_relaxed32(&l->lost, 0);
        l->lost_since = 0;
    }
    return r > 0 ? r : explain(l, r, timeout, "free");
}

/* It says that it holds the lock already; does it? */
static int relock(fi_lease_t *l) {
    int r = look_whether_held(l);

    if (r == -ESTALE) {
        let_go(l);
        return r;
    }
    return fi_fail(-EDEADLK, "this handle holds the %s \"%s\" already", l->object->record.word, fi_lease_name(l));
}

static int lock(fi_lease_t *l, uint32_t role, int64_t timeout) {
    int r = fi_lease_enter(l);

    if (r < 0) {
        return r;
    }
    if (fi_load_relaxed32(&l->held)) {
        return fi_lease_leave(l, relock(l));
    }
    r = take_or_wait(l, role, timeout);
    if (r > 0) {
        begin_to_hold(l, 1);
        l->reads = role == FI_LEASE_READ;
        __atomic_store_n(&l->token, l->reads ? 0 : l->token, __ATOMIC_RELAXED);
        l->unrepaired = r == FI_LEASE_TAKEN_FROM_DEAD && !l->reads;
        r = r == FI_LEASE_TAKEN_FROM_DEAD ? FERRY_OWNER_DIED : 0;
    }
    return fi_lease_leave(l, r);
}

int fi_lease_mutex_lock(fi_lease_t *l, int64_t timeout) {
    return lock(l, FI_LEASE_WRITE, timeout);
}

int fi_lease_rwlock(fi_lease_t *l, bool reads, int64_t timeout) {
    return lock(l, reads ? FI_LEASE_READ : FI_LEASE_WRITE, timeout);
}

static int give(fi_lease_state_t *s, void *arg) {
    const fi_lease_step_t *step = arg;

    return fi_lease_give(s, step->who.node, step->who.handle, step->unrepaired);
}

static int drop(fi_lease_state_t *s, void *arg) {
    const fi_lease_step_t *step = arg;

    fi_lease_drop(s, step->who.node, step->who.handle, true);
    return 0;
}

/* A lost one is not given back as if nothing had happened: if nobody has taken it yet, whoever does is told. */
static void disclaim(fi_lease_t *l) {
    fi_lease_step_t step = step_of(l);
    fi_term_t p = {.deadline = fi_now_ns(), .stubborn = true};

    if (fi_net_is_up(fi_lease_net(l))) {
        (void)change(l, &step, drop, &p, NULL);
    }
}

/* Gives back what is held. 0 or -ESTALE; nothing (a unit less) is held then. */
static int give_back(fi_lease_t *l) {
    fi_lease_step_t step = step_of(l);
    fi_term_t p = {.deadline = fi_deadline(FI_LEASE_NS), .stubborn = true};
    int64_t since;

    step.unrepaired = l->unrepaired;
    if (fi_load_relaxed32(&l->lost)) {
        disclaim(l);
        return tell_lost(l, unheard);
    }
    if (!fi_net_is_up(fi_lease_net(l)) && fi_lease_is_over(l, &since)) {
        fi_store_relaxed32(&l->lost, 1);
        l->lost_since = since;
        return tell_lost(l, cut_off);
    }
    int r = change(l, &step, give, &p, NULL);
    if (r == -ESTALE) {
        return tell_lost(l, unheard);
    }
    if (r < 0) {
        fi_store_relaxed32(&l->lost, 1);
        l->lost_since = fi_now_ns();
        return tell_lost(l, cut_off);
    }
    return 0;
}

int fi_lease_unlock(fi_lease_t *l) {
    int r = fi_lease_enter(l);

    if (r < 0) {
        return r;
    }
    if (!fi_load_relaxed32(&l->held)) {
        return fi_lease_leave(l, not_held(l));
    }
    r = give_back(l);
    let_go(l);
    return fi_lease_leave(l, r);
}

int fi_lease_repaired(fi_lease_t *l) {
    int r = fi_lease_enter(l);

    if (r < 0) {
        return r;
    }
    if (!fi_load_relaxed32(&l->held)) {
        r = fi_fail(-EPERM, "this handle does not hold \"%s\", so it cannot say that its state is repaired",
                    fi_lease_name(l));
    } else if (l->reads) {
        r = fi_fail(-EPERM, "\"%s\" is held to read: who repairs the state holds it to write", fi_lease_name(l));
    } else if (!l->unrepaired) {
        r = fi_fail(-EINVAL, "\"%s\" was not taken from a dead holder: there is nothing to repair", fi_lease_name(l));
    } else {
        l->unrepaired = false;
    }
    return fi_lease_leave(l, r);
}

uint64_t fi_lease_token(const fi_lease_t *l) {
    return fi_lease_check_handle(l) == 0 && fi_load_relaxed32(&l->held) ? l->token : 0;
}

/* ---- semaphores ---- */

static bool is_owned(const fi_lease_t *l) {
    return l->object->record.options != 0;
}

int fi_lease_acquire(fi_lease_t *l, int64_t timeout) {
    int r = fi_lease_enter(l);

    if (r < 0) {
        return r;
    }
    r = take_or_wait(l, FI_LEASE_UNIT, timeout);
    if (r > 0) {
        begin_to_hold(l, fi_load_relaxed32(&l->held) + is_owned(l));
        r = 0;
    }
    return fi_lease_leave(l, r);
}

static int add_unit(fi_lease_state_t *s, void *arg) {
    (void)arg;
    return fi_lease_add_unit(s, FERRY_MAX_COUNT);
}

static int release_plain(fi_lease_t *l) {
    fi_lease_step_t step = step_of(l);
    fi_term_t p = {.deadline = fi_deadline(LOOK_NS), .stubborn = true};

    int r = change(l, &step, add_unit, &p, NULL);
    return r == -EOVERFLOW
               ? fi_fail(r, "the semaphore \"%s\" counts up to %u already", fi_lease_name(l), FERRY_MAX_COUNT)
               : r;
}

int fi_lease_release(fi_lease_t *l) {
    int r = fi_lease_enter(l);

    if (r < 0) {
        return r;
    }
    uint32_t held = fi_load_relaxed32(&l->held);
    if (!is_owned(l)) {
        r = release_plain(l);
    } else if (held == 0) {
        r = fi_fail(-EPERM, "this handle holds no unit of the semaphore \"%s\", whose units belong to their holders",
                    fi_lease_name(l));
    } else {
        r = give_back(l);
        fi_store_relaxed32(&l->held, r == 0 ? held - 1 : 0); /* who was taken for dead has lost all */
    }
    return fi_lease_leave(l, r);
}

static int free_units(fi_lease_state_t *s, void *arg) {
    (void)arg;
    return (int)fi_lease_free_units(s);
}

/* Calls that only look or set: any thread may make them, through any handle, and they do not wait. */
static int look(fi_lease_t *l, fi_change_fn *f) {
    fi_lease_step_t step = {.role = 0};
    fi_term_t p = {.deadline = fi_deadline(LOOK_NS), .stubborn = true};

    int r = fi_lease_check_handle(l);
    if (r < 0) {
        return r;
    }
    int cancel = fi_cancel_here();
    fi_lease_who(l, &step.who);
    r = change(l, &step, f, &p, NULL);
    fi_cancel_restore(cancel);
    return r;
}

int fi_lease_value(fi_lease_t *l) {
    return look(l, free_units);
}

/* ---- barriers ---- */

/* The first time it arrives, then it looks how the round ends. */
static int arrive(fi_lease_state_t *s, void *arg) {
    fi_lease_step_t *step = arg;

    int r = fi_lease_arrive(s, &step->who, step->alone, &step->round);
    step->tried |= r >= 0;
    return r;
}

static int round_ended(fi_lease_state_t *s, void *arg) {
    const fi_lease_step_t *step = arg;

    return fi_lease_round(s, step->round);
}

static int withdraw(fi_lease_state_t *s, void *arg) {
    const fi_lease_step_t *step = arg;

    return fi_lease_withdraw(s, step->who.node, step->who.handle, step->round);
}

/* The wait has ended with `r`; the round may have ended meanwhile. */
static int leave_round(fi_lease_t *l, uint32_t round, int r) {
    fi_lease_step_t step = step_of(l);
    fi_term_t p = {.deadline = fi_now_ns(), .stubborn = true};
    char sentence[FI_ERROR_TEXT_MAX];

    snprintf(sentence, sizeof sentence, "%s", fi_error_text());
    step.round = round;
    int ended = fi_net_is_up(fi_lease_net(l)) ? change(l, &step, withdraw, &p, NULL) : 0;
    if (ended == 1 || ended == -EOWNERDEAD) {
        return ended;
    }
    return fi_fail(r, "%s", sentence);
}

static int wait_at_barrier(fi_lease_t *l, int64_t timeout) {
    fi_lease_step_t step = step_of(l);
    fi_term_t p = {.deadline = fi_deadline(timeout)};

    step.alone = timeout == FERRY_NOW;
    int r = change(l, &step, arrive, &p, NULL);
    if (r < 0 && step.tried && r != -EAGAIN && r != -EOWNERDEAD) {
        give_up(l);
    }
    if (r != 0) {
        return r == 1 ? FERRY_BARRIER_LAST : r;
    }
    r = fi_lease_wait(l, FI_LEASE_ARRIVED, round_ended, &step, p.deadline, NULL);
    if (r < 0 && r != -EOWNERDEAD) {
        r = leave_round(l, step.round, r);
    }
    return r == 1 ? 0 : r;
}

int fi_lease_barrier_wait(fi_lease_t *l, int64_t timeout) {
    int r = fi_lease_enter(l);

    if (r < 0) {
        return r;
    }
    r = wait_at_barrier(l, timeout);
    return fi_lease_leave(l, r < 0 ? explain(l, r, timeout, "complete") : r);
}

static int reset_barrier(fi_lease_state_t *s, void *arg) {
    (void)arg;
    fi_lease_reset_barrier(s);
    return 0;
}

int fi_lease_barrier_reset(fi_lease_t *l) {
    int r = fi_lease_enter(l);

    return r < 0 ? r : fi_lease_leave(l, look(l, reset_barrier));
}

/* ---- events ---- */

static int set_event(fi_lease_state_t *s, void *arg) {
    (void)arg;
    fi_lease_set_event(s);
    return 0;
}

int fi_lease_event_set(fi_lease_t *l) {
    return look(l, set_event);
}

static int reset_event(fi_lease_state_t *s, void *arg) {
    (void)arg;
    return fi_lease_reset_event(s);
}

int fi_lease_event_reset(fi_lease_t *l) {
    return look(l, reset_event);
}

static int event_is_set(fi_lease_state_t *s, void *arg) {
    (void)arg;
    return (s->head.flags & FI_LEASE_SET) != 0;
}

int fi_lease_event_is_set(fi_lease_t *l) {
    return look(l, event_is_set);
}

static int event_count(fi_lease_state_t *s, void *arg) {
    (void)arg;
    return (int)s->head.value;
}

int fi_lease_event_count(fi_lease_t *l) {
    return look(l, event_count);
}

static int pass(fi_lease_state_t *s, void *arg) {
    const fi_lease_step_t *step = arg;

    return step->by_count ? s->head.value != (step->count & FI_LEASE_COUNT_MASK) : fi_lease_pass_event(s);
}

static int pass_at_once(fi_lease_state_t *s, void *arg) {
    return pass(s, arg) ? 1 : -EAGAIN;
}

static int wait_for_event(fi_lease_t *l, const uint32_t *count, int64_t timeout) {
    fi_lease_step_t step = step_of(l);
    fi_term_t p = {.deadline = fi_deadline(timeout)};

    step.by_count = count != NULL;
    step.count = count ? *count : 0;
    int r = change(l, &step, pass_at_once, &p, NULL);
    if (r == -EAGAIN && timeout != FERRY_NOW) {
        r = fi_lease_wait(l, 0, pass, &step, p.deadline, NULL);
    }
    return r > 0 ? 0 : explain(l, r, timeout, "set");
}

int fi_lease_event_wait(fi_lease_t *l, const uint32_t *count, int64_t timeout) {
    int r = fi_lease_enter(l);

    return r < 0 ? r : fi_lease_leave(l, wait_for_event(l, count, timeout));
}
