/* SPDX-License-Identifier: MIT
 *
 * A call's life: from its place in the table to its end.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "rpc/client.h"

#define FIRST_PLACES 16u

/* ---- places ---- */

static bool more_places(ferry_client_t *k) {
    uint32_t size = k->table_size ? 2 * k->table_size : FIRST_PLACES;
    ferry_call_t **more = realloc(k->table, size * sizeof *more);

    if (!more) {
        return false;
    }
    k->table = more;
    k->table_size = size;
    return true;
}

/* Places are taken in order; a call that is given back keeps its place. */
static ferry_call_t *call_in_new_place(ferry_client_t *k) {
    uint32_t place = k->places;

    if (place == k->table_size && !more_places(k)) {
        return NULL;
    }
    ferry_call_t *c = calloc(1, sizeof *c);
    if (c) {
        c->client = k;
        c->id = place;
        fi_list_init(&c->ready);
        k->table[k->places++] = c;
    }
    return c;
}

ferry_call_t *fi_call_new(ferry_client_t *k) {
    ferry_call_t *c = k->free_calls;

    if (fi_likely(c != NULL)) {
        k->free_calls = c->next_free;
    } else {
        c = call_in_new_place(k);
        if (!c) {
            return NULL;
        }
    }
    c->magic = FI_CALL_MAGIC;
    c->id += UINT64_C(1) << 32;
    c->open = true;
    c->awaited = false;
    c->owed = 0;
    c->owed_bytes = 0;
    c->results = 0;
    c->attempt = 0;
    c->far = NULL;
    c->unsent = false;
    c->context = NULL;
    k->under_way++;
    return c;
}

void fi_call_keep_name(ferry_call_t *c) {
    if (fi_unlikely(c->named != c->number)) {
        strcpy(c->name, c->method);
        c->named = c->number;
    }
    c->method = c->name;
}

static void release_replies(ferry_call_t *c) {
    while (c->first) {
        ferry_msg_t *m = c->first;
        c->first = m->next;
        (void)fi_taken_release(m);
    }
    c->last = NULL;
}

void fi_call_free(ferry_call_t *c) {
    ferry_client_t *k = c->client;

    release_replies(c);
    if (fi_unlikely(c->far != NULL)) {
        fi_far_calls->forget(c);
    }
    fi_list_remove(&c->ready);
    c->magic = FI_RPC_ENDED;
    c->next_free = k->free_calls;
    k->free_calls = c;
}

/* ---- the end ---- */

/* There is something for ferry_call_wait. */
static void make_ready(ferry_call_t *c) {
    if (!c->awaited && fi_list_empty(&c->ready)) {
        fi_list_add_tail(&c->client->ready, &c->ready);
    }
}

void fi_call_end(ferry_call_t *c, int result) {
    if (c->open) {
        c->open = false;
        c->result = result;
        c->client->under_way--;
        make_ready(c);
    }
}

int fi_call_tell_result(const ferry_call_t *c) {
    const char *service = c->client->service;
    const char *method = c->method;

    switch (c->result) {
    case -ENOENT:
        return fi_fail(c->result,
                       "nobody serves \"%s\" any more: \"%s\" was not run; start a server, or wait for one with "
                       "ferry_client_wait",
                       service, method);
    case -ENOSYS:
        return fi_fail(c->result, "the service \"%s\" has no method \"%s\": `ferry call %s` lists those it has",
                       service, method, service);
    case -ECONNRESET:
        return fi_fail(c->result,
                       "the server of \"%s\" died or left while it had this call: \"%s\" may have run, wholly or in "
                       "part",
                       service, method);
    case -ETIME:
        if (c->unsent) {
            return fi_fail(c->result,
                           "there was no connection to a server, or nobody there who serves it, until the time for "
                           "\"%s\" of the service \"%s\" had passed: it was not run",
                           method, service);
        }
        return fi_fail(c->result,
                       "the time for \"%s\" of the service \"%s\" has passed: if a server has begun, it may have run",
                       method, service);
    case -ECANCELED:
        return fi_fail(c->result, "the call of \"%s\" of the service \"%s\" was cancelled", method, service);
    case -ENOTSUP:
        return fi_fail(c->result,
                       "\"%s\" of the service \"%s\" answers with several results: start it with ferry_call_start and "
                       "FERRY_CALL_STREAM",
                       method, service);
    case -EBUSY:
        return fi_fail(c->result,
                       "the server of \"%s\" has as many calls of this client under way as it allows: \"%s\" was "
                       "not run",
                       service, method);
    case -EACCES:
        return fi_fail(c->result,
                       "the NATS server denies the permission to call \"%s\" of the service \"%s\": it was not run",
                       method, service);
    case -EPROTO:
        return fi_fail(c->result, "a server of \"%s\" answered \"%s\" with nonsense", service, method);
    default:
        return c->result; /* 0, FERRY_CALL_FAILED; -EDEADLK, -ESHUTDOWN have their sentence */
    }
}

/* ---- answers ---- */

static void keep(ferry_call_t *c, ferry_msg_t *m, uint32_t kind) {
    m->reply = kind;
    m->next = NULL;
    if (c->first) {
        c->last->next = m;
    } else {
        c->first = m;
    }
    c->last = m;
}

void fi_call_more(ferry_call_t *c, ferry_msg_t *m) {
    keep(c, m, FI_REPLY_MORE);
    c->results++;
    make_ready(c);
}

void fi_call_answer(ferry_call_t *c, ferry_msg_t *m, fi_reply_kind_t kind) {
    keep(c, m, kind);
    c->client->answers++;
    fi_call_end(c, kind == FI_REPLY_RESULT ? 0 : FERRY_CALL_FAILED);
}

static bool is_reason(int error) {
    return error == -ENOSYS || error == -ECONNRESET || error == -ETIME || error == -ECANCELED || error == -ENOTSUP;
}

ferry_call_t *fi_call_find(const ferry_client_t *k, uint64_t id) {
    uint32_t place = (uint32_t)id;
    ferry_call_t *c = place < k->places ? k->table[place] : NULL;

    return c && c->id == id && c->open && c->magic == FI_CALL_MAGIC ? c : NULL;
}

/* A stream's server has died, and another one has begun anew: results of the two must not mix. What comes late of the
 * dead one's is dropped; where something came of it already, the call ends. */
static bool mixes(ferry_call_t *c, const fi_reply_head_t *head) {
    if (!c->streams || c->results == 0 || head->attempt == c->attempt) {
        c->attempt = head->attempt;
        return false;
    }
    if (head->attempt > c->attempt) {
        fi_call_tell_cancelled(c);
        fi_call_end(c, -ECONNRESET);
    }
    return true;
}

static void take_result(ferry_call_t *c, const fi_reply_head_t *head, ferry_msg_t *m) {
    ferry_client_t *k = c->client;

    switch (head->kind) {
    case FI_REPLY_RESULT:
    case FI_REPLY_ERROR:
        fi_call_answer(c, m, (fi_reply_kind_t)head->kind);
        return;
    case FI_REPLY_MORE:
        if (c->streams) {
            fi_call_more(c, m);
            return;
        }
        break;
    case FI_REPLY_END:
        if (c->streams) {
            (void)fi_taken_release(m);
            k->answers++;
            fi_call_end(c, 0);
            return;
        }
        break;
    case FI_REPLY_REFUSED:
        if (is_reason(head->error)) {
            (void)fi_taken_release(m);
            fi_call_end(c, head->error);
            return;
        }
        break;
    default:
        break;
    }
    (void)fi_taken_release(m);
    fi_call_end(c, -EPROTO);
}

/* What nobody waits for any more, or is no reply, is dropped. */
void fi_client_take_reply(ferry_client_t *k, ferry_msg_t *m) {
    fi_reply_head_t head;
    uint64_t size;
    const void *found = fi_head_of(m, &size);
    ferry_call_t *c = NULL;

    if (fi_likely(found != NULL)) {
        memcpy(&head, found, sizeof head); /* read once */
        c = fi_call_find(k, head.id);
    }
    if (fi_unlikely(!c || mixes(c, &head))) {
        (void)fi_taken_release(m);
        return;
    }
    m->size = size;
    take_result(c, &head, m);
}

/* ---- what the program does with it ---- */

int fi_call_check(const ferry_call_t *c) {
    if (!c || c->magic != FI_CALL_MAGIC) {
        return fi_fail(-EBADF, !c ? "the call handle is NULL: start a call first"
                                  : "this call was released before, or its client was closed");
    }
    return fi_client_check(c->client);
}

int fi_call_cancel(ferry_call_t *c) {
    if (!c->open) {
        return fi_fail(-EALREADY, "the call of \"%s\" has ended before it could be cancelled", c->method);
    }
    fi_call_tell_cancelled(c);
    fi_call_end(c, -ECANCELED);
    release_replies(c);
    return 0;
}

int fi_call_release(ferry_call_t *c) {
    if (c->open) {
        (void)fi_call_cancel(c);
    }
    fi_call_free(c);
    return 0;
}
