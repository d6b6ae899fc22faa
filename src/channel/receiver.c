/* SPDX-License-Identifier: MIT
 *
 * Opening and closing a receiver, and what it can be asked.
 */
#include "channel/receiver.h"

#include "channel/messages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "node/shown.h"

#define DEFAULT_QUANTUM (16u << 10)

void fi_receiver_figures(fi_end_t *e, fi_frame_t *f) {
    fi_receiver_t *rx = fi_receiver_of(e);

    f->figures[0] = fi_load_relaxed64(&rx->stats.messages);
    f->figures[1] = fi_load_relaxed64(&rx->stats.bytes);
    f->figures[2] = fi_load_relaxed64(&rx->stats.copies_made);
    f->figures[3] = f->figures[0] - fi_min(f->figures[2], f->figures[0]);
    f->figures[4] = fi_receiver_held(rx);
    f->figures[5] = fi_load_relaxed64(&rx->stats.lost);
    f->figures[8] = fi_load_relaxed32(&rx->link_count);
}

static const fi_end_ops_t receiver_ops = {
    .deliver = fi_receiver_deliver,
    .wake = fi_receiver_wake,
    .introduce = fi_receiver_introduce,
    .figures = fi_receiver_figures,
    .stirs = fi_receiver_stirs,
};

static int set_up(fi_receiver_t *rx, const ferry_receiver_options_t *o) {
    const char *check = getenv("FERRY_CHECK");

    rx->quantum = o->quantum ? o->quantum : DEFAULT_QUANTUM;
    rx->quantum_left = rx->quantum;
    fi_receiver_form_nothing(rx);
    rx->max_held = o->max_held;
    rx->prefetch = o->prefetch;
    rx->slept_at = UINT64_MAX;
    rx->ack_within = fi_ack_within((uint64_t)o->ack_within);
    rx->awaited = o->senders == 0 ? 1 : o->senders == UINT32_MAX ? UINT64_MAX : o->senders;
    rx->depth = o->newest == FERRY_NEWEST_ONLY ? 1 : o->depth;
    rx->per_tag = o->newest == FERRY_NEWEST_PER_TAG;
    rx->may_lose = o->may_lose || rx->depth > 0 || rx->per_tag;
    rx->no_history = o->no_history != 0;
    rx->tap = rx->end.tap = o->tap != 0;
    rx->check = check && strcmp(check, "1") == 0 && !rx->part.unchecked;
    fi_list_init(&rx->detached);
    rx->spinner.policy = (uint32_t)o->wait;
    /* A receiver that always sleeps would pay for a barrier at every message: there the sender fences instead. */
    rx->fence_bit = o->wait == FERRY_WAIT_BLOCK || !fi_barrier_is_asymmetric() ? FI_SLEEP_FENCE : 0;
    pthread_mutex_init(&rx->returned_lock, NULL);
    int r = fi_bell_init(&rx->bell);
    if (r == 0) {
        r = fi_shared_new("ferry-page", FI_PAGE_MEMORY, &rx->page_memory);
    }
    if (r == 0) {
        rx->page_memory->companion = rx->bell.wr; /* whoever sees the page may ring */
        struct fi_page_place *place = rx->page_memory->map;
        place->at = fi_page_choose(rx->end.node->id ^ (uintptr_t)rx);
        rx->page = (void *)((char *)rx->page_memory->map + place->at);
        rx->page->sleep = rx->fence_bit;
        rx->page->queue = rx->part.queue;
        fi_store_release64(&place->magic, FI_PAGE_MAGIC);
    }
    return r;
}

/* Frees everything but the handle itself, which goes to the graveyard. */
void fi_receiver_bury(fi_receiver_t *rx) {
    while (rx->free_handles) {
        ferry_msg_t *m = rx->free_handles;
        rx->free_handles = m->next;
        free(m->copy);
        m->copy = NULL;
        fi_graveyard_add(m);
    }
    if (rx->page_memory) {
        rx->bell.wr = -1; /* the page's now */
    }
    fi_bell_done(&rx->bell);
    fi_shared_unref(rx->page_memory);
    free(rx->links);
    pthread_mutex_destroy(&rx->returned_lock);
    fi_end_done(&rx->end);
    fi_graveyard_add(rx);
}

static int check_dead_letter(const char *channel, const char *dead_letter) {
    int r = fi_channel_check(dead_letter);

    return r < 0 || strcmp(dead_letter, channel) != 0
               ? r
               : fi_fail(-EINVAL, "the dead letters of '%s' cannot go to the same queue: name another one", channel);
}

static int check_options(const char *channel, const ferry_receiver_options_t *o, ferry_kind_t kind) {
    if ((unsigned)o->wait > FERRY_WAIT_BLOCK) {
        return fi_fail(-EINVAL, "the receiver's wait (%d) is not one of the values in ferry/base.h", (int)o->wait);
    }
    if (o->may_lose > 1 || o->no_history > 1 || o->tap > 1) {
        return fi_fail(-EINVAL, "`may_lose`, `no_history` and `tap` are 0 or 1, not %u, %u and %u", o->may_lose,
                       o->no_history, o->tap);
    }
    if (kind == FERRY_QUEUE && (o->may_lose || o->no_history || o->depth || o->newest)) {
        return fi_fail(-EINVAL, "`may_lose`, `no_history`, `depth` and `newest` are for topics: a queue's messages are "
                                "never lost");
    }
    if ((unsigned)o->newest > FERRY_NEWEST_PER_TAG) {
        return fi_fail(-EINVAL, "the receiver's newest (%d) is not one of the values in ferry/channel.h",
                       (int)o->newest);
    }
    if (o->depth && o->newest) {
        return fi_fail(-EINVAL, "`newest` says how many messages are kept, and so does `depth` (%u): give one of them",
                       o->depth);
    }
    if (kind == FERRY_TOPIC && (o->prefetch || o->ack_within || o->max_attempts || o->dead_letter)) {
        return fi_fail(
            -EINVAL,
            "`prefetch`, `ack_within`, `max_attempts` and `dead_letter` are for queues: a topic's messages go to every "
            "receiver, once");
    }
    if (o->ack_within < 0) {
        return fi_fail(-EINVAL, "a message cannot be held for %lld ns: `ack_within` is 0 (no limit) or more",
                       (long long)o->ack_within);
    }
    if ((o->max_attempts != 0) != (o->dead_letter != NULL)) {
        return fi_fail(-EINVAL,
                       "`max_attempts` and `dead_letter` belong together: how often a message is tried, and the "
                       "queue that it goes to then");
    }
    return o->dead_letter ? check_dead_letter(channel, o->dead_letter) : 0;
}

int fi_receiver_check(const char *channel, ferry_kind_t kind, const ferry_receiver_options_t *o,
                      fi_contract_t *contract) {
    static const ferry_contract_t no_opinion;

    int r = fi_contract_from_public(o->contract ? o->contract : &no_opinion, contract);
    return r < 0 ? r : check_options(channel, o, kind);
}

int fi_receiver_new(fi_node_t *n, const char *channel, ferry_kind_t kind, const ferry_receiver_options_t *o,
                    fi_receiver_t **out) {
    static const fi_rxpart_t nothing;

    return fi_receiver_new_part(n, channel, kind, o, &nothing, out);
}

int fi_receiver_new_part(fi_node_t *n, const char *channel, ferry_kind_t kind, const ferry_receiver_options_t *o,
                         const fi_rxpart_t *part, fi_receiver_t **out) {
    static const ferry_receiver_options_t none;
    fi_contract_t contract;

    o = o ? o : &none;
    int r = fi_receiver_check(channel, kind, o, &contract);
    if (r < 0) {
        return r;
    }
    fi_receiver_t *rx = calloc(1, sizeof *rx);
    if (!rx) {
        return fi_fail(-ENOMEM, "no memory for a receiver of '%s'", fi_channel_shown(channel));
    }
    fi_end_init(&rx->end, n, FI_END_RECEIVER, part->ops ? part->ops : &receiver_ops);
    rx->part = *part;
    rx->end.alone = part->alone;
    rx->end.in_haste = part->in_haste;
    rx->end.hidden = part->hidden;
    rx->bell.rd = rx->bell.wr = -1;
    rx->end.kind = (uint32_t)kind;
    rx->end.contract = contract;
    memcpy(rx->end.channel, channel, strlen(channel) + 1);
    r = set_up(rx, o);
    if (r == 0 && o->dead_letter) {
        r = fi_dead_open(rx, o->dead_letter, o->max_attempts);
    }
    rx->part.dead = NULL;
    if (r == 0) {
        (void)fi_own(&rx->end.own);
        r = fi_node_join(n, &rx->end);
    }
    if (r < 0) {
        rx->part = (fi_rxpart_t){0}; /* it never became one */
        (void)fi_receiver_close(rx);
        return r;
    }
    *out = rx;
    return 0;
}

/* From now on the senders may write over what is held here: its handles go on with copies. */
void fi_receiver_keep_held(fi_receiver_t *rx) {
    struct fi_list *at;
    struct fi_list *after;

    for (uint32_t i = 0; i < rx->link_count; i++) {
        const struct fi_list *all = &rx->links[i]->all;
        for (struct fi_list *log = all->next; log != all; log = log->next) {
            fi_list_each(at, after, &fi_container(log, fi_rxlog_t, link)->held) {
                fi_taken_keep(fi_container(at, ferry_msg_t, held));
            }
        }
    }
}

int fi_receiver_close(fi_receiver_t *rx) {
    if (rx->end.node->far && fi_load_relaxed32(&rx->end.busy) == FI_BUSY_CALL) {
        fi_receiver_collect(rx);
        fi_receiver_publish(
            rx); /* before other machines hear that it closes: what it has released is not to come again */
    }
    fi_node_part(rx->end.node, &rx->end);
    fi_disown(&rx->end.own);
    (void)fi_end_do_chores(&rx->end); /* an offer that came meanwhile needs its answer */
    if (rx->part.ends) {
        rx->part.ends(rx->part.whole);
    }
    fi_dead_close(rx);
    fi_receiver_collect(rx);
    fi_receiver_publish(rx);
    fi_receiver_keep_held(rx);
    fi_receiver_part(rx);
    if (rx->too_large) {
        fi_taken_give_back(rx->too_large);
    }
    fi_receiver_forget_parked(rx);
    fi_node_keep_held(rx->end.node, &rx->end);
    pthread_mutex_lock(&rx->returned_lock);
    rx->end.magic = FI_END_CLOSED;
    rx->closed = true;
    while (rx->parked) { /* what came back in between */
        ferry_msg_t *m = rx->parked;
        rx->parked = m->next;
        fi_taken_give_back(m);
    }
    while (rx->returned) {
        ferry_msg_t *m = rx->returned;
        rx->returned = m->next;
        fi_taken_give_back(m);
    }
    int held = (int)fi_receiver_held(rx);
    pthread_mutex_unlock(&rx->returned_lock);
    /* With messages held, whoever releases the last one, or closes the node, buries the receiver. */
    if (held == 0) {
        fi_node_forget_held(rx->end.node, &rx->end);
        fi_receiver_bury(rx);
    }
    return held;
}

static void discard_link(fi_rxlink_t *l) {
    ferry_msg_t *m = fi_rxlink_first_held(l);

    while (m) {
        fi_list_remove(&m->held);
        ferry_msg_t *next = fi_rxlink_first_held(l);
        fi_list_add_tail(&m->log->held, &m->held);
        fi_taken_give_back(m); /* the last one frees the link */
        m = next;
    }
}

void fi_receiver_discard(fi_receiver_t *rx) {
    while (!fi_list_empty(&rx->detached)) {
        discard_link(fi_container(rx->detached.next, fi_rxlink_t, link));
    }
    fi_receiver_bury(rx);
}

void fi_receiver_stats(fi_receiver_t *rx, ferry_receiver_stats_t *stats) {
    fi_receiver_collect(rx);
    rx->stats.held = fi_receiver_held(rx) - fi_load_relaxed32(&rx->parked_count);
    rx->stats.senders = rx->link_count;
    rx->stats.letters_waiting = fi_dead_waiting(rx);
    *stats = rx->stats;
    stats->copies_avoided = stats->messages - fi_min(stats->copies_made, stats->messages);
    stats->avoided_bytes = stats->bytes - fi_min(stats->copied_bytes, stats->bytes);
}

int fi_receiver_fd(fi_receiver_t *rx) {
    if (!rx->fd_mode) {
        rx->fd_mode = true;
        rx->quick = NULL;
        rx->bell_full = true;
        fi_bell_ring(rx->bell.wr); /* readable until the first look has armed it */
    }
    return rx->bell.rd;
}
