/* SPDX-License-Identifier: MIT */
#include "ferry/message.h"

#include <string.h>

#include "api/check.h"
#include "channel/messages.h"
#include "channel/quick.h"

static bool is_sent(const ferry_msg_t *m) {
    return m && m->magic == FI_MSG_SENT;
}

static bool is_taken(const ferry_msg_t *m) {
    return m && m->magic == FI_MSG_TAKEN;
}

static int stale(void) {
    return fi_fail(-EBADF, "this message handle was released before, or its sender or node was closed");
}

static int inherited(void) {
    return fi_fail(-ECHILD, "this message belongs to the parent process: after fork(), open your own node");
}

/* A node's own memory is not mapped in a forked child. */
static bool is_gone(const ferry_msg_t *m) {
    return m->generation != fi_process_generation;
}

int ferry_msg_new(ferry_sender_t *tx, size_t size, int64_t timeout, void **data, ferry_msg_t **m) {
    int r = fi_end_enter(fi_end_of(tx), FI_END_SENDER);
    if (fi_unlikely(r < 0)) {
        return r;
    }
    r = fi_check_output(data, "ferry_msg_new");
    if (r == 0) {
        r = fi_check_output(m, "ferry_msg_new");
    }
    if (r == 0) {
        r = fi_sent_new(tx, size, timeout, data, m);
    }
    fi_end_leave(&tx->end);
    return r;
}

FI_QUICK_CALL const void *ferry_msg_data(const ferry_msg_t *m) {
    return (is_sent(m) || is_taken(m)) && !is_gone(m) ? m->data : NULL;
}

FI_QUICK_CALL size_t ferry_msg_size(const ferry_msg_t *m) {
    return is_sent(m) || is_taken(m) ? m->size : 0;
}

int ferry_msg_set_size(ferry_msg_t *m, size_t used) {
    if (is_taken(m) || (is_sent(m) && m->sent)) {
        return fi_fail(-EPERM, "the size of a message that was %s cannot change: %s",
                       m->magic == FI_MSG_TAKEN ? "received" : "sent",
                       m->magic == FI_MSG_TAKEN ? "send a new one" : "call ferry_msg_edit first");
    }
    if (!is_sent(m)) {
        return stale();
    }
    if (is_gone(m)) {
        return inherited();
    }
    if (used > m->capacity) {
        return fi_fail(-EINVAL, "%zu bytes are more than the %llu that the message was made with", used,
                       (unsigned long long)m->capacity);
    }
    m->size = used;
    return 0;
}

int ferry_msg_set_tag(ferry_msg_t *m, uint64_t tag) {
    if (is_taken(m)) {
        return fi_fail(-EPERM, "the tag of a received message cannot change: send a new one");
    }
    if (!is_sent(m)) {
        return stale();
    }
    if (is_gone(m)) {
        return inherited();
    }
    m->tag = tag;
    return 0;
}

int ferry_msg_edit(ferry_msg_t *m, void **data) {
    unsigned char *copy;

    int r = fi_check_output(data, "ferry_msg_edit");
    if (r < 0) {
        return r;
    }
    if (is_taken(m)) {
        r = is_gone(m) ? inherited() : fi_taken_copy(m, &copy);
        if (r >= 0) {
            *data = copy;
        }
        return r;
    }
    if (!is_sent(m)) {
        return stale();
    }
    fi_sender_t *tx = m->sender;
    if (!tx) {
        *data = m->copy;
        return 0;
    }
    r = fi_end_enter(fi_end_of(tx), FI_END_SENDER);
    if (r < 0) {
        return r;
    }
    r = fi_sent_edit(m, data);
    fi_end_leave(&tx->end);
    return r;
}

int ferry_msg_private(ferry_msg_t *m, const void **data) {
    unsigned char *copy;

    int r = fi_check_output(data, "ferry_msg_private");
    if (r < 0) {
        return r;
    }
    if (is_sent(m) && !is_gone(m)) {
        *data = m->data; /* nobody else can write our own memory */
        return 0;
    }
    if (!is_taken(m)) {
        return stale();
    }
    r = is_gone(m) ? inherited() : fi_taken_copy(m, &copy);
    if (r >= 0) {
        *data = copy;
        r = 0;
    }
    return r;
}

int ferry_msg_info(const ferry_msg_t *m, ferry_msg_info_t *info) {
    int r = fi_check_output(info, "ferry_msg_info");
    if (r == 0) {
        r = fi_check_size(info->size, sizeof *info, "ferry_msg_info_t");
    }
    if (r < 0) {
        return r;
    }
    if (is_sent(m)) {
        return fi_fail(-EINVAL, "ferry_msg_info is for received messages; this one was made by this process");
    }
    if (!is_taken(m)) {
        return stale();
    }
    if (is_gone(m)) {
        return inherited();
    }
    *info = (ferry_msg_info_t){.size = sizeof *info, .lost_before = m->lost};
    if (m->link) {
        info->sender_node = m->link->from_node;
        info->sender = m->link->from_end;
    }
    fi_taken_describe(m, info);
    return 0;
}

static void place_in(const fi_shared_t *s, const ferry_msg_t *m, ferry_msg_place_t *place) {
    place->inode = s->inode;
    place->offset = (uint64_t)(m->data - (const unsigned char *)s->map);
}

int ferry_msg_place(const ferry_msg_t *m, ferry_msg_place_t *place) {
    int r = fi_check_output(place, "ferry_msg_place");
    if (r == 0) {
        r = fi_check_size(place->size, sizeof *place, "ferry_msg_place_t");
    }
    if (r < 0) {
        return r;
    }
    if (!is_sent(m) && !is_taken(m)) {
        return stale();
    }
    if (is_gone(m)) {
        return inherited();
    }
    *place = (ferry_msg_place_t){.size = sizeof *place};
    if (is_sent(m) && m->sender) {
        place_in(m->block->segment->memory, m, place);
    } else if (m->data != m->copy) {
        place_in(m->segment ? m->segment->memory : m->log->ring, m, place);
    }
    return 0;
}

ferry_msg_t *ferry_msg_ref(ferry_msg_t *m) {
    if (is_taken(m)) {
        fi_add32(&m->refs, 1);
    } else if (is_sent(m)) {
        m->refs++; /* used by its sender's thread only */
    }
    return m;
}

__attribute__((noinline)) static int release_closely(ferry_msg_t *m) {
    if (!m) {
        return 0;
    }
    if (is_taken(m)) {
        return fi_taken_release(m);
    }
    if (!is_sent(m)) {
        return stale();
    }
    fi_sender_t *tx = m->sender;
    if (!tx) {
        return fi_alone_release(m);
    }
    int r = fi_end_enter(fi_end_of(tx), FI_END_SENDER);
    if (r < 0) {
        return r;
    }
    r = fi_sent_release(m);
    fi_end_leave(&tx->end);
    return r;
}

/* A call has begun, in which the message cannot be released the quick way, after all. */
__attribute__((noinline)) static int leave_and_release(ferry_msg_t *m) {
    fi_end_leave(&m->link->rx->end);
    return release_closely(m);
}

__attribute__((noinline)) static int settle_and_leave(fi_rxlink_t *l, fi_rxlog_t *log) {
    fi_rxlog_settle(l, log, false);
    return fi_end_leave(&l->rx->end);
}

/* See channel/quick.h, and api/sender.c about what stands in tail position. */
FI_QUICK_CALL int ferry_msg_release(ferry_msg_t *m) {
    if (fi_unlikely(!is_taken(m) || !m->plain || fi_load_acquire32(&m->refs) > 1 ||
                    !fi_end_is_mine(&m->link->rx->end, FI_END_RECEIVER))) {
        return release_closely(m);
    }
    fi_rxlink_t *l = m->link;
    fi_rxlog_t *log = m->log;
    fi_receiver_t *rx = l->rx;
    if (fi_unlikely(!fi_end_begin(&rx->end) || log->done || l->detached)) {
        return leave_and_release(m);
    }
    if (fi_taken_release_quick(rx, l, log, m)) {
        return settle_and_leave(l, log);
    }
    return fi_end_leave(&rx->end);
}

/* What a call that is for received messages needs. */
static int check_taken(const ferry_msg_t *m, const char *call) {
    if (is_sent(m)) {
        return fi_fail(-EINVAL, "%s is for received messages; this one was made by this process", call);
    }
    if (!is_taken(m)) {
        return stale();
    }
    return is_gone(m) ? inherited() : 0;
}

static int not_to_be_rejected(const ferry_msg_t *m) {
    int r = check_taken(m, "ferry_msg_reject");

    if (r < 0) {
        return r;
    }
    if (!m->link || m->link->rx->end.channel[0] == FI_REPLIES) {
        return fi_fail(-EINVAL, "only a queue's message can be rejected; this one is the result of a call");
    }
    if (m->link->rx->end.kind != FERRY_QUEUE) {
        return fi_fail(
            -EINVAL, "'%s' is a topic: its messages go to every receiver anyway, and cannot be rejected; release them",
            m->link->rx->end.channel);
    }
    if (m->link->rx->tap) {
        return fi_fail(-EINVAL, "this receiver of '%s' only looks: its messages are others' to release or to reject",
                       m->link->rx->end.channel);
    }
    r = fi_taken_is_others(m);
    if (r < 0) {
        return r;
    }
    if (fi_load_acquire32(&m->refs) > 1) {
        return fi_fail(-EBUSY, "this message has more than one reference: whoever holds the others must release them "
                               "before it is rejected");
    }
    return 0;
}

int ferry_msg_reject(ferry_msg_t *m, int64_t delay_ns) {
    int r = not_to_be_rejected(m);

    if (r == 0 && delay_ns < 0) {
        r = fi_fail(-EINVAL, "a rejected message cannot be tried again after %lld ns: use 0 for at once",
                    (long long)delay_ns);
    }
    return r < 0 ? r : fi_taken_reject_held(m, fi_dead_soon(m) ? 0 : delay_ns);
}

int ferry_msg_progress(ferry_msg_t *m) {
    int r = check_taken(m, "ferry_msg_progress");

    r = r < 0 || !m->link ? r : fi_taken_is_others(m);
    return r < 0 || !m->link ? r : fi_taken_progress(m);
}

int ferry_msg_origin(const ferry_msg_t *m, ferry_msg_origin_t *origin) {
    struct fi_origin o;

    int r = fi_check_output(origin, "ferry_msg_origin");
    if (r == 0) {
        r = fi_check_size(origin->size, sizeof *origin, "ferry_msg_origin_t");
    }
    r = r < 0 ? r : check_taken(m, "ferry_msg_origin");
    if (r < 0) {
        return r;
    }
    if (!m->origin) {
        return fi_fail(-ENOENT, "this message is no dead letter: it comes from its sender");
    }
    memcpy(&o, m->origin, sizeof o); /* a peer's word: read once */
    *origin = (ferry_msg_origin_t){
        .size = sizeof *origin, .sender_node = o.node, .sender = o.end, .sequence = o.seq, .attempts = o.attempts};
    memcpy(origin->queue, o.queue, sizeof origin->queue);
    origin->queue[sizeof origin->queue - 1] = '\0';
    return 0;
}
