/* SPDX-License-Identifier: MIT
 *
 * Taking messages: links in turn, one quantum each; then spinning, then sleeping on the doorbell.
 *
 *   receiver                                        sender
 *   sleep = epoch | ASLEEP                          publishes a record (R1)
 *   heavy barrier (membarrier)                      light barrier
 *   looks at every ring once more                   sleep & ASLEEP, and not rung for this epoch? -> rings
 *   sleeps on the bell
 *
 * Fairness: a link is served at most `quantum` bytes (and then the message that exceeds it), while others have
 * something.
 */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "channel/quick.h"
#include "node/shown.h"
#include "platform/bell.h"
#include "platform/clock.h"

#define SOON_ROUNDS 256     /* a few hundred nanoseconds */
#define ROUNDS_PER_PAUSE 8  /* a pause takes as long as so many looks */
#define LONG_WAIT 1024      /* one or two microseconds: what comes later is no stream */
#define WORTH_IT 4          /* messages that should come while the reader keeps off */
#define LOOKS_PER_CLOCK 64u /* while spinning; a look takes some ten nanoseconds */
#define MOST_BURIED 1024    /* in one look, before its caller's deadline counts again */
#define UNKNOWN INT64_MIN   /* deadline: most messages come sooner than the clock could be read */

static void next_turn(fi_receiver_t *rx) {
    rx->quantum_left = rx->quantum;
    if (rx->link_count > 1) {
        rx->quick = NULL;
        rx->turn = rx->turn + 1 < rx->link_count ? rx->turn + 1 : 0;
    }
}

static int broken(fi_receiver_t *rx, fi_rxlink_t *l) {
    uint64_t node = l->peer->id;
    uint64_t tx = l->tx;

    fi_receiver_expel(rx, l, "broke the rules of the ring");
    return fi_fail(-EPROTO,
                   "sender %llu of node %016llx wrote nonsense into its ring for '%s' and was expelled; the other "
                   "senders are still served",
                   (unsigned long long)tx, (unsigned long long)node, fi_channel_shown(rx->end.channel));
}

/* Told once; or that its dead-letter queue has refused a message. To a part of something larger it is what -EPROTO is: one link the fewer. */
static int gave_one_up(fi_receiver_t *rx) {
    int r = rx->part.whole ? -EPROTO : -ENOMEM;
    int why = rx->starved;

    rx->starved = 0;
    if (why == -EPROTOTYPE && rx->dead_letters) {
        return fi_dead_tell_refusal(rx);
    }
    rx->gave_up = true;
    if (why == -EMFILE || why == -ENFILE) {
        (void)fi_fail_errno(-why,
                            "what a sender of '%s' announced could not be taken in: it keeps its messages and is tried "
                            "again every second, the others are still served",
                            rx->end.channel);
        return rx->part.whole ? r : why;
    }
    if (why == -EFBIG) {
        return fi_fail(r,
                       "a sender of '%s' announced more memory than `max_memory_per_peer` (%llu bytes) lets this node "
                       "map of its node's: it was given up, the others are still served",
                       fi_channel_shown(rx->end.channel), (unsigned long long)rx->end.node->max_memory);
    }
    return fi_fail(r,
                   "no memory was left to map what a sender of '%s' announced: it keeps its messages and is tried "
                   "again every second, the others are still served",
                   fi_channel_shown(rx->end.channel));
}

/* What other threads have released, and what was rejected. */
static void settle_returned(fi_receiver_t *rx) {
    if (fi_unlikely(fi_load_relaxed32(&rx->returned_some))) {
        fi_receiver_collect(rx);
        fi_receiver_unpark(rx);
    }
}

/* Holds the program as many as it allowed itself? */
static bool is_full(const fi_receiver_t *rx) {
    return rx->max_held && fi_receiver_held(rx) - fi_load_relaxed32(&rx->parked_count) >= rx->max_held;
}

static int is_shut(const fi_receiver_t *rx) {
    return fi_fail(-ESHUTDOWN, "the node %s while '%s' was received", fi_node_end_word(rx->end.node),
                   fi_channel_shown(rx->end.channel));
}

/* 1: a message; 0: none; negative: error. */
static int try_next(fi_receiver_t *rx, ferry_msg_t **out) {
    settle_returned(rx);
    if (fi_unlikely(fi_node_is_expelled(rx->end.node))) {
        return is_shut(rx); /* others get what it was sent: that is not the end, and nothing more is to be taken */
    }
    if (fi_unlikely(rx->starved)) {
        return gave_one_up(rx);
    }
    if (fi_unlikely(is_full(rx))) {
        return fi_fail(-EDQUOT, "this receiver of '%s' holds %llu messages, as many as `max_held` allows: release some",
                       fi_channel_shown(rx->end.channel), (unsigned long long)fi_receiver_held(rx));
    }
    for (uint32_t tried = 0; tried <= rx->link_count && rx->link_count > 0;) {
        fi_rxlink_t *l = rx->links[rx->turn];
        int r = rx->quantum_left > 0 ? fi_link_take(l, out) : 0;
        if (fi_likely(r == 1)) {
            fi_receiver_find_quick(rx);
            return 1;
        }
        if (fi_unlikely(r < 0)) {
            return r == -EPROTO ? broken(rx, l) : r;
        }
        if (fi_unlikely(l->ended) && rx->quantum_left > 0) {
            fi_receiver_detach_drained(rx, l);
            rx->quantum_left = rx->quantum;
            continue;
        }
        next_turn(rx);
        tried++;
    }
    return 0;
}

void fi_receiver_find_quick(fi_receiver_t *rx) {
    fi_rxlink_t *l = rx->links[rx->turn];
    bool usual = !l->counts && !l->first_seq && !l->ended && !rx->check && !rx->fd_mode && rx->max_held == 0 &&
                 !rx->too_large && !rx->dead_letters && rx->ack_within == 0;

    rx->quick = usual ? l : NULL;
}

bool fi_receiver_at_end(const fi_receiver_t *rx) {
    return rx->link_count == 0 && rx->stats.senders_seen >= rx->awaited;
}

bool fi_receiver_ready(fi_receiver_t *rx) {
    if (rx->dead || rx->starved || rx->too_large || fi_load_acquire32(&rx->nudged)) {
        return true;
    }
    bool full = is_full(rx); /* until something is released, which rings */
    for (uint32_t i = rx->link_count; i-- > 0;) {
        bool ready = fi_link_ready(rx->links[i]);
        if (ready && !full) {
            return true;
        }
        if (!ready && rx->links[i]->ended) {
            fi_receiver_detach_drained(rx, rx->links[i]);
        }
    }
    return fi_receiver_at_end(rx);
}

void fi_receiver_nudge(fi_receiver_t *rx) {
    fi_store_release32(&rx->nudged, 1);
    fi_fence_seq_cst(); /* before its sleep is looked at; fi_receiver_arm has the other half */
    fi_receiver_wake(&rx->end);
}

static void set_sleep(fi_receiver_t *rx, uint32_t bits) {
    fi_store_release32(&rx->page->sleep, rx->epoch << 2 | bits | rx->fence_bit);
}

static void drain_bell(fi_receiver_t *rx) {
    fi_bell_drain(rx->bell.rd);
    rx->bell_full = false;
    rx->bell_stale = false;
}

/* From here on whoever has something for us rings the bell. */
static void begin_epoch(fi_receiver_t *rx) {
    if (rx->bell_stale) {
        drain_bell(rx);
    }
    rx->epoch++;
    set_sleep(rx, FI_SLEEP_ASLEEP);
    if (rx->fence_bit) {
        fi_fence_seq_cst();
    } else {
        fi_barrier_heavy_global();
    }
}

/* A sender whose message stands in somebody else's ring, or waits for whoever is free, gives it to one who waits. */
static void tell_that_it_waits(fi_receiver_t *rx) {
    for (uint32_t i = 0; i < rx->link_count; i++) {
        fi_rxlink_t *l = rx->links[i];
        if (fi_unlikely(fi_load_relaxed64(&l->log->r.head->shared.want) & FI_WANT_MEET)) {
            fi_rxlog_settle(l, l->log, false);
        }
    }
}

bool fi_receiver_arm(fi_receiver_t *rx) {
    fi_receiver_publish(rx);
    begin_epoch(rx);
    settle_returned(rx); /* what is marked from here on rings the bell */
    if (fi_receiver_ready(rx)) {
        return false;
    }
    rx->slept_at = rx->stats.messages; /* what comes next has woken us */
    tell_that_it_waits(rx);
    return true;
}

/* What has rung stays in the bell until the next sleep: the message that we were woken for need not wait for that
 * call. */
void fi_receiver_disarm(fi_receiver_t *rx) {
    set_sleep(rx, 0);
    if (rx->fd_mode) {
        drain_bell(rx);
    } else {
        rx->bell_stale = true;
    }
}

void fi_receiver_settle_bell(fi_receiver_t *rx, bool empty) {
    if (empty) {
        if (rx->bell_full || !(rx->page->sleep & FI_SLEEP_ASLEEP)) {
            fi_receiver_disarm(rx);
            empty = fi_receiver_arm(rx);
        }
        rx->bell_full |= empty; /* it may be rung from now on: drain it the next time */
    }
    if (!empty && !rx->bell_full) {
        fi_bell_ring(rx->bell.wr);
        rx->bell_full = true;
    }
}

static int nothing_now(fi_receiver_t *rx) {
    fi_receiver_publish(rx);
    tell_that_it_waits(rx);
    if (rx->fd_mode) {
        fi_receiver_settle_bell(rx, true);
    }
    return fi_fail_static(-EAGAIN, "no message waits now");
}

static int ended(fi_receiver_t *rx) {
    return fi_fail(-EPIPE,
                   rx->gave_up ? "all senders of '%s' have ended, or were given up"
                               : "all senders of '%s' have ended, and every message was taken",
                   fi_channel_shown(rx->end.channel));
}

bool fi_receiver_stirs(const fi_end_t *e) {
    const fi_receiver_t *rx = fi_container(e, const fi_receiver_t, end);

    return fi_load_acquire32(&e->busy) != FI_BUSY_ASLEEP || fi_bell_is_rung(rx->bell.rd);
}

/* Sleeps until the bell rings. 0: look again; -EAGAIN: deadline passed; -EINTR. */
static int sleep_once(fi_receiver_t *rx, int64_t deadline) {
    /* What is said to be there, and then is not, must not keep us beyond the deadline. */
    int r = deadline == FI_NEVER || fi_now_ns() < deadline;

    if (fi_receiver_arm(rx) && !fi_node_is_shut(rx->end.node)) {
        rx->stats.sleeps++;
        fi_end_begin_sleep(&rx->end);
        r = fi_bell_wait(rx->bell.rd, deadline);
        fi_end_end_sleep(&rx->end);
    }
    fi_receiver_disarm(rx);
    if (r == 0) {
        return -EAGAIN;
    }
    return r < 0 ? r : 0;
}

/* One look at everything; -EAGAIN: nothing there, nothing wrong. */
static int look(fi_receiver_t *rx, ferry_msg_t **out) {
    if (rx->quick && fi_receiver_take_quick(rx, out)) {
        return 0;
    }
    int r = try_next(rx, out);

    for (int i = 1; fi_unlikely(rx->dead_letters) && r == 1 && fi_dead_takes(rx, *out); i++) {
        r = i < MOST_BURIED ? try_next(rx, out) : 0;
    }
    if (fi_likely(r == 1)) {
        return 0;
    }
    if (r < 0) {
        return r;
    }
    if (fi_unlikely(fi_load_acquire32(&rx->nudged))) {
        fi_store_relaxed32(&rx->nudged, 0);
        return -EALREADY;
    }
    if (fi_unlikely(fi_receiver_at_end(rx))) {
        return ended(rx);
    }
    return fi_unlikely(fi_node_is_shut(rx->end.node)) ? is_shut(rx) : -EAGAIN;
}

/* Unless it was in vain the last time: then not again for a while. */
static void keep_off(fi_receiver_t *rx) {
    int64_t since = (int64_t)(rx->stats.messages - rx->kept_off_at);

    if (since >= WORTH_IT) {
        fi_spin_keep_off();
        rx->kept_off_at = rx->stats.messages;
    } else if (since >= 0) {
        rx->kept_off_at = rx->stats.messages + FI_STREAM;
    }
}

static void begin_to_wait(fi_receiver_t *rx) {
    fi_waits++;
    if (fi_spoke) {
        fi_spoke = false;
        rx->streak = 0;
    }
    fi_receiver_publish(rx);
    if (fi_receiver_streams(rx) && rx->spinner.policy != FERRY_WAIT_BLOCK) {
        keep_off(rx);
    }
}

/*
 * Looks at the next line again and again, with only a pause in between. Without it a core has dozens of looks under way
 * at once, all of them for the lines that the writer is filling: it takes these away from him too early, and each
 * message then costs a transfer more.
 */
static bool comes_soon(const fi_receiver_t *rx, const fi_rxlink_t *l, int rounds) {
    const fi_ringr_t *r = &l->log->r;

    for (int i = 0; i < rounds; i += ROUNDS_PER_PAUSE) {
        if (fi_ringr_ready(r)) {
            return true;
        }
        fi_cpu_relax();
        if (fi_end_has_chores(&rx->end)) {
            return false;
        }
    }
    return false;
}

bool fi_receiver_take_soon(fi_receiver_t *rx, ferry_msg_t **out) {
    if (!rx->quick || rx->link_count != 1 || !fi_spins_at_length(&rx->spinner)) {
        return false;
    }
    begin_to_wait(rx);
    return comes_soon(rx, rx->quick, SOON_ROUNDS) && fi_receiver_take_quick(rx, out);
}

static int nothing_came(const fi_receiver_t *rx) {
    char words[FI_UNMET_WORDS];

    return fi_fail(-ETIMEDOUT, "no message came on '%s' before the timeout%s", fi_channel_shown(rx->end.channel),
                   fi_end_unmet_words(&rx->end, words));
}

static int wait_for(fi_receiver_t *rx, int64_t timeout, ferry_msg_t **out) {
    fi_spin_t spin = fi_spin_begin();
    int64_t deadline = UNKNOWN;
    uint32_t looks = 0;
    bool last = false;

    begin_to_wait(rx);
    for (;;) {
        if (rx->link_count == 1 && rx->spinner.policy != FERRY_WAIT_BLOCK) {
            (void)comes_soon(rx, rx->links[0], FI_SPIN_TIGHT);
            fi_spin_skip(&spin, FI_SPIN_TIGHT - 1);
        }
        fi_end_check(&rx->end);
        int r = look(rx, out);
        if (r != -EAGAIN) {
            fi_spin_paid(&rx->spinner, &spin);
            return r;
        }
        if (spin.rounds > LONG_WAIT) {
            rx->streak = 0;
        }
        if (deadline == UNKNOWN) {
            deadline = fi_deadline(timeout);
        }
        if (last) {
            return nothing_came(rx);
        }
        if (fi_spin_more(&rx->spinner, &spin)) {
            if (++looks % LOOKS_PER_CLOCK == 0) {
                tell_that_it_waits(rx); /* who never sleeps waits, too */
                last = timeout > 0 && fi_now_ns() >= deadline;
            }
            continue;
        }
        r = sleep_once(rx, deadline);
        if (r == -EINTR) {
            return fi_fail(-EINTR, "a signal ended the wait on '%s'", fi_channel_shown(rx->end.channel));
        }
        last = r == -EAGAIN;
    }
}

/* Sleeps until the bell rings, unless what is waited for is there. -EINTR, or 0: look again. */
static int sleep_until_there(fi_receiver_t *rx, bool (*there)(void *arg), void *arg, int64_t deadline) {
    int r = 0;

    fi_receiver_publish(rx);
    begin_epoch(rx);
    if (!there(arg) && !fi_node_is_shut(rx->end.node)) {
        rx->stats.sleeps++;
        fi_end_begin_sleep(&rx->end);
        r = fi_bell_wait(rx->bell.rd, deadline);
        fi_end_end_sleep(&rx->end);
    }
    fi_receiver_disarm(rx);
    return r < 0 ? r : 0;
}

int fi_receiver_judge(fi_receiver_t *rx, bool (*there)(void *arg), void *arg, const fi_blocked_t *b, int64_t deadline) {
    int r = 0;

    fi_receiver_publish(rx);
    begin_epoch(rx);
    if (!there(arg)) {
        fi_end_begin_sleep(&rx->end);
        r = fi_waits_judge(rx->end.node, b, deadline);
        fi_end_end_sleep(&rx->end);
        r = r < 0 && there(arg) ? 0 : r;
    }
    fi_receiver_disarm(rx);
    return r;
}

int fi_receiver_await(fi_receiver_t *rx, bool (*there)(void *arg), void *arg, int64_t deadline) {
    fi_spin_t spin = fi_spin_begin();

    for (;;) {
        fi_end_check(&rx->end);
        if (there(arg)) {
            fi_spin_paid(&rx->spinner, &spin);
            return 0;
        }
        if (fi_node_is_shut(rx->end.node)) {
            return -ESHUTDOWN;
        }
        if (deadline != FI_NEVER && fi_now_ns() >= deadline) {
            return -ETIMEDOUT;
        }
        if (!fi_spin_more(&rx->spinner, &spin) && sleep_until_there(rx, there, arg, deadline) < 0) {
            return -EINTR;
        }
    }
}

int fi_receiver_recv(fi_receiver_t *rx, int64_t timeout, ferry_msg_t **out) {
    if (fi_unlikely(rx->dead)) {
        return fi_fail(-EOWNERDEAD, "the thread that owned this receiver of '%s' has ended: close it, open a new one",
                       fi_channel_shown(rx->end.channel));
    }
    if (fi_unlikely(rx->too_large)) {
        *out = rx->too_large;
        rx->too_large = NULL;
        return 0;
    }
    int r = look(rx, out);
    if (fi_unlikely(r == -EAGAIN)) {
        if (timeout == FERRY_NOW) {
            return nothing_now(rx);
        }
        r = wait_for(rx, timeout, out);
    }
    if (fi_unlikely(rx->fd_mode)) {
        fi_receiver_settle_bell(rx, r == -ETIMEDOUT || r == -EINTR || r == -EDQUOT);
    }
    return r;
}

/* What may be held only for so long: is it still ours, and will be? Else it goes, as if it had been released too
 * late. */
static bool end_hold(ferry_msg_t *m) {
    int r = m->log->ctl.due ? fi_held_end(m) : 0;

    if (r == 0) {
        return true;
    }
    if (r != -EAGAIN || fi_taken_reject(m, 0, FI_REJECT_UNCOUNTED) < 0) {
        fi_taken_release_held(m);
    }
    return false;
}

/* The next one that fits, and that nobody else has. */
static int next_held(fi_receiver_t *rx, size_t cap, int64_t timeout, ferry_msg_t **out) {
    int64_t deadline = timeout > 0 && rx->ack_within > 0 ? fi_deadline(timeout) : FI_NEVER;

    for (;;) {
        int r = fi_receiver_recv(rx, timeout, out); /* first of all the one that did not fit */
        if (r < 0 || (*out)->size > cap || end_hold(*out)) {
            return r;
        }
        timeout = deadline == FI_NEVER ? timeout : fi_timeout_left(deadline);
    }
}

int fi_receiver_recv_into(fi_receiver_t *rx, void *buf, size_t cap, int64_t timeout, size_t *len) {
    ferry_msg_t *m = NULL;

    int r = next_held(rx, cap, timeout, &m);
    if (r < 0) {
        return r;
    }
    *len = m->size;
    if (m->size > cap) {
        rx->too_large = m;
        rx->quick = NULL;
        return fi_fail(-EMSGSIZE, "the message has %llu bytes, the buffer only %zu: call again with a larger one",
                       (unsigned long long)m->size, cap);
    }
    if (m->size > 0) {
        memcpy(buf, m->data, m->size);
    }
    if (m->data != m->copy) {
        fi_add_relaxed64(&rx->stats.copies_made, 1);
        fi_add_relaxed64(&rx->stats.copied_bytes, m->size);
    }
    fi_taken_release_held(m);
    return 0;
}
