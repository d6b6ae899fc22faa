/* SPDX-License-Identifier: MIT
 *
 * Waiting for room: in a ring, in the quota, for the last release.
 *
 *   sender                                          receiver, releasing
 *   want = number of this sleep, in every ring      released[i] = lap, cursor (R3, R2)
 *   heavy barrier (membarrier)                      light barrier
 *   looks once more at every release                want != 0 and not answered yet?
 *   sleeps                                            -> publishes its cursor, rings the sender's node
 *
 * The node's steward takes the bell and wakes the sender, or, when the program's thread is elsewhere and messages wait
 * in the backlog, sends them itself.
 */
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/error.h"
#include "channel/ghosts.h"
#include "channel/history.h"
#include "channel/parted.h"
#include "node/shown.h"
#include "platform/clock.h"
#include "platform/futex.h"

static void want_in(fi_outlet_t *o, uint64_t want) {
    for (uint32_t s = o->first; s <= o->current; s++) {
        fi_store_release64(&o->logs[s % FI_LOGS]->w.head->shared.want, want);
    }
    for (fi_log_t *log = o->kept; log; log = log->next_kept) {
        fi_store_release64(&log->w.head->shared.want, want);
    }
    fi_parted_want(o, want);
}

static void set_want(fi_sender_t *tx, uint64_t want) {
    for (uint32_t i = 0; i < tx->outlet_count; i++) {
        want_in(tx->outlets[i], want);
    }
    for (fi_outlet_t *o = tx->haunted; o; o = o->next) {
        want_in(o, want);
    }
}

void fi_sender_arm(fi_sender_t *tx) {
    fi_store_release32(&tx->waiting, 1);
    set_want(tx, ++tx->sleeps | (tx->rendezvous || tx->windows > 0 ? FI_WANT_MEET : 0));
    fi_barrier_heavy_global();
}

void fi_sender_disarm(fi_sender_t *tx) {
    set_want(tx, 0);
    fi_store_release32(&tx->waiting, 0);
}

bool fi_sender_wants_room(fi_end_t *e) {
    return fi_load_acquire32(&fi_sender_of(e)->waiting) != 0;
}

/* An exchange on both sides: either this thread finds that the sleeper has left, or that one sees, after it has, what
 * this thread has seen. */
bool fi_sender_tends(fi_end_t *e) {
    return fi_add32(&fi_sender_of(e)->tends, 0) != 0;
}

void fi_sender_wake(fi_end_t *e) {
    fi_sender_t *tx = fi_sender_of(e);
    uint64_t one = 1;

    fi_add32(&tx->room, 1);
    if (fi_load_acquire32(&e->busy) == FI_BUSY_ASLEEP) {
        (void)fi_futex_wake(&tx->room, 1);
    }
    int fd = __atomic_load_n(&tx->room_fd, __ATOMIC_ACQUIRE);
    if (fd >= 0 && write(fd, &one, sizeof one) < 0) {
        /* full: it is readable already */
    }
}

static void refresh_all(fi_sender_t *tx, bool exactly) {
    for (uint32_t i = 0; i < tx->outlet_count; i++) {
        if (exactly) {
            fi_outlet_refresh_exactly(tx->outlets[i]);
        } else {
            fi_outlet_refresh(tx->outlets[i]);
        }
        fi_outlet_reclaim(tx->outlets[i], exactly);
    }
    if (exactly) {
        fi_haunted_settle(tx);
    }
}

static void consider_growth(fi_sender_t *tx, bool soon) {
    for (uint32_t i = 0; i < tx->outlet_count && !tx->meet.open; i++) {
        fi_outlet_consider_growth(tx->outlets[i], soon);
        fi_outlet_turn_over(tx->outlets[i]);
    }
}

/* Room that was made since we looked last is no deadlock. */
static int look_why(fi_sender_t *tx, fi_try_fn *try, void *arg) {
    int r = fi_sender_look_why(tx);

    if (r != -EAGAIN) {
        refresh_all(tx, true);
        int again = try(tx, arg);
        return again == -EAGAIN ? r : again;
    }
    return r;
}

/* Until `room` has changed. What the steward would do for one that is not there, this thread does when it wakes. */
static int sleep_for_room(fi_sender_t *tx, uint32_t room, int64_t deadline) {
    fi_store_release32(&tx->tends, 1);
    fi_end_begin_sleep(&tx->end);
    int r = fi_futex_wait(&tx->room, room, deadline);
    fi_end_end_sleep(&tx->end);
    (void)fi_exchange32(&tx->tends, 0);
    fi_sender_take_room(tx);
    return r;
}

/* Sleeps until something may have changed. -EDEADLK: nothing will, since those who could make room wait for us. */
static int sleep_once(fi_sender_t *tx, fi_try_fn *try, void *arg, int64_t deadline) {
    uint32_t room = fi_load_acquire32(&tx->room);
    fi_pace_t *pace = &tx->stall.pace;

    consider_growth(tx, false);
    if (!tx->waiting) {
        fi_sender_arm(tx);
    }
    refresh_all(tx, true);
    int r = try(tx, arg);
    bool armed = tx->waiting; /* not if that has sent the last that waited: then it arms anew before it sleeps */
    if (r == -EAGAIN && armed && !fi_node_is_shut(tx->end.node)) {
        tx->stats.waits++;
        fi_store_relaxed32(&tx->stall.room, room);
        r = sleep_for_room(tx, room, fi_earlier(pace->check, deadline));
        r = r == -EINTR ? -EINTR : -EAGAIN;
        int64_t now = fi_now_ns();
        if (r == -EAGAIN && now < deadline && fi_pace_is_due(pace, now)) { /* what is over anyhow is no deadlock */
            r = look_why(tx, try, arg);
        }
    }
    if (fi_list_empty(&tx->backlog)) {
        fi_sender_disarm(tx); /* with a backlog, the steward stays on watch */
    }
    return r;
}

void fi_sender_fenced(fi_node_t *n, uint64_t id, uint64_t token, uint64_t newer, uint64_t count) {
    fi_frame_t told = fi_frame(FI_DENIED, id, 0);
    struct fi_list *at;
    struct fi_list *after;

    pthread_mutex_lock(&n->lock);
    fi_list_each(at, after, &n->ends) {
        fi_end_t *e = fi_container(at, fi_end_t, link);
        if (e->id == id && e->magic == FI_END_SENDER) {
            fi_sender_t *tx = fi_sender_of(e);
            fi_add64(&tx->fencing.refused, count);
            fi_store_relaxed64(&tx->fencing.by, newer);
            fi_store_release64(&tx->fencing.fenced, token);
        }
    }
    pthread_mutex_unlock(&n->lock);
    (void)fi_peer_send(n->self, &told, NULL);
}

static bool is_fenced(const fi_sender_t *tx) {
    return tx->fencing.token && fi_load_acquire64(&tx->fencing.fenced) == tx->fencing.token;
}

int fi_sender_take_denial(fi_sender_t *tx) {
    if (is_fenced(tx)) {
        return fi_fail(-ESTALE, "'%s' takes nothing more with token %" PRIu64 ": a newer one, %" PRIu64 ", was used",
                       fi_channel_shown(tx->end.channel), tx->fencing.token, fi_load_relaxed64(&tx->fencing.by));
    }
    if (!tx->denied) {
        return 0;
    }
    tx->denied = false;
    if (!tx->denial[0]) {
        return 0; /* it was about an earlier token */
    }
    return fi_fail(-EACCES, "messages on '%s' cannot leave this machine: the server denies it (%s)",
                   fi_channel_shown(tx->end.channel), tx->denial);
}

static int gave_up(fi_sender_t *tx, int64_t timeout) {
    char text[320];
    char words[FI_UNMET_WORDS];

    if (tx->part.explain && tx->part.explain(tx, text, sizeof text)) {
        return fi_fail(timeout == FERRY_NOW ? -EAGAIN : -ETIMEDOUT, "%s", text);
    }
    bool is_read = tx->topic || tx->link_count > 0;
    if (timeout == FERRY_NOW) {
        return fi_fail(-EAGAIN, "'%s' has no room now: %s", fi_channel_shown(tx->end.channel),
                       is_read ? "its receivers have not released enough" : "nobody has it open to receive");
    }
    return fi_fail(-ETIMEDOUT, "'%s' had no room before the timeout: %s%s", fi_channel_shown(tx->end.channel),
                   is_read ? "its receivers did not release enough" : "nobody had it open to receive",
                   fi_end_unmet_words(&tx->end, words));
}

#define OVER_AGAIN_NS 20000000 /* between two looks; less than the grace after which a deadlock is looked for */

/* A sleep's end, for one whose owner may not want to wait any more. */
static int64_t sleep_until(const fi_sender_t *tx, int64_t deadline) {
    return tx->part.is_over ? fi_earlier(deadline, fi_now_ns() + OVER_AGAIN_NS) : deadline;
}

bool fi_sender_is_read_far_away(const fi_sender_t *tx) {
    return tx->link_count == 1 && tx->links[0]->hidden;
}

/* What is refused for its token is counted, and then released: who closes waits for that, or would count it twice. */
static bool is_let_go(const fi_sender_t *tx) {
    return tx->stall.bears_it && is_fenced(tx);
}

static int wait_until(fi_sender_t *tx, fi_try_fn *try, void *arg, int64_t timeout, bool fail_at_once) {
    fi_spin_t spin = fi_spin_begin();
    int64_t deadline = timeout > 0 ? fi_deadline(timeout) : FI_NEVER;
    bool now = timeout == FERRY_NOW || fail_at_once;

    tx->stalled = now;
    for (;;) {
        fi_end_check(&tx->end);
        refresh_all(tx, now);
        int r = try(tx, arg);
        if (r != -EAGAIN) {
            if (r == 0 && spin.rounds > 0) {
                fi_spin_paid(&tx->spinner, &spin);
                consider_growth(tx, true);
            }
            return r;
        }
        if (fi_unlikely(tx->denied) && !is_let_go(tx) && (r = fi_sender_take_denial(tx)) < 0) {
            return r;
        }
        if (fi_node_is_shut(tx->end.node)) {
            return fi_fail(-ESHUTDOWN, "the node %s while the sender of '%s' waited", fi_node_end_word(tx->end.node),
                           fi_channel_shown(tx->end.channel));
        }
        if (fi_unlikely(tx->part.is_over && tx->part.is_over(tx->part.whole))) {
            return -ECANCELED; /* the owner knows why */
        }
        if (now) {
            consider_growth(tx, false);
            return gave_up(tx, FERRY_NOW);
        }
        bool late = spin.rounds % 1024 == 1023 && deadline != FI_NEVER && fi_now_ns() >= deadline;
        if (!late && !fi_sender_is_read_far_away(tx) && fi_spin_more(&tx->spinner, &spin)) {
            continue;
        }
        tx->stalled = tx->stuck = true;
        if (tx->stall.pace.since == 0) {
            tx->stall.pace = fi_pace_begin(FI_GRACE_NS);
            tx->stall.deadline = deadline;
        }
        r = late ? -EAGAIN : sleep_once(tx, try, arg, sleep_until(tx, deadline));
        if (r == 0) {
            return 0;
        }
        if (r == -EINTR) {
            return fi_fail(-EINTR, "a signal ended the wait of the sender of '%s'", fi_channel_shown(tx->end.channel));
        }
        if (r != -EAGAIN) {
            return r;
        }
        if (deadline != FI_NEVER && fi_now_ns() >= deadline) {
            refresh_all(tx, true);
            r = try(tx, arg);
            return r == -EAGAIN ? gave_up(tx, timeout) : r;
        }
    }
}

int fi_sender_wait_until(fi_sender_t *tx, fi_try_fn *try, void *arg, int64_t timeout, bool fail_at_once) {
    int r = wait_until(tx, try, arg, timeout, fail_at_once);

    fi_sender_waited(tx);
    tx->stalled = false;
    return r;
}

struct wanted_block {
    uint64_t size;
    fi_block_t *block;
    bool no_quota;
};

/* From the pool: what has been released is taken first, before the pool grows; at last, where the contract says so,
 * what readers that lag behind have not seen yet, and what is only kept for those who come late. */
int fi_sender_alloc_now(fi_sender_t *tx, uint64_t size, fi_block_t **out) {
    *out = fi_pool_take(&tx->pool, size);
    if (fi_likely(*out != NULL)) {
        return 0;
    }
    refresh_all(tx, false);
    int r = fi_pool_alloc(&tx->pool, size, out);

    while (r == -EDQUOT && tx->topic && (fi_outlet_lose_oldest(tx->topic) || fi_sender_retain_less(tx))) {
        r = fi_pool_alloc(&tx->pool, size, out);
    }
    return r;
}

static int try_alloc(fi_sender_t *tx, void *arg) {
    struct wanted_block *want = arg;
    int r = fi_sender_alloc_now(tx, want->size, &want->block);

    want->no_quota = r == -EDQUOT;
    return r == -EDQUOT ? -EAGAIN : r;
}

int fi_sender_alloc(fi_sender_t *tx, uint64_t size, int64_t timeout, fi_block_t **out) {
    struct wanted_block want = {.size = size};

    int r = fi_sender_alloc_now(tx, size, out);
    if (r != -EDQUOT) {
        return r;
    }
    r = fi_sender_wait_until(tx, try_alloc, &want, timeout, tx->overflow == FERRY_OVERFLOW_FAIL);
    if (r == 0) {
        *out = want.block;
    }
    if (r == -EAGAIN && want.no_quota) {
        return fi_fail(-EDQUOT,
                       "the quota of '%s' (%llu bytes) has no room for %llu more: release messages, wait for the "
                       "receivers, or raise `quota`",
                       fi_channel_shown(tx->end.channel), (unsigned long long)tx->pool.quota, (unsigned long long)size);
    }
    return r;
}
