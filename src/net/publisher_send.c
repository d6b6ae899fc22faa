/* SPDX-License-Identifier: MIT
 *
 * Sending versions to mirrors elsewhere. See publisher.h.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/checksum.h"
#include "net/publisher_inside.h"
#include "platform/clock.h"

#define NUDGE_NS INT64_C(100000000)
#define WINDOW 16u                      /* parts under way to one mirror */
#define SILENT_NS INT64_C(1000000000)   /* then it is asked whether it is there */
#define PATIENCE_NS INT64_C(3000000000) /* then a transfer is begun again */
#define GIVE_UP_NS INT64_C(12000000000) /* then it is forgotten, and must say HELLO again */
#define WORTH_PACKING 128u
#define RAW_PARTS 16u /* sent as they are, after one that did not become smaller */

/* ---- readers; with the lock held ---- */

fi_far_reader_t *fi_far_reader_find(const fi_publisher_t *p, uint64_t node) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &p->readers) {
        fi_far_reader_t *r = fi_container(at, fi_far_reader_t, link);
        if (r->node == node) {
            return r;
        }
    }
    return NULL;
}

static bool is_sent(const fi_publisher_t *p, const ferry_msg_t *image) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &p->readers) {
        if (fi_container(at, fi_far_reader_t, link)->image == image) {
            return true;
        }
    }
    return false;
}

/* False: as many images are pinned as can be. */
static bool pin(fi_publisher_t *p, const ferry_msg_t *image) {
    for (uint32_t i = 0; i < FI_PINS; i++) {
        if (p->far.pinned[i] == image) {
            return true;
        }
    }
    for (uint32_t i = 0; i < FI_PINS; i++) {
        if (!p->far.pinned[i]) {
            fi_store_release_ptr(&p->far.pinned[i], image);
            return true;
        }
    }
    return false;
}

static void unpin(fi_publisher_t *p, fi_far_reader_t *r) {
    const ferry_msg_t *image = r->image;

    r->image = NULL;
    for (uint32_t i = 0; image && i < FI_PINS; i++) {
        if (p->far.pinned[i] == image && !is_sent(p, image)) {
            fi_store_release_ptr(&p->far.pinned[i], NULL);
        }
    }
}

/* The transfer has ended: it has that version. */
static void finish_transfer(fi_publisher_t *p, fi_far_reader_t *r) {
    unpin(p, r);
    r->has = r->version;
    r->busy = false;
}

/* It has ended otherwise: what was to be sent is to be sent still. */
static void abort_transfer(fi_publisher_t *p, fi_far_reader_t *r) {
    if (r->busy) {
        unpin(p, r);
        fi_marks_join(&r->stale, &r->sending);
        r->busy = false;
    }
}

static void send_all_of_it(fi_publisher_t *p, fi_far_reader_t *r) {
    abort_transfer(p, r);
    r->has = 0;
    fi_marks_add(&r->stale, 0, p->bytes);
}

void fi_far_reader_free(fi_publisher_t *p, fi_far_reader_t *r) {
    unpin(p, r);
    fi_list_remove(&r->link);
    p->count--;
    fi_marks_done(&r->stale);
    fi_marks_done(&r->sending);
    free(r);
}

fi_far_reader_t *fi_far_reader_new(fi_publisher_t *p, uint64_t node) {
    fi_far_reader_t *r = calloc(1, sizeof *r);

    if (!r || fi_marks_init(&r->stale, p->bytes) < 0 || fi_marks_init(&r->sending, p->bytes) < 0) {
        if (r) {
            fi_marks_done(&r->stale);
            free(r);
        }
        return NULL;
    }
    r->node = node;
    fi_list_add_tail(&p->readers, &r->link);
    p->count++;
    send_all_of_it(p, r);
    return r;
}

/* ---- sending; the thread's own, the lock is held but while something is sent ---- */

static uint32_t came(const fi_far_reader_t *r) {
    return r->came_transfer == r->transfer ? r->came : 0;
}

/* What others have left word of. */
static void take_word(fi_publisher_t *p, fi_far_reader_t *r) {
    if (r->greeted) {
        r->greeted = false;
        if (r->busy && r->claims == r->version) {
            finish_transfer(p, r);
        } else if (r->claims != 0 && r->claims == r->has) {
            abort_transfer(p, r);
        } else {
            send_all_of_it(p, r);
        }
    }
    if (r->lost) {
        abort_transfer(p, r);
        r->lost = false;
    }
    if (r->busy && r->all_sent && r->done_transfer == r->transfer) {
        finish_transfer(p, r);
    }
    if (r->image && r->all_sent && came(r) == r->sent) {
        unpin(p, r); /* it will publish it when it can */
    }
}

static void begin_transfer(fi_publisher_t *p, fi_far_reader_t *r) {
    if (r->busy || r->has == p->version || !p->newest || !pin(p, p->newest)) {
        return;
    }
    fi_marks_t empty = r->sending;
    fi_marks_clear(&empty);
    r->sending = r->stale;
    r->stale = empty;
    r->busy = true;
    r->image = p->newest;
    r->version = p->version;
    r->transfer = ++p->transfers;
    r->sent = 0;
    r->granule = 0;
    r->begun = r->all_sent = false;
    r->raw = 0;
    r->heard_at = fi_now_ns();
}

static bool send_frame(fi_publisher_t *p, uint64_t node, const void *frame, size_t bytes) {
    char subject[FI_SUBJECT_MAX];

    fi_pub_subject_to(p->net, subject, p->name, node);
    if (fi_nats.natsConnection_Publish(p->net->bulk, subject, frame, (int)bytes) != NATS_OK) {
        return false;
    }
    fi_add_relaxed64(&p->sent_bytes, bytes);
    return true;
}

fi_pub_frame_t fi_publisher_introduction(const fi_publisher_t *p, enum fi_pub_kind kind) {
    fi_pub_frame_t f = fi_pub_frame(p->net, kind, p->epoch);

    f.bytes = p->bytes;
    f.number = p->version;
    f.flags = p->open ? 0 : FI_PUB_OPENING;
    memcpy(f.type, p->type, sizeof f.type);
    return f;
}

/* Ranges and bytes of the next part, behind the place for its head. Returns how many bytes; the marks may be read by us
 * only. */
static size_t gather(const fi_publisher_t *p, fi_far_reader_t *r, size_t cap, uint32_t *ranges) {
    const unsigned char *from = fi_block_data(r->image->block);
    uint64_t list[FI_PUB_RANGES];
    uint64_t first;
    uint64_t count;
    uint64_t at = r->granule;
    size_t bytes = 0;
    uint32_t n = 0;

    while (n < FI_PUB_RANGES && bytes + 8 * (n + 1) + FI_GRANULE <= cap &&
           fi_marks_next(&r->sending, at, &first, &count)) {
        uint64_t most = (cap - bytes - 8 * (n + 1)) / FI_GRANULE;
        count = fi_min(fi_min(count, most), FI_PUB_RANGE_MAX);
        list[n++] = fi_pub_range(first, count);
        bytes += fi_min(count * FI_GRANULE, p->bytes - first * FI_GRANULE);
        at = first + count;
    }
    char *to = p->part + FI_PUB_HEAD;
    memcpy(to, list, n * sizeof *list);
    to += n * sizeof *list;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t offset = (list[i] >> 24) * FI_GRANULE;
        uint64_t len = fi_min((list[i] & FI_PUB_RANGE_MAX) * FI_GRANULE, p->bytes - offset);
        memcpy(to, from + offset, len);
        to += len;
    }
    r->granule = at;
    r->all_sent = !fi_marks_next(&r->sending, at, &first, &count);
    *ranges = n;
    return n * sizeof *list + bytes;
}

static bool send_part(fi_publisher_t *p, fi_far_reader_t *r) {
    fi_pub_frame_t head = fi_pub_frame(p->net, FI_PUB_PART, p->epoch);
    size_t cap = fi_min(FI_PUB_PART_BYTES, p->net->max_payload - FI_PUB_HEAD);
    char *frame = p->part;

    size_t bytes = gather(p, r, cap, &head.ranges);
    head.bytes = bytes;
    head.number = r->version;
    head.transfer = r->transfer;
    head.seq = r->sent;
    head.flags = r->all_sent ? FI_PUB_LAST : 0;
    if (r->packs && r->raw == 0 && bytes >= WORTH_PACKING) {
        size_t packed = fi_pack(p->part + FI_PUB_HEAD, bytes, p->packed + FI_PUB_HEAD, cap);
        if (packed > 0) {
            head.flags |= FI_PUB_PACKED;
            bytes = packed;
            frame = p->packed;
        } else {
            r->raw = RAW_PARTS;
        }
    } else if (r->raw > 0) {
        r->raw--;
    }
    head.check = fi_checksum((const unsigned char *)frame + FI_PUB_HEAD, bytes);
    memcpy(frame, &head, FI_PUB_HEAD);
    return send_frame(p, r->node, frame, FI_PUB_HEAD + bytes);
}

/* Sends one more frame of its transfer, if it may be. False: not now. */
static bool advance(fi_publisher_t *p, fi_far_reader_t *r) {
    if (!r->image || r->all_sent || r->sent - came(r) >= WINDOW || !fi_net_is_up(p->net)) {
        return false;
    }
    fi_pub_frame_t begin = fi_publisher_introduction(p, FI_PUB_BEGIN);
    bool begins = !r->begun;
    begin.number = r->version;
    begin.transfer = r->transfer;
    pthread_mutex_unlock(&p->lock); /* only we remove readers, end transfers and look at what belongs to them */
    bool sent = begins ? send_frame(p, r->node, &begin, sizeof begin) : send_part(p, r);
    pthread_mutex_lock(&p->lock);
    if (!sent) {
        abort_transfer(p, r);
        return false;
    }
    r->begun = true;
    r->sent += begins ? 0 : 1;
    return true;
}

static int64_t later(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* One that has been silent for long. True: it was removed. */
static bool look_after(fi_publisher_t *p, fi_far_reader_t *r, int64_t now) {
    if (r->gone) {
        fi_far_reader_free(p, r);
        return true;
    }
    if (r->busy && r->all_sent && came(r) == r->sent && now - later(r->heard_at, r->nudged_at) >= NUDGE_NS &&
        fi_net_is_up(p->net)) {
        fi_pub_frame_t nudge = fi_pub_frame(p->net, FI_PUB_NUDGE, p->epoch);
        nudge.transfer = r->transfer;
        r->nudged_at = now;
        (void)send_frame(p, r->node, &nudge, FI_PUB_HEAD);
    }
    if (!r->busy || now - r->heard_at < SILENT_NS || now - r->asked_at < SILENT_NS || !fi_net_is_up(p->net)) {
        return false;
    }
    r->asked_at = now;
    pthread_mutex_unlock(&p->lock);
    int there = fi_net_is_there(p->net, r->node, SILENT_NS / 4);
    pthread_mutex_lock(&p->lock);
    if (there == 0 || (now - r->heard_at > GIVE_UP_NS && r->image)) {
        fi_far_reader_free(p, r);
        return true;
    }
    if (there == 1 && now - r->heard_at > PATIENCE_NS && came(r) < r->sent) {
        abort_transfer(p, r);
    }
    return false;
}

/* One round. True: something was sent. */
static bool serve(fi_publisher_t *p) {
    struct fi_list *at;
    struct fi_list *after;
    bool sent = false;

    fi_list_each(at, after, &p->readers) {
        fi_far_reader_t *r = fi_container(at, fi_far_reader_t, link);
        if (!p->stopping && !look_after(p, r, fi_now_ns())) {
            take_word(p, r);
            begin_transfer(p, r);
            sent |= advance(p, r);
        }
    }
    return sent;
}

static bool is_sending(const fi_publisher_t *p) {
    struct fi_list *at;
    struct fi_list *after;

    fi_list_each(at, after, &p->readers) {
        if (fi_container(at, fi_far_reader_t, link)->busy) {
            return true;
        }
    }
    return false;
}

void *fi_publisher_send_on(void *arg) {
    fi_publisher_t *p = arg;

    pthread_mutex_lock(&p->lock);
    while (!p->stopping) {
        if (serve(p) || p->stopping) {
            continue;
        }
        if (is_sending(p)) {
            struct timespec until = fi_timespec(fi_now_ns() + NUDGE_NS);
            pthread_cond_timedwait(&p->stir, &p->lock, &until);
        } else {
            pthread_cond_wait(&p->stir, &p->lock);
        }
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}
