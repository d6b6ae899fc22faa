/* SPDX-License-Identifier: MIT
 *
 * An end joins its channel and leaves it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/error.h"
#include "node/node.h"
#include "node/shown.h"
#include "node/version.h"
#include "platform/cancel.h"
#include "platform/patience.h"
#include "platform/process.h"
#include "platform/socket.h"

void fi_node_count_link(fi_end_t *e) {
    fi_add64(&e->linked, 1);
    fi_store_relaxed32(&e->unmet, 0);
    pthread_cond_broadcast(&e->node->changed);
}

void fi_node_count_tap(fi_end_t *e) {
    fi_add64(&e->taps_linked, 1);
    pthread_cond_broadcast(&e->node->changed);
}

void fi_end_note_error(fi_end_t *e, int r) {
    if (fi_is_lack(r)) {
        fi_end_lacks(e);
    }
    if (fi_is_lack(r) || r == -EFBIG) {
        __atomic_store_n(&e->open_error, r, __ATOMIC_RELAXED);
    }
}

static bool has_met(const fi_end_t *e) {
    return e->settled >= e->asked;
}

static bool is_settled(const fi_end_t *e) {
    return has_met(e) && fi_load_acquire64(&e->linked) >= e->expected;
}

/*
 * A node that cannot accept connections for want of descriptors says nothing to those who dial it, nor to its own
 * program, which may be waiting for them.  So who has waited for it in vain looks whether that is why.
 */
const char *fi_end_unmet_words(const fi_end_t *e, char words[FI_UNMET_WORDS]) {
    pid_t pid = (pid_t)fi_load_relaxed32(&e->unmet);
    int cancel = fi_cancel_off();

    words[0] = 0;
    if (fi_process_lacks_descriptors(pid, FI_PEER_DESCRIPTORS)) {
        (void)snprintf(
            words, FI_UNMET_WORDS,
            "; process %ld has it open, too, and too few descriptors left to be linked (see its `ulimit -n`)",
            (long)pid);
    }
    if (!words[0] && fi_node_version_warning(e->node)[0]) {
        (void)snprintf(words, FI_UNMET_WORDS, "; and %s", fi_node_version_warning(e->node));
    }
    fi_cancel_restore(cancel);
    return words;
}

/* Of several who have not answered, one is enough. */
static void note_unmet(const fi_node_t *n, fi_end_t *e) {
    for (const struct fi_list *at = n->peers.next; at != &n->peers; at = at->next) {
        const fi_peer_t *p = fi_container(at, fi_peer_t, link);
        if (fi_peer_owes(p, e->id)) {
            fi_store_relaxed32(&e->unmet, (uint32_t)p->pid);
        }
    }
}

#define AFTER_LOSS_NS 500000000

static void settle_taps(fi_node_t *n, const fi_end_t *e) {
    int64_t deadline = fi_now_ns() + FI_SETTLE_TAPS_NS;
    struct timespec ts = fi_timespec(deadline);

    while ((e->taps_settled < e->taps_asked || fi_load_acquire64(&e->taps_linked) < e->taps_expected) &&
           !fi_node_is_shut(n)) {
        if (pthread_cond_timedwait(&n->changed, &n->lock, &ts) == ETIMEDOUT) {
            return;
        }
    }
}

/* Waits until everybody who was there before is linked; those who do not answer in time will be later. What a peer that
 * was lost meanwhile has announced may not come. */
static int settle(fi_node_t *n, fi_end_t *e, int64_t timeout) {
    fi_patience_t patience = {.left = timeout};
    uint32_t losses = n->losses;

    while (!is_settled(e)) {
        struct timespec ts = fi_timespec(fi_patience_slice(&patience));
        if (fi_node_is_shut(n)) {
            return fi_fail(-ESHUTDOWN, "the node %s while '%s' was opened", fi_node_end_word(n),
                           fi_channel_shown(e->channel));
        }
        (void)pthread_cond_timedwait(&n->changed, &n->lock, &ts);
        if (!fi_patience_goes_on(&patience)) {
            break;
        }
        if (n->losses != losses && patience.left > AFTER_LOSS_NS) {
            patience.left = AFTER_LOSS_NS;
        }
        losses = n->losses;
    }
    note_unmet(n, e);
    settle_taps(n, e);
    int error = __atomic_load_n(&e->open_error, __ATOMIC_RELAXED);
    return error ? fi_fail_errno(-error, "cannot link '%s' with all %" PRIu64 " who are there",
                                 fi_channel_shown(e->channel), e->expected)
                 : 0;
}

int fi_node_settle(fi_node_t *n, fi_end_t *e, int64_t timeout) {
    int cancel = fi_cancel_off();

    pthread_mutex_lock(&n->lock);
    int r = settle(n, e, timeout);
    pthread_mutex_unlock(&n->lock);
    fi_cancel_restore(cancel);
    return r;
}

void fi_node_meet_anew(fi_node_t *n, fi_end_t *e) {
    int cancel = fi_cancel_off();

    pthread_mutex_lock(&n->lock);
    if (!fi_node_is_shut(n)) {
        (void)fi_node_meet_named(n, e); /* whom it cannot dial now, it does not meet */
    }
    pthread_mutex_unlock(&n->lock);
    fi_cancel_restore(cancel);
}

static bool look(fi_node_t *n, const fi_end_t *e, bool (*is)(const fi_end_t *e)) {
    int cancel = fi_cancel_off();

    pthread_mutex_lock(&n->lock);
    bool it_is = is(e);
    pthread_mutex_unlock(&n->lock);
    fi_cancel_restore(cancel);
    return it_is;
}

bool fi_node_has_met(fi_node_t *n, const fi_end_t *e) {
    return look(n, e, has_met);
}

bool fi_node_is_settled(fi_node_t *n, const fi_end_t *e) {
    return look(n, e, is_settled);
}

/*
 * Somebody who finds this end connects to the node.  Where there are no descriptors for that, nobody would learn of it:
 * the connection waits to be accepted, and both ends wait for each other.  A node that has met somebody may have what
 * it needs with those it has met, and is let in.
 */
#define FOR_A_RECEIVER 3u /* a sender's: its page, and a ring */

static int check_descriptors(const fi_node_t *n, const fi_end_t *e) {
    unsigned needed = FI_PEER_DESCRIPTORS + (e->magic == FI_END_SENDER ? FOR_A_RECEIVER : 0);

    if (e->hidden || n->peer_count > 0 || fi_descriptors_left(needed)) {
        return 0;
    }
    return fi_fail_errno(EMFILE, "nobody could be linked with '%s'", fi_channel_shown(e->channel));
}

int fi_node_join(fi_node_t *n, fi_end_t *e) {
    if (fi_node_is_shut(n)) {
        return fi_fail(-ESHUTDOWN, "the node %s: nothing can be opened on it", fi_node_end_word(n));
    }
    int cancel = fi_cancel_off();
    pthread_mutex_lock(&n->lock);
    e->id = ++n->next_end;
    e->stated = e->contract;
    fi_list_add_tail(&n->ends, &e->link);
    int r = check_descriptors(n, e);
    if (r == 0 && !e->hidden) {
        r = fi_node_publish(n, e);
    }
    if (r == 0) {
        e->published = true;
        n->end_count += !e->hidden;
        r = fi_node_meet(n, e);
    }
    if (r == 0 && !e->in_haste) {
        r = settle(n, e, FI_SETTLE_NS);
    }
    if (r < 0 && !e->published) {
        fi_list_remove(&e->link);
    }
    pthread_mutex_unlock(&n->lock);
    if (r == 0 && n->far && !e->hidden && !e->tap) {
        r = n->far->opened(n->net, e);
    }
    fi_cancel_restore(cancel);
    return r;
}

void fi_node_part(fi_node_t *n, fi_end_t *e) {
    int cancel = fi_cancel_off();
    if (n->far && !e->hidden && !e->tap && e->published) {
        n->far->closing(n->net, e);
    }
    pthread_mutex_lock(&n->lock);
    if (e->published) {
        if (!e->hidden) {
            fi_node_unpublish(n, e);
            n->end_count--;
        }
        e->published = false;
    }
    fi_list_remove(&e->link);
    fi_end_set_due(e, FI_NEVER);
    pthread_mutex_unlock(&n->lock);
    fi_cancel_restore(cancel);
}

void fi_node_keep_held(fi_node_t *n, fi_end_t *e) {
    int cancel = fi_cancel_off();
    pthread_mutex_lock(&n->lock);
    fi_list_add_tail(&n->held, &e->link);
    pthread_mutex_unlock(&n->lock);
    fi_cancel_restore(cancel);
}

void fi_node_forget_held(fi_node_t *n, fi_end_t *e) {
    int cancel = fi_cancel_off();
    pthread_mutex_lock(&n->lock);
    fi_list_remove(&e->link);
    pthread_mutex_unlock(&n->lock);
    fi_cancel_restore(cancel);
}
