/* SPDX-License-Identifier: MIT
 *
 * Holding messages against a deadline: the receiver's side.  The sender's is in overdue.c.
 *
 * For each line of the ring the control area says until when the message that begins there may be held:
 *   0 nobody has taken it    1 it is being released or rejected    else nanoseconds, the deadline
 *
 *   receiver, any thread                            sender's holder, when the deadline has passed
 *   due = what it wants it to be                    header |= RETURNING
 *   full fence                                      full fence
 *   looks at the header:                            looks at `due`: is it what it was, and past?
 *     neither mark: so be it                          yes: keeps a copy, header |= RETURNED (R7)
 *     RETURNED: too late, somebody else has it        no: header &= ~RETURNING
 *     RETURNING: waits for one of the two
 *
 * Each side stores one word, then loads the other's, so at least one sees the other; when both do, the sender gives
 * way, and the receiver sees that.  So a message is either released by its holder or given to somebody else, never
 * both.  A sender that is stopped in between keeps nobody for long: the message is handed back to it then, which loses
 * nothing.
 */
#include <errno.h>

#include "base/error.h"
#include "channel/messages.h"
#include "node/shown.h"
#include "platform/clock.h"

#define LONG_ENOUGH_NS 1000000000ll
#define LOOK_EVERY_NS 20000ll

static unsigned marks_of(const ferry_msg_t *m) {
    return fi_word_flags(fi_load_acquire64(&fi_ringr_line(&m->log->r, m->idx)->word)) /* A7 */
           & (FI_REC_RETURNING | FI_REC_RETURNED);
}

uint64_t fi_held_until(const fi_receiver_t *rx) {
    return (uint64_t)fi_deadline(rx->ack_within);
}

int fi_held_settle(const ferry_msg_t *m, uint64_t due) {
    fi_store_release64(&m->log->ctl.due[m->idx], due);
    fi_fence_seq_cst();
    unsigned marks = marks_of(m);

    for (int64_t i = 0; marks == FI_REC_RETURNING; i++) {
        if (i > LONG_ENOUGH_NS / LOOK_EVERY_NS) {
            return -EAGAIN;
        }
        fi_sleep_until(fi_now_ns() + LOOK_EVERY_NS);
        marks = marks_of(m);
    }
    return marks ? -ESTALE : 0;
}

static int too_late(const ferry_msg_t *m) {
    return fi_fail(-ESTALE,
                   "this message of '%s' was held for longer than `ack_within` without ferry_msg_progress: another "
                   "receiver has it now",
                   fi_channel_shown(m->link->rx->end.channel));
}

int fi_held_end(const ferry_msg_t *m) {
    int r = fi_held_settle(m, FI_DUE_SETTLING);

    if (r == -EAGAIN) {
        (void)too_late(m);
    }
    return r == -ESTALE ? too_late(m) : r;
}

int fi_taken_progress(ferry_msg_t *m) {
    if (!m->log->ctl.due) {
        return 0;
    }
    return fi_held_settle(m, fi_held_until(m->link->rx)) < 0 ? too_late(m) : 0;
}
