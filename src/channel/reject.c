/* SPDX-License-Identifier: MIT
 *
 * Handing a message back: somebody must try it again.
 *
 *   receiver (any thread)                          sender's holder
 *   REJECT (position, delay)
 *   the handle is parked, its lines are not freed  keeps a copy, then marks the record as returned (R7)
 *   finds the mark (A7): frees the lines, as for   sends the copy to somebody when its time has come
 *   a released message
 *
 * Until the mark is there the message is the receiver's: when it dies or closes, it goes back like all that it holds.
 * So there is always one side that has it.  The mark is looked for whenever the receiver takes a message.
 */
#include <errno.h>

#include "base/error.h"
#include "channel/messages.h"
#include "node/shown.h"
#include "platform/cancel.h"

static bool is_returned(const ferry_msg_t *m) {
    const struct fi_record *rec = fi_ringr_line(&m->log->r, m->idx);

    return fi_word_flags(fi_load_acquire64(&rec->word)) & FI_REC_RETURNED; /* A7 */
}

static int tell_sender(const ferry_msg_t *m, int64_t delay, uint32_t flags, uint32_t attempts) {
    const fi_rxlink_t *l = m->link;
    fi_frame_t f = fi_frame(FI_REJECT, l->tx, l->rx->end.id);

    f.a = m->pos;
    f.b = (uint64_t)delay;
    f.flags = flags;
    f.figures[0] = m->log->place;
    f.figures[1] = attempts;
    return fi_peer_send(l->peer, &f, NULL);
}

static int nobody_left(const ferry_msg_t *m) {
    return fi_fail(
        -EPIPE,
        "the sender of this message on '%s' has ended, so nobody could send it to another receiver: it stays "
        "held here",
        fi_channel_shown(m->link->rx->end.channel));
}

int fi_taken_reject_held(ferry_msg_t *m, int64_t delay) {
    if (m->log->ctl.due && fi_held_end(m) == -ESTALE) {
        return fi_taken_release(m);
    }
    int r = fi_taken_reject(m, delay, 0);
    if (r < 0 && m->log->ctl.due) {
        (void)fi_held_settle(m, fi_held_until(m->link->rx)); /* it stays held, anew */
    }
    return r;
}

static int reject(ferry_msg_t *m, int64_t delay, uint32_t flags, uint32_t attempts) {
    fi_receiver_t *rx = m->link->rx;
    int cancel = fi_cancel_off();

    pthread_mutex_lock(&rx->returned_lock);
    bool closed = rx->closed;
    pthread_mutex_unlock(&rx->returned_lock);
    if (!closed) {
        int r = __atomic_load_n(&m->link->ended, __ATOMIC_RELAXED) ? -EPIPE : tell_sender(m, delay, flags, attempts);
        if (r < 0) {
            fi_cancel_restore(cancel);
            return r == -EPIPE ? nobody_left(m) : r;
        }
    }
    fi_taken_park(rx, m);
    fi_cancel_restore(cancel);
    return 0;
}

int fi_taken_reject(ferry_msg_t *m, int64_t delay, uint32_t flags) {
    return reject(m, delay, flags, 0);
}

int fi_taken_hand_back(ferry_msg_t *m, int64_t delay, uint32_t attempts) {
    return reject(m, delay, FI_REJECT_TRIED, attempts);
}

/* The handle is the program's no more. */
void fi_taken_park(fi_receiver_t *rx, ferry_msg_t *m) {
    pthread_mutex_lock(&rx->returned_lock);
    m->magic = FI_MSG_FREE;
    if (rx->closed) {
        fi_taken_settle_closed(rx, m); /* it went back when the receiver was closed */
        return;
    }
    m->next = rx->parked;
    rx->parked = m;
    fi_store_relaxed32(&rx->parked_count, rx->parked_count + 1);
    fi_store_relaxed32(&rx->returned_some, 1); /* look closer next time */
    fi_receiver_holds_less(rx);
    pthread_mutex_unlock(&rx->returned_lock);
}

/* Takes all that are parked out of the list. */
static ferry_msg_t *take_parked(fi_receiver_t *rx) {
    pthread_mutex_lock(&rx->returned_lock);
    ferry_msg_t *m = rx->parked;
    rx->parked = NULL;
    fi_store_relaxed32(&rx->parked_count, 0);
    pthread_mutex_unlock(&rx->returned_lock);
    return m;
}

void fi_receiver_unpark(fi_receiver_t *rx) {
    ferry_msg_t *m = take_parked(rx);

    while (m) {
        ferry_msg_t *next = m->next;
        if (m->link->detached) {
            fi_taken_give_back(m);
        } else if (is_returned(m)) {
            fi_taken_release_held(m);
        } else {
            fi_taken_park(rx, m);
        }
        m = next;
    }
}

void fi_receiver_forget_parked(fi_receiver_t *rx) {
    ferry_msg_t *m = take_parked(rx);

    while (m) {
        ferry_msg_t *next = m->next;
        fi_taken_give_back(m);
        m = next;
    }
}
