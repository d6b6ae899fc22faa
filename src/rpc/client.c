/* SPDX-License-Identifier: MIT
 *
 * Opening and closing a client.
 */
#include "rpc/client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "platform/clock.h"
#include "platform/process.h"

#define USUAL_CALLS 1024u
#define MOST_CALLS (1u << 20)
#define LEAST_REPLIES 16u

__thread int64_t fi_serving_until = FI_NEVER;

/* ---- opening ---- */

static void free_calls(ferry_client_t *k) {
    for (uint32_t i = 0; i < k->places; i++) {
        k->table[i]->magic = FI_RPC_ENDED;
        fi_graveyard_add(k->table[i]);
    }
    free(k->table);
    fi_turns_done(&k->turns);
}

/* One of the two ends is closed, by fi_client_close or ferry_close; the client goes with the last one. */
static void end_of(ferry_client_t *k) {
    k->magic = FI_RPC_ENDED;
    if (k->far) {
        fi_far_calls->client_close(k);
    }
    if (!k->tx && !k->rx) {
        free_calls(k);
        fi_graveyard_add(k);
    }
}

static void sender_ends(void *whole) {
    ferry_client_t *k = whole;

    k->tx = NULL;
    end_of(k);
}

static void receiver_ends(void *whole) {
    ferry_client_t *k = whole;

    k->rx = NULL;
    end_of(k);
}

/* A server has gone. */
static void loses(void *whole) {
    ferry_client_t *k = whole;
    fi_receiver_t *rx = fi_load_acquire_ptr(&k->rx);

    fi_add32(&k->losses, 1);
    if (rx) {
        fi_receiver_nudge(rx);
    }
}

/* A wait for room to send a call in: nobody is left who could make any. */
static bool is_over(const void *whole) {
    const ferry_client_t *k = whole;

    return k->tx && k->tx->link_count == 0 && !k->tx->stall.bears_it;
}

static int open_sender(ferry_client_t *k, fi_node_t *n, const ferry_client_options_t *o) {
    const ferry_contract_t contract = {.quota = o->quota, .wait = o->wait};
    const fi_part_t part = {
        .whole = k, .ends = sender_ends, .loses = loses, .is_over = is_over, .choose = fi_client_choose};
    char channel[104];

    snprintf(channel, sizeof channel, "%c%s", FI_CALLS, k->service);
    return fi_sender_new_part(n, channel, FERRY_QUEUE, &contract, &part, &k->tx);
}

static int open_receiver(ferry_client_t *k, fi_node_t *n, const ferry_client_options_t *o) {
    const ferry_receiver_options_t options = {.wait = o->wait, .senders = UINT32_MAX};
    const fi_rxpart_t part = {.whole = k, .ends = receiver_ends, .unchecked = true};
    fi_receiver_t *rx = NULL;
    char channel[104];

    snprintf(channel, sizeof channel, "%c%s.%016" PRIx64 ".%" PRIu64, FI_REPLIES, k->service, n->id, k->tx->end.id);
    int r = fi_receiver_new_part(n, channel, FERRY_QUEUE, &options, &part, &rx);
    if (r == 0) {
        fi_store_release_ptr(&k->rx, rx);
    }
    return r;
}

/* The sender comes first, since the replies' channel has its number; nothing is sent before both are there. */
static int open_ends(ferry_client_t *k, fi_node_t *n, const ferry_client_options_t *o) {
    int r = open_sender(k, n, o);

    if (r < 0) {
        free(k);
        return r;
    }
    r = open_receiver(k, n, o);
    if (r < 0) {
        fi_sender_drop(k->tx); /* and with it the client */
        return r;
    }
    /* Clients that come together shall not all begin with the same idle server. */
    k->tx->turn = (uint32_t)fi_random64();
    return 0;
}

static int check_options(const char *service, const ferry_client_options_t *o) {
    int r = fi_name_check("service", service, FI_SERVICE_NAME_MAX);

    if (r < 0) {
        return r;
    }
    if (o->calls > MOST_CALLS) {
        return fi_fail(-EINVAL, "a client of \"%s\" cannot have %u calls under way: up to %u are possible", service,
                       o->calls, MOST_CALLS);
    }
    if ((unsigned)o->wait > FERRY_WAIT_BLOCK) {
        return fi_fail(-EINVAL, "a client of \"%s\": %d is not a way to wait: use FERRY_WAIT_ADAPTIVE, _SPIN or _BLOCK",
                       service, (int)o->wait);
    }
    return 0;
}

int fi_client_open(fi_node_t *n, const char *service, const ferry_client_options_t *o, ferry_client_t **out) {
    static const ferry_client_options_t none;

    o = o ? o : &none;
    int r = check_options(service, o);
    if (r < 0) {
        return r;
    }
    ferry_client_t *k = calloc(1, sizeof *k);
    if (!k) {
        return fi_fail(-ENOMEM, "no memory for a client of \"%s\"", service);
    }
    snprintf(k->service, sizeof k->service, "%s", service);
    k->limit = o->calls ? o->calls : USUAL_CALLS;
    k->generation = fi_process_generation;
    k->next_deadline = FI_NEVER;
    fi_turns_init(&k->turns);
    fi_list_init(&k->ready);
    r = open_ends(k, n, o);
    if (r < 0) {
        return fi_fail(r, "no client of the service \"%s\" can be opened: %s", service, fi_error_text());
    }
    if (n->net) {
        r = fi_far_calls->client_open(k);
        if (r < 0) {
            fi_receiver_t *rx = k->rx;
            fi_sender_drop(k->tx);
            (void)fi_end_enter(&rx->end, FI_END_RECEIVER);
            (void)fi_receiver_close(rx);
            return r;
        }
    }
    k->magic = FI_CLIENT_MAGIC;
    *out = k;
    return 0;
}

/* ---- what it can be asked ---- */

int fi_client_check(const ferry_client_t *k) {
    if (!k || k->magic != FI_CLIENT_MAGIC) {
        return fi_fail(-EBADF, !k                         ? "the client handle is NULL: open one first"
                               : k->magic == FI_RPC_ENDED ? "this client was closed before: open a new one"
                                                          : "this handle is not an open client");
    }
    if (k->generation != fi_process_generation) {
        return fi_fail(-ECHILD,
                       "this client of \"%s\" belongs to the parent process: after fork(), open your own node with "
                       "ferry_open",
                       k->service);
    }
    return 0;
}

static bool has_ended(const fi_end_t *e) {
    return e && fi_is_orphan(&e->own);
}

int fi_client_enter_slow(ferry_client_t *k, fi_turn_t **turn) {
    int r = fi_client_check(k); /* it may have been closed meanwhile */

    if (r < 0) {
        return r;
    }
    bool dead = has_ended(fi_load_acquire_ptr(&k->tx)) || has_ended(fi_load_acquire_ptr(&k->rx));
    r = fi_turns_take(&k->turns, dead, turn);
    if (r == -EBUSY) {
        return fi_fail(r, "another thread is inside a call on this client of \"%s\": open one for each thread",
                       k->service);
    }
    return r < 0 ? fi_fail(r, "no memory for another thread in this client of \"%s\"", k->service) : 0;
}

#define LEAVING_NS 5000000

/* One that is leaving stays linked until it has done what it has, and nobody tells when it begins to leave. */
static int wait_for_servers(ferry_client_t *k, unsigned servers, int64_t deadline) {
    for (;;) {
        unsigned leaving = fi_client_leaving(k);
        int64_t left = fi_time_left(deadline);
        bool briefly = leaving > 0 && left > LEAVING_NS;
        int r = fi_sender_wait(k->tx, servers + leaving, briefly ? LEAVING_NS : left);
        unsigned gone = fi_client_leaving(k);
        if (r >= 0 && (unsigned)r >= servers + gone) {
            return r - (int)gone;
        }
        if (r < 0 && !(briefly && r == -ETIMEDOUT)) {
            return r;
        }
        if (left == FERRY_NOW) {
            return -EAGAIN;
        }
    }
}

/* -ETIMEDOUT, -EAGAIN: not enough, without a sentence. */
static int wait_near(ferry_client_t *k, unsigned servers, int64_t timeout) {
    int r = fi_end_enter(&k->tx->end, FI_END_SENDER);

    if (r < 0) {
        return r;
    }
    r = wait_for_servers(k, servers, timeout == FERRY_NOW ? 0 : fi_deadline(timeout));
    fi_end_leave(&k->tx->end);
    return r;
}

/* However little of its time was left for the last look: it is the caller's timeout that says which error it is. */
static int told(const ferry_client_t *k, int r, unsigned servers, int64_t timeout) {
    if (r != -ETIMEDOUT && r != -EAGAIN) {
        return r;
    }
    return fi_fail(timeout == FERRY_NOW ? -EAGAIN : -ETIMEDOUT, "fewer threads than the %u waited for serve \"%s\"",
                   servers, k->service);
}

int fi_client_wait_here(ferry_client_t *k, unsigned servers, int64_t timeout) {
    return told(k, wait_near(k, servers, timeout), servers, timeout);
}

/* On this machine and elsewhere. Who is elsewhere is asked now and then. */
#define ASK_AGAIN_NS 100000000

static int wait_anywhere(ferry_client_t *k, unsigned servers, int64_t timeout) {
    int64_t deadline = timeout == FERRY_NOW ? 0 : fi_deadline(timeout);

    for (;;) {
        unsigned far = fi_far_calls->servers(k, timeout == FERRY_NOW ? FI_NEVER : deadline);
        int64_t now = fi_now_ns();
        int64_t left = deadline == FI_NEVER ? ASK_AGAIN_NS : deadline - now;
        int64_t wait = left > ASK_AGAIN_NS ? ASK_AGAIN_NS : left;
        int r = wait_near(k, servers > far ? servers - far : 0, left > 0 ? wait : FERRY_NOW);
        if (r >= 0) {
            return r + (int)far;
        }
        if ((r != -ETIMEDOUT && r != -EAGAIN) || (deadline != FI_NEVER && left <= wait)) {
            return told(k, r, servers, timeout);
        }
    }
}

int fi_client_wait(ferry_client_t *k, unsigned servers, int64_t timeout) {
    return k->far ? wait_anywhere(k, servers, timeout) : fi_client_wait_here(k, servers, timeout);
}

int fi_client_fd(ferry_client_t *k) {
    int r = fi_end_enter(&k->rx->end, FI_END_RECEIVER);

    if (r < 0) {
        return r;
    }
    r = fi_receiver_fd(k->rx);
    fi_end_leave(&k->rx->end);
    int watched = r >= 0 && k->far ? fi_far_calls->watch(k) : 0;
    return watched < 0 ? watched : r;
}

int fi_client_stats(ferry_client_t *k, ferry_client_stats_t *stats) {
    int r = fi_end_enter(&k->tx->end, FI_END_SENDER);

    if (r < 0) {
        return r;
    }
    *stats = (ferry_client_stats_t){.size = sizeof *stats,
                                    .calls = k->calls,
                                    .answers = k->answers,
                                    .retried = k->tx->stats.redelivered,
                                    .servers = k->tx->link_count,
                                    .under_way = k->under_way};
    return fi_end_leave(&k->tx->end);
}

/* ---- closing ---- */

/* Whoever has one of its calls may stop, and what was answered is not wanted any more. */
static void release_all(ferry_client_t *k) {
    fi_client_tell_all_cancelled(k);
    for (uint32_t i = 0; i < k->places; i++) {
        ferry_call_t *c = k->table[i];
        if (c->magic == FI_CALL_MAGIC) {
            fi_call_end(c, -ECANCELED);
            fi_call_free(c);
        }
    }
}

static bool is_answered(const fi_unreleased_t *u, void *arg) {
    const fi_call_head_t *head = fi_unreleased_head(u);

    (void)arg;
    return head && !(head->flags & FI_CALL_ONE_WAY);
}

static bool count_one_way(const fi_unreleased_t *u, void *arg) {
    uint64_t *count = arg;

    *count += !is_answered(u, NULL);
    return false;
}

static int try_done(fi_sender_t *tx, void *arg) {
    uint64_t *left = arg;

    if (tx->backlog_count > 0 && tx->link_count > 0) {
        fi_backlog_watch(tx);
    }
    *left = 0;
    fi_backlog_each(tx, count_one_way, left);
    return *left == 0 ? 0 : -EAGAIN;
}

/* Gives calls that nobody answers the time to be done. What is to be answered is not wanted any more. */
static int linger(fi_sender_t *tx, int64_t timeout, uint64_t *left) {
    fi_backlog_forget(tx, is_answered, NULL);
    tx->stall.bears_it = true; /* to give up would lose what is not done */
    int r = fi_sender_wait_until(tx, try_done, left, timeout, false);
    tx->stall.bears_it = false;
    return r;
}

/* Begins a call on the sender's end in which nothing of the client's is wanted any more. */
static int begin_to_close(ferry_client_t *k) {
    int r = fi_end_enter(&k->tx->end, FI_END_SENDER);

    if (r < 0) {
        return r;
    }
    fi_end_leave(&k->tx->end);
    release_all(k);
    return fi_end_enter(&k->tx->end, FI_END_SENDER);
}

int fi_client_close(ferry_client_t *k, int64_t timeout, uint64_t *undone) {
    fi_receiver_t *rx = k->rx;
    fi_sender_t *tx = k->tx;
    uint64_t left = 0;

    int r = begin_to_close(k);
    if (r == -EOWNERDEAD) {
        if (undone) {
            *undone = 0; /* its calls went with its thread */
        }
        fi_sender_drop(tx);
        (void)fi_receiver_close(rx);
        return 0;
    }
    if (r < 0) {
        return r;
    }
    if (linger(tx, timeout, &left) == -EINTR) {
        fi_end_leave(&tx->end);
        return fi_fail(-EINTR, "a signal ended the wait for one-way calls of \"%s\": close it again", k->service);
    }
    if (undone) {
        *undone = left;
    }
    r = fi_sender_close(tx, FERRY_NOW, NULL);
    (void)fi_receiver_close(rx);
    return r;
}
