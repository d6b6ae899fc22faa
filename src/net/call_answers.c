/* SPDX-License-Identifier: MIT
 *
 * What is answered to calls that go far: the client's thread takes the messages one by one, fetches large results and
 * gives the pieces of large arguments that a server asks for.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "net/call_client.h"
#include "platform/clock.h"

#define AGAIN_NS 50000000ll                    /* between two tries to find a server after a lost connection */
#define MOST_TRIES (FI_NET_DEAD_NS / AGAIN_NS) /* where somebody has served: their connection may be on its way back */
#define LEAST_TRIES 20u                        /* of these, by a thread that may have stood still in between */
#define LARGEST (UINT64_C(1) << 34)            /* of a result */

/* ---- answers ---- */

static void finish(fi_far_client_t *fk, fi_far_call_t *fc, ferry_msg_t *m, fi_reply_kind_t kind) {
    int64_t now = fi_now_ns();
    int64_t took = now - fc->begun;

    fk->usual = fk->usual == 0 ? took : fk->usual - fk->usual / 8 + took / 8;
    fk->known_at = now;
    fi_far_call_over(fk, fc);
    fi_call_answer(fc->c, m, kind);
}

static ferry_msg_t *copy_of(natsMsg *msg) {
    uint64_t size = (uint64_t)fi_nats.natsMsg_GetDataLength(msg);
    ferry_msg_t *m = fi_alone_new(FI_MSG_TAKEN, size);

    if (m && size > 0) {
        memcpy(m->copy, fi_nats.natsMsg_GetData(msg), size);
    }
    return m;
}

/* One of several; `m` is complete. */
static void take_more(fi_far_client_t *fk, fi_far_call_t *fc, ferry_msg_t *m, uint64_t seq) {
    if (!fc->c->streams || seq != fc->results) { /* one was lost with a connection */
        (void)fi_alone_release(m);
        fi_far_call_tell_cancelled(fk, fc);
        fi_far_call_ends(fk, fc, fc->c->streams ? -ECONNRESET : -EPROTO);
        return;
    }
    fc->results++;
    fi_call_more(fc->c, m);
}

static void no_memory(fi_far_client_t *fk, fi_far_call_t *fc) {
    fi_far_call_tell_cancelled(fk, fc);
    fi_far_call_ends(fk, fc, -ENOMEM);
}

/* An error of a service that is not Ferry's, as ferry_call_error reads it. */
static void take_foreign_error(fi_far_client_t *fk, fi_far_call_t *fc, natsMsg *msg, const char *code) {
    const char *words = fi_calls_header(msg, "Nats-Service-Error");
    uint64_t detail = (uint64_t)fi_nats.natsMsg_GetDataLength(msg);
    fi_error_head_t head = {.code = (int32_t)strtol(code ? code : "", NULL, 10)};

    words = words ? words : "";
    head.code = head.code ? head.code : 500;
    head.words = (uint32_t)strlen(words) + 1;
    uint64_t before = fi_error_detail_at(head.words);
    ferry_msg_t *m = fi_alone_new(FI_MSG_TAKEN, before + detail);
    if (!m) {
        no_memory(fk, fc);
        return;
    }
    memset(m->copy, 0, before);
    memcpy(m->copy, &head, sizeof head);
    memcpy(m->copy + sizeof head, words, head.words);
    if (detail > 0) {
        memcpy(m->copy + before, fi_nats.natsMsg_GetData(msg), detail);
    }
    finish(fk, fc, m, FI_REPLY_ERROR);
}

static void take_plain(fi_far_client_t *fk, fi_far_call_t *fc, natsMsg *msg) {
    const char *code = fi_calls_header(msg, "Nats-Service-Error-Code");

    if (code || fi_calls_header(msg, "Nats-Service-Error")) {
        take_foreign_error(fk, fc, msg, code);
        return;
    }
    ferry_msg_t *m = copy_of(msg);
    if (m) {
        finish(fk, fc, m, FI_REPLY_RESULT);
    } else {
        no_memory(fk, fc);
    }
}

void fi_far_call_pull(fi_far_client_t *fk, fi_far_call_t *fc) {
    uint64_t len = (uint64_t)fi_calls_piece(fk->calls) * FI_CALLS_WINDOW;

    fc->wanted = fc->have + len;
    fc->came_at = fi_now_ns();
    fi_far_call_frame(fk, fc, fc->source,
                      (fi_call_frame_t){.type = FI_FRAME_PULL, .a = fc->serial, .b = fc->have, .c = len}, true, false);
}

enum large_field { LARGE_KIND, LARGE_SEQ, LARGE_NODE, LARGE_SERIAL, LARGE_TOTAL, LARGE_FIELDS };

static void take_large(fi_far_client_t *fk, fi_far_call_t *fc, const uint64_t f[LARGE_FIELDS]) {
    bool is_kind =
        f[LARGE_KIND] == FI_REPLY_RESULT || f[LARGE_KIND] == FI_REPLY_MORE || f[LARGE_KIND] == FI_REPLY_ERROR;
    bool is_next = f[LARGE_SEQ] == fc->results;

    if (fc->coming && fc->serial == f[LARGE_SERIAL] && fc->source == f[LARGE_NODE]) {
        return;
    }
    if (fc->coming && !fc->c->streams) { /* of another attempt: one result is enough */
        fi_far_call_frame(fk, fc, f[LARGE_NODE], (fi_call_frame_t){.type = FI_FRAME_GOT, .a = f[LARGE_SERIAL]}, false,
                          false);
        return;
    }
    if (!is_kind || f[LARGE_NODE] == 0 || f[LARGE_TOTAL] == 0 || f[LARGE_TOTAL] > LARGEST || fc->coming ||
        (!fc->c->streams && f[LARGE_KIND] == FI_REPLY_MORE)) {
        fi_far_call_tell_cancelled(fk, fc);
        fi_far_call_ends(fk, fc, -EPROTO);
        return;
    }
    fc->coming = is_next ? fi_alone_new(FI_MSG_TAKEN, f[LARGE_TOTAL]) : NULL;
    if (!fc->coming) {
        fi_far_call_tell_cancelled(fk, fc);
        fi_far_call_ends(fk, fc, is_next ? -ENOMEM : -ECONNRESET);
        return;
    }
    fc->kind = (fi_reply_kind_t)f[LARGE_KIND];
    fc->serial = f[LARGE_SERIAL];
    fc->source = fc->server = f[LARGE_NODE];
    fc->have = 0;
    fi_far_call_pull(fk, fc);
}

static void take_chunk(fi_far_client_t *fk, fi_far_call_t *fc, natsMsg *msg, uint64_t serial, uint64_t from) {
    ferry_msg_t *m = fc->coming;
    uint64_t size = (uint64_t)fi_nats.natsMsg_GetDataLength(msg);

    if (!m || serial != fc->serial || from != fc->have || size > m->size - fc->have) {
        return; /* of a pull that was repeated */
    }
    memcpy(m->copy + fc->have, fi_nats.natsMsg_GetData(msg), size);
    fc->have += size;
    fc->came_at = fi_now_ns();
    if (fc->have < m->size) {
        if (fc->have >= fc->wanted) {
            fi_far_call_pull(fk, fc);
        }
        return;
    }
    fc->coming = NULL;
    fi_far_call_frame(fk, fc, fc->source, (fi_call_frame_t){.type = FI_FRAME_GOT, .a = serial}, false, false);
    if (fc->kind == FI_REPLY_MORE) {
        take_more(fk, fc, m, fc->results);
    } else {
        finish(fk, fc, m, fc->kind);
    }
}

/* Whoever was to have the request has not begun it, and nobody else was sent it before. */
static void is_nobodys(fi_far_call_t *fc) {
    if (fc->attempt == 1 && !fc->given) {
        fi_store_release32(&fc->sent, 0);
    }
}

static void refused(fi_far_client_t *fk, fi_far_call_t *fc, uint64_t why) {
    switch (why) {
    case ESHUTDOWN: /* it was not begun: others may have time */
        is_nobodys(fc);
        fc->again_at = fi_now_ns() + (fc->tries < 3 ? 0 : AGAIN_NS);
        if (++fc->tries > FI_CALLS_MOST_TRIES) {
            fi_far_call_ends(fk, fc, -ENOENT);
        }
        return;
    case ENOSYS:
    case EBUSY:
    case ECONNRESET:
    case ENOTSUP:
    case ECANCELED:
    case EMSGSIZE:
    case EPROTO:
        fi_far_call_ends(fk, fc, -(int)why);
        return;
    default:
        fi_far_call_ends(fk, fc, -EPROTO);
    }
}

/* Sends what a server has asked for of the argument. */
static void give_pieces(fi_far_client_t *fk, fi_far_call_t *fc, uint64_t node, uint64_t at, uint64_t len) {
    fi_calls_t *calls = fk->calls;
    size_t piece = fi_calls_piece(calls);

    fc->server = node;
    fc->uploaded = len == 0;
    fc->given |= at + len == fc->size;
    if (at > fc->size || len > fc->size - at) {
        fi_far_call_ends(fk, fc, -EPROTO);
        return;
    }
    while (len > 0) {
        size_t size = (size_t)fi_min(len, piece - sizeof(fi_call_frame_t));
        fi_call_frame_t f = {.type = FI_FRAME_CHUNK,
                             .attempt = fc->attempt,
                             .node = calls->net->node->id,
                             .client = fk->number,
                             .id = fc->c->id,
                             .b = at};
        if (fi_calls_send_frame(calls, calls->net->bulk, node, &f, NULL, fc->data + at, size) < 0) {
            return; /* it is asked for again */
        }
        at += size;
        len -= size;
    }
}

static bool describe_foreign(fi_far_client_t *fk, fi_far_call_t *fc) {
    size_t len = 0;
    char *text = fi_foreign_describe(fk->k->service, fk->foreign, &len);
    ferry_msg_t *m = text ? fi_alone_new(FI_MSG_TAKEN, len) : NULL;

    if (m) {
        memcpy(m->copy, text, len);
        finish(fk, fc, m, FI_REPLY_RESULT);
    }
    free(text);
    return m != NULL;
}

/* No Ferry service: perhaps one of another make, whose endpoints are known by their names. */
static void look_for_foreign(fi_far_client_t *fk, fi_far_call_t *fc) {
    bool was_foreign = fc->foreign;

    fi_foreign_free(fk->foreign);
    fk->foreign = NULL;
    if (!was_foreign) {
        (void)fi_foreign_find(fk->calls, fk->k->service, fc->c->deadline, &fk->foreign);
    }
    if (!fk->foreign) {
        fi_far_call_ends(fk, fc, fi_time_left(fc->c->deadline) > 0 ? -ENOENT : -ETIME);
    } else if (strcmp(fc->c->method, FERRY_METHOD_DESCRIBE) == 0) {
        if (!describe_foreign(fk, fc)) {
            fi_far_call_ends(fk, fc, -ENOMEM);
        }
    } else if (!fi_far_find_foreign(fk, fc->c->method)) {
        fi_far_call_ends(fk, fc, -ENOSYS);
    } else {
        int r = fi_far_call_send(fk, fc);
        if (r < 0) {
            fi_far_call_ends(fk, fc, r);
        }
    }
}

void fi_far_call_nobody(fi_far_client_t *fk, fi_far_call_t *fc) {
    int64_t now = fi_now_ns();

    is_nobodys(fc);
    if (fc->attempt == 1) {
        fk->direct = fk->direct == fc ? NULL : fk->direct;
    }
    bool may_come_back = fk->served && fc->attempt == 1 && fc->unheard < MOST_TRIES;
    if (fi_calls_is_settling(fk->calls, now) || may_come_back || (fc->unheard > 0 && fc->unheard < LEAST_TRIES)) {
        fc->unheard++;
        fc->again_at = now + AGAIN_NS; /* servers may still be on their way back */
        return;
    }
    fk->served = false; /* the next call does not wait */
    if (fc->attempt > 1) {
        fi_far_call_ends(fk, fc, -ECONNRESET);
    } else {
        look_for_foreign(fk, fc);
    }
}

static void has(fi_far_client_t *fk, fi_far_call_t *fc, uint64_t node, uint64_t state) {
    if (state) {
        fc->server = node;
        if (state == 2 && fk->direct == fc) {
            fk->direct = NULL;
        }
    } else if (node == fc->server || fc->coming) {
        fi_far_call_try_next(fk, fc);
    }
}

static void take_result(fi_far_client_t *fk, fi_far_call_t *fc, natsMsg *msg, const char *result) {
    uint64_t n[LARGE_FIELDS];

    if (fi_calls_parse(result, "more", n, 1)) {
        ferry_msg_t *m = copy_of(msg);
        if (m) {
            take_more(fk, fc, m, n[0]);
        } else {
            no_memory(fk, fc);
        }
    } else if (fi_calls_parse(result, "end", n, 1)) {
        fi_far_call_over(fk, fc);
        if (n[0] == fc->results) {
            fk->k->answers++;
        }
        fi_call_end(fc->c, n[0] == fc->results ? 0 : -ECONNRESET);
    } else if (strcmp(result, "error") == 0) {
        ferry_msg_t *m = copy_of(msg);
        if (m) {
            finish(fk, fc, m, FI_REPLY_ERROR);
        } else {
            no_memory(fk, fc);
        }
    } else if (fi_calls_parse(result, "refused", n, 1)) {
        refused(fk, fc, n[0]);
    } else if (fi_calls_parse(result, "large", n, LARGE_FIELDS)) {
        take_large(fk, fc, n);
    } else if (fi_calls_parse(result, "chunk", n, 2)) {
        take_chunk(fk, fc, msg, n[0], n[1]);
    } else if (fi_calls_parse(result, "has", n, 2)) {
        has(fk, fc, n[0], n[1]);
    } else if (fi_calls_parse(result, "pull", n, 3)) {
        give_pieces(fk, fc, n[0], n[1], n[2]);
    } else {
        fi_far_call_ends(fk, fc, -EPROTO);
    }
}

/* What the client has asked for itself: who serves. */
static void take_own(fi_far_client_t *fk, natsMsg *msg) {
    fi_call_card_t card;

    if (fi_nats.natsMsg_IsNoResponders(msg)) {
        fk->nobody = true;
        return;
    }
    if (fi_nats.natsMsg_GetDataLength(msg) < (int)sizeof card) {
        return;
    }
    memcpy(&card, fi_nats.natsMsg_GetData(msg), sizeof card);
    if (card.version == FI_CALLS_VERSION && !fi_net_is_near(fk->calls->net, card.node)) {
        fk->known_at = fi_now_ns();
        if (fk->usual == 0) {
            fk->usual = fk->known_at - fk->sought_at + (int64_t)(card.p50_ns & INT64_MAX >> 1);
        }
    }
}

/* What the procedure has answered, however often it was called: the headers of plain results, which have none,
 * apart. */
static bool is_whole(const char *result) {
    return strcmp(result, "error") == 0 || strncmp(result, "large ", 6) == 0;
}

void fi_far_client_take_one(fi_far_client_t *fk, const fi_heard_t *h) {
    ferry_call_t *c = h->id == FI_CALLS_CLIENTS_OWN ? NULL : fi_call_find(fk->k, h->id);
    fi_far_call_t *fc = c ? c->far : NULL;

    if (h->id == FI_CALLS_CLIENTS_OWN) {
        take_own(fk, h->msg);
        return;
    }
    if (!fc || fc->over || (c->streams && h->attempt != fc->attempt)) {
        return;
    }
    if (fi_nats.natsMsg_IsNoResponders(h->msg)) {
        if (!h->probe && h->attempt == fc->attempt && fc->again_at == 0 && !fc->coming) {
            fi_far_call_nobody(fk, fc);
        }
        fc->silent += h->probe && fc->foreign;
        return; /* of a probe: it counts as silence */
    }
    if (h->probe && fc->foreign) {
        fc->silent = fc->cut ? fc->silent : 0;
        return;
    }
    fc->silent = 0;
    fk->served = true;
    const char *result = fi_calls_header(h->msg, "Ferry-Result");
    if (result && (h->attempt == fc->attempt || is_whole(result))) {
        take_result(fk, fc, h->msg, result);
    } else if (!result) {
        take_plain(fk, fc, h->msg);
    }
}
