/* SPDX-License-Identifier: MIT
 *
 * The writer of a published region: see published.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "channel/history.h"
#include "platform/memfd.h"
#include "platform/private.h"
#include "region/published.h"

#define USUAL_VERSIONS 4u
#define FEWEST_VERSIONS 2u
#define IDLE_PUBLISHES 64u /* an image that was free for so many is not needed: it had its time, and readers let go */
#define MOST_IMAGES 65536u
#define LEAST_POOL ((uint64_t)16 << 10) /* a sender's quota is no smaller */

/* ---- opening ---- */

static int check_size(const char *name, uint64_t bytes, uint64_t quota) {
    if (bytes == 0 || bytes > FERRY_MAX_REGION) {
        return fi_fail(-EINVAL, "the region \"%s\" cannot have %llu bytes: from 1 to %llu are possible", name,
                       (unsigned long long)bytes, (unsigned long long)FERRY_MAX_REGION);
    }
    if (quota != 0 && quota / FEWEST_VERSIONS < bytes) {
        return fi_fail(-EINVAL,
                       "the region \"%s\": a quota of %llu bytes has no room for two versions of %llu bytes each", name,
                       (unsigned long long)quota, (unsigned long long)bytes);
    }
    if (!fi_memory_is_available(bytes)) {
        return fi_fail(-ENOMEM, "the region \"%s\": %llu bytes are more than this machine has free", name,
                       (unsigned long long)bytes);
    }
    return 0;
}

static void set_up(ferry_region_writer_t *w, const char *name, uint64_t bytes, uint64_t quota) {
    w->bytes = bytes;
    w->room = fi_align_up(bytes, fi_page_size());
    w->quota = fi_max(quota ? quota : USUAL_VERSIONS * w->room, FEWEST_VERSIONS * w->room);
    w->most_images = (uint32_t)fi_min(w->quota / w->room, MOST_IMAGES);
    snprintf(w->name, sizeof w->name, "%s", name);
}

static void free_memory(ferry_region_writer_t *w) {
    for (uint32_t i = 0; i < w->image_count; i++) {
        fi_marks_done(&w->images[i].stale);
    }
    free(w->images);
    fi_marks_done(&w->touched);
    fi_private_free(w->data, w->room);
}

/* The sender is closed, by ferry_region_writer_close or ferry_close; its messages go with it. */
static void ended(void *whole) {
    ferry_region_writer_t *w = whole;

    w->head.magic = FI_PUBLISHED_ENDED;
    free_memory(w);
    fi_graveyard_add(w);
}

static int open_sender(ferry_region_writer_t *w, fi_node_t *n, const char *channel,
                       const ferry_region_writer_options_t *o) {
    uint64_t pins = n->net ? FI_PINS * w->room : 0;
    ferry_contract_t contract = {.type_name = o->type_name,
                                 .type_size = w->bytes,
                                 .hold = FERRY_HOLD_NEVER,
                                 .quota = fi_max(w->quota + pins, LEAST_POOL),
                                 .retain = 1,
                                 .wait = o->wait};

    int r = fi_sender_new(n, channel, FERRY_TOPIC, &contract, &w->tx);
    if (r < 0) {
        return fi_published_not_open(r, "writer", w->name);
    }
    w->tx->keeps_history = true;
    return 0;
}

int fi_writer_open(fi_node_t *n, const char *name, uint64_t bytes, const ferry_region_writer_options_t *o,
                   ferry_region_writer_t **out) {
    static const ferry_region_writer_options_t none;
    char channel[104];
    void *data = NULL;

    o = o ? o : &none;
    int r = fi_published_options(name, o->type_name, o->wait, channel);
    r = r == 0 ? check_size(name, bytes, o->quota) : r;
    if (r < 0) {
        return r;
    }
    ferry_region_writer_t *w = calloc(1, sizeof *w);
    if (!w) {
        return fi_fail(-ENOMEM, "no memory for a writer of the region \"%s\"", name);
    }
    set_up(w, name, bytes, o->quota);
    r = fi_marks_init(&w->touched, bytes);
    r = r == 0 ? open_sender(w, n, channel, o) : r;
    if (r == 0) {
        r = fi_private_new(w->room, &data); /* last, since it takes long, and others may be writing already */
        w->data = data;
        if (r < 0) {
            r = fi_published_not_open(r, "writer", name);
            fi_sender_drop(w->tx);
        }
    }
    if (r < 0) {
        free_memory(w);
        free(w);
        return r;
    }
    w->head = (fi_published_t){FI_WRITER_MAGIC, fi_process_generation};
    w->tx->part.whole = w;
    w->tx->part.ends = ended;
    *out = w;
    return 0;
}

/* ---- finding an image ---- */

/* A new image lacks everything. */
static int new_image(ferry_region_writer_t *w) {
    fi_image_t image = {.fresh_at = 0};
    fi_image_t *more = realloc(w->images, (w->image_count + 1) * sizeof *more);

    if (!more) {
        return fi_fail(-ENOMEM, "no memory for one more version of the region \"%s\"", w->name);
    }
    w->images = more;
    int r = fi_marks_init(&image.stale, w->bytes);
    if (r < 0) {
        return r;
    }
    fi_marks_add(&image.stale, 0, w->bytes);
    r = fi_sent_new_alone(w->tx, w->bytes, &image.message);
    if (r < 0) {
        fi_marks_done(&image.stale);
        return r;
    }
    w->images[w->image_count++] = image;
    return 0;
}

static bool is_pinned(const ferry_region_writer_t *w, const fi_image_t *image) {
    for (uint32_t i = 0; w->far && i < FI_PINS; i++) {
        if (fi_load_acquire_ptr(&w->far->pinned[i]) == image->message) {
            return true;
        }
    }
    return false;
}

static bool is_held(const ferry_region_writer_t *w, const fi_image_t *image) {
    return image->message->block->refs > 1 || is_pinned(w, image);
}

/* What is pinned does not count. */
static uint32_t most_images(const ferry_region_writer_t *w) {
    uint32_t most = w->most_images;

    for (uint32_t i = 0; w->far && i < w->image_count; i++) {
        most += is_pinned(w, &w->images[i]);
    }
    return most;
}

/* Of those that nobody holds the one that lacks least: what another one lacks, one that was fresh earlier lacks,
 * too. */
static fi_image_t *freshest(ferry_region_writer_t *w) {
    fi_image_t *best = NULL;

    for (uint32_t i = 0; i < w->image_count; i++) {
        fi_image_t *image = &w->images[i];
        if (!is_held(w, image) && (!best || image->fresh_at > best->fresh_at)) {
            best = image;
        }
    }
    return best;
}

typedef struct wanted {
    ferry_region_writer_t *writer;
    fi_image_t *image;
} wanted_t;

static int try_image(fi_sender_t *tx, void *arg) {
    wanted_t *want = arg;
    ferry_region_writer_t *w = want->writer;

    fi_sender_reclaim(tx);
    want->image = freshest(w);
    if (want->image) {
        return 0;
    }
    if (w->image_count >= most_images(w)) {
        return -EAGAIN;
    }
    int r = new_image(w);
    want->image = r == 0 ? &w->images[w->image_count - 1] : NULL;
    return r;
}

static int shut(const ferry_region_writer_t *w) {
    return fi_fail(-ESHUTDOWN, "the node %s: no version of the region \"%s\" can be published",
                   fi_node_end_word(w->tx->end.node), w->name);
}

/* How the wait for an image ended, in words. */
static int explain(const ferry_region_writer_t *w, int r, int64_t timeout) {
    switch (r) {
    case -EAGAIN:
        return fi_fail(
            -EDQUOT,
            "the region \"%s\" has room for %u versions (%llu bytes), and all are held: wait for its readers "
            "to release views, or raise `quota`",
            w->name, w->most_images, (unsigned long long)w->quota);
    case -ETIMEDOUT:
        return fi_fail(r,
                       "the readers of the region \"%s\" have held all of its %u versions for %.3f ms: release views, "
                       "or raise `quota`",
                       w->name, w->most_images, (double)timeout / 1e6);
    case -EINTR:
        return fi_fail(r, "a signal ended the wait for room for a version of the region \"%s\"", w->name);
    case -ESHUTDOWN:
        return shut(w);
    default:
        return r;
    }
}

static int find_image(ferry_region_writer_t *w, int64_t timeout, fi_image_t **out) {
    fi_sender_t *tx = w->tx;
    wanted_t want = {.writer = w};

    /* Since whoever has not looked at it is given something newer, only views and the newest version are in the way. */
    fi_outlet_lose_unretained(tx->topic);
    int r = try_image(tx, &want);
    if (r == -EAGAIN && timeout != FERRY_NOW) {
        w->waits++;
        tx->stall.bears_it = true; /* who could make room is not known by name */
        r = fi_sender_wait_until(tx, try_image, &want, timeout, false);
        tx->stall.bears_it = false;
    }
    if (r < 0) {
        return explain(w, r, timeout);
    }
    *out = want.image;
    return 0;
}

/* ---- publishing ---- */

/* From here on what was touched is known to all images; if the image is not sent, it will lack less the next time. */
static void bring_up_to_date(ferry_region_writer_t *w, fi_image_t *image) {
    unsigned char *to = fi_block_data(image->message->block);

    for (uint32_t i = 0; i < w->image_count; i++) {
        if (&w->images[i] != image) {
            fi_marks_join(&w->images[i].stale, &w->touched);
        }
    }
    image->message->sent = false; /* it is ours to write */
    w->last_copied = fi_marks_copy(&image->stale, &w->touched, to, w->data, w->bytes);
    w->copied += w->last_copied;
    image->fresh_at = ++w->publishes;
}

static int send_image(ferry_region_writer_t *w, fi_image_t *image) {
    image->message->tag = w->version + 1;
    int r = fi_sent_send(image->message, NULL, FERRY_NOW);
    if (r < 0) {
        return fi_fail(r, "version %llu of the region \"%s\" could not be published: %s",
                       (unsigned long long)w->version + 1, w->name, fi_error_text());
    }
    w->version++;
    return 0;
}

/* Gives the memory of one image back that was needed for readers that held many versions, and is not any more. */
static void give_back_idle(ferry_region_writer_t *w) {
    for (uint32_t i = 0; i < w->image_count && w->image_count > FEWEST_VERSIONS; i++) {
        fi_image_t *image = &w->images[i];
        if (!is_held(w, image) && w->publishes - image->fresh_at > IDLE_PUBLISHES) {
            (void)fi_sent_release(image->message);
            fi_marks_done(&image->stale);
            *image = w->images[--w->image_count];
            return;
        }
    }
}

static int enter(ferry_region_writer_t *w) {
    int r = fi_published_check(w, FI_WRITER_MAGIC, "writer");
    return r < 0 ? r : fi_published_enter(&w->tx->end, FI_END_SENDER, "writer", w->name);
}

int fi_writer_publish(ferry_region_writer_t *w, int64_t timeout, uint64_t *version) {
    fi_image_t *image = NULL;

    int r = enter(w);
    if (r < 0) {
        return r;
    }
    r = fi_node_is_shut(w->tx->end.node) ? shut(w) : find_image(w, timeout, &image);
    if (r == 0) {
        if (w->far) {
            w->far->touched(w->far, &w->touched);
        }
        bring_up_to_date(w, image);
        r = send_image(w, image);
        if (r == 0 && w->far) {
            w->far->published(w->far, image->message, w->version);
        }
        give_back_idle(w);
    }
    if (r == 0 && version) {
        *version = w->version;
    }
    fi_end_leave(&w->tx->end);
    return r;
}

int fi_writer_stats(ferry_region_writer_t *w, ferry_region_writer_stats_t *stats) {
    ferry_sender_stats_t sender;

    int r = enter(w);
    if (r < 0) {
        return r;
    }
    fi_outlet_lose_unretained(w->tx->topic);
    fi_sender_stats(w->tx, &sender);
    *stats = (ferry_region_writer_stats_t){.size = sizeof *stats,
                                           .version = w->version,
                                           .copied_bytes = w->copied,
                                           .last_copied = w->last_copied,
                                           .memory = sender.memory,
                                           .quota = w->quota,
                                           .buffers = w->image_count,
                                           .readers = sender.receivers,
                                           .waits = w->waits};
    for (uint32_t i = 0; i < w->image_count; i++) {
        stats->held += is_held(w, &w->images[i]);
    }
    if (w->far) {
        w->far->figures(w->far, stats);
    }
    fi_end_leave(&w->tx->end);
    return 0;
}

int fi_writer_close(ferry_region_writer_t *w) {
    int r = enter(w);
    if ((r == 0 || r == -EOWNERDEAD) && w->far) {
        w->far->ended(w->far);
        w->far = NULL;
    }
    if (r == -EOWNERDEAD) {
        fi_sender_drop(w->tx);
        return 0;
    }
    /* What was published stays in the ring, for those who have not taken it: nothing to wait for. */
    return r < 0 ? r : fi_sender_close(w->tx, FERRY_NOW, NULL);
}
