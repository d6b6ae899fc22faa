/* SPDX-License-Identifier: MIT
 *
 * Getting values that the engine keeps, and putting them, on conditions. See cell.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "net/ask.h"
#include "net/cell.h"
#include "net/last.h"
#include "net/streams.h"
#include "net/token.h"
#include "platform/clock.h"

#define GET "get the cell"

/* ---- getting ---- */

static int removed(fi_net_cell_t *c) {
    fi_store_relaxed32(&c->missing, 1);
    return fi_fail(-ENOENT, "the cell \"%s\" was removed: open it anew", c->name);
}

int fi_net_cell_ask_last(fi_net_cell_t *c, const char *doing, int64_t deadline) {
    fi_ask_t ask = fi_ask_begin(c->net, c->patience, doing, c->name);
    jsStreamInfo *info;
    natsStatus s;

    ask.deadline = deadline;
    do {
        int r = fi_ask_next(&ask);
        if (r < 0) {
            return r;
        }
        s = fi_nats.js_GetStreamInfo(&info, c->net->js, c->stream, &ask.options, &ask.code);
        if (s == NATS_OK && !fi_stream_is_made(info)) {
            fi_nats.jsStreamInfo_Destroy(info);
            s = NATS_TIMEOUT;
        }
    } while (fi_ask_again(&ask, s) || (c->clustered && fi_ask_doubt(&ask, &c->gone)));
    if (s != NATS_OK) {
        return ask.code == JSStreamNotFoundErr ? removed(c) : fi_ask_fail(&ask, s);
    }
    fi_store_relaxed32(&c->missing, 0);
    fi_store_relaxed64(&c->gone, 0);
    fi_store_relaxed64(&c->last, info->State.LastSeq);
    fi_nats.jsStreamInfo_Destroy(info);
    return 0;
}

/* The last message of a subject. 0; -ENODATA without words: there is none; -ENOENT likewise: the stream is missing. */
static int try_last_of(fi_net_cell_t *c, fi_ask_t *ask, const char *subject, fi_last_t *last) {
    natsStatus s;

    do {
        int r = fi_ask_next(ask);
        if (r < 0) {
            return r;
        }
        s = fi_last_ask(ask, c->stream, subject, last);
    } while (fi_ask_again(ask, s));
    if (s == NATS_OK || ask->code == JSNoMessageFoundErr) {
        fi_store_relaxed64(&c->gone, 0);
    }
    return s == NATS_OK                       ? 0
           : ask->code == JSNoMessageFoundErr ? -ENODATA
           : ask->code == JSStreamNotFoundErr ? -ENOENT
                                              : fi_ask_fail(ask, s);
}

/* The same, with words for -ENOENT. A stream that was removed may just be made again: see fi_stream_is_made. */
static int last_of(fi_net_cell_t *c, const char *subject, int64_t timeout, fi_last_t *last) {
    fi_ask_t ask = fi_ask_begin(c->net, timeout, GET, c->name);
    bool missing = fi_load_relaxed32(&c->missing) != 0;

    for (;;) {
        int r = missing ? fi_net_cell_ask_last(c, GET, ask.deadline) : 0;
        r = r == 0 ? try_last_of(c, &ask, subject, last) : r;
        if (r != -ENOENT || fi_load_relaxed32(&c->missing)) {
            return r;
        }
        missing = true;
    }
}

int fi_net_cell_look(fi_net_cell_t *c, uint32_t index, int64_t timeout, uint64_t *version) {
    char subject[FI_SUBJECT_MAX];
    fi_last_t last;

    fi_net_cell_subject(c, subject, "", index);
    int r = last_of(c, subject, timeout, &last);
    if (r == 0) {
        *version = last.number;
        fi_last_done(&last);
    } else if (r == -ENODATA) {
        *version = 0;
        r = 0;
    }
    return r;
}

int fi_net_cell_version(fi_net_cell_t *c, uint32_t index, uint64_t *version) {
    int r = fi_net_cell_check(c, index);

    return r == 0 ? fi_net_cell_look(c, index, c->patience, version) : r;
}

int fi_net_cell_get(fi_net_cell_t *c, uint32_t index, void *buf, size_t cap, size_t *len, uint64_t *version) {
    char subject[FI_SUBJECT_MAX];
    fi_last_t last;

    int r = fi_net_cell_check(c, index);
    if (r == 0 && !buf && cap > 0) {
        r = fi_fail(-EINVAL, "ferry_cell_get needs a place for %zu bytes, not NULL", cap);
    }
    if (r < 0) {
        return r;
    }
    fi_net_cell_subject(c, subject, "", index);
    r = last_of(c, subject, c->patience, &last);
    if (r < 0) {
        return r == -ENODATA ? fi_fail_static(r, "no value was put into this cell yet") : r;
    }
    if (len) {
        *len = last.len;
    }
    if (last.len > cap) {
        r = fi_fail(-EMSGSIZE, "the value in the cell \"%s\" has %zu bytes, the place for it %zu", c->name, last.len,
                    cap);
    } else {
        fi_last_copy(&last, buf);
        if (version) {
            *version = last.number;
        }
    }
    fi_last_done(&last);
    return r;
}

/* ---- putting ---- */

static int stale(void) {
    return fi_fail_static(-ESTALE, "the cell has another version: get it again, and try with that");
}

/* A try had no answer, and the cell has another version since: that may be this one, or one that was put upon it. */
static int not_known(const fi_net_cell_t *c) {
    return fi_fail(-ENOTCONN,
                   "the connection was lost while something was put into the cell \"%s\", and it has another version "
                   "since: whether this was put is not known",
                   c->name);
}

/* On which condition the server shall store a message. */
typedef struct condition {
    enum { ALWAYS, STREAM_ENDS_AT, SUBJECT_ENDS_AT, NO_MESSAGE } kind;
    uint64_t last;
} condition_t;

static condition_t ends_at(uint64_t last) {
    return (condition_t){.kind = last == 0 ? NO_MESSAGE : STREAM_ENDS_AT, .last = last};
}
static condition_t subject_ends_at(uint64_t last) {
    return (condition_t){.kind = last == 0 ? NO_MESSAGE : SUBJECT_ENDS_AT, .last = last};
}

/* The server names the number that it has. */
static uint64_t number_told(void) {
    const char *words = fi_nats.nats_GetLastError(NULL);
    const char *colon = words ? strstr(words, "wrong last sequence: ") : NULL;

    return colon ? strtoull(colon + strlen("wrong last sequence: "), NULL, 10) : 0;
}

static void note_last(fi_net_cell_t *c, uint64_t number) {
    if (number > fi_load_relaxed64(&c->last)) {
        fi_store_relaxed64(&c->last, number);
    }
}

/* Which server answers; each start is another one. "": none. */
static void server_of(const fi_net_cell_t *c, char id[64]) {
    if (fi_nats.natsConnection_GetConnectedServerId(c->net->control, id, 64) != NATS_OK) {
        id[0] = '\0';
    }
}

/*
 * 0: it has `*number`; -ESTALE without words: the condition does not hold.  By the id the server knows what was sent
 * before, and had no answer.  One that was started since knows only what nobody has put something upon: then `*unsure`,
 * if not NULL, tells that the condition may have held at first.
 */
static int store(fi_net_cell_t *c, const char *subject, const void *data, size_t len, condition_t on, int64_t deadline,
                 uint64_t *number, bool *unsure) {
    static uint64_t puts;
    fi_ask_t ask = fi_ask_begin(c->net, c->patience, "put into the cell", c->name);
    jsPubOptions options;
    jsPubAck *ack = NULL;
    char id[48];
    char first_server[64];
    char server[64];
    bool unanswered = false;
    natsStatus s;

    ask.deadline = deadline;
    server_of(c, first_server);
    snprintf(id, sizeof id, "%016" PRIx64 "%" PRIx64, c->net->node->id, fi_add64(&puts, 1));
    fi_nats.jsPubOptions_Init(&options);
    options.MsgId = id;
    options.ExpectLastSeq = on.kind == STREAM_ENDS_AT ? on.last : 0;
    options.ExpectLastSubjectSeq = on.kind == SUBJECT_ENDS_AT ? on.last : 0;
    options.ExpectNoMessage = on.kind == NO_MESSAGE;
    do {
        int r = fi_ask_next(&ask);
        if (r < 0) {
            return r;
        }
        options.MaxWait = ask.options.Wait;
        s = fi_nats.js_Publish(&ack, c->net->js, subject, data, (int)len, &options, &ask.code);
        if (s == NATS_NO_RESPONDERS) { /* nobody stores it: is the stream there? */
            uint64_t version;
            r = fi_net_cell_look(c, 0, FI_NET_ASK_MS * INT64_C(1000000), &version);
            if (r == -ENOENT) {
                return r;
            }
        }
        unanswered |= s != NATS_OK && s != NATS_NO_RESPONDERS && ask.code == 0;
    } while (fi_ask_again(&ask, s));
    if (s == NATS_OK) {
        *number = ack->Sequence;
        fi_nats.jsPubAck_Destroy(ack);
        note_last(c, *number);
        return 0;
    }
    if (ask.code == JSStreamWrongLastSequenceErr) {
        note_last(c, number_told());
        server_of(c, server);
        if (unsure && unanswered) {
            *unsure |= server[0] == '\0' || strcmp(server, first_server) != 0;
        }
        return -ESTALE;
    }
    return fi_ask_fail(&ask, s);
}

static int others_put(const fi_net_cell_t *c) {
    return fi_fail(-ETIMEDOUT, "others have put into cells of the name \"%s\" without a pause for %.3f ms", c->name,
                   (double)c->patience / 1e6);
}

/* The condition on `last` did not hold: is there time to try again with what is known now? */
static int try_again(fi_net_cell_t *c, uint64_t last, int64_t deadline) {
    if (fi_time_left(deadline) == 0) {
        return others_put(c);
    }
    return fi_load_relaxed64(&c->last) == last ? fi_net_cell_ask_last(c, "put into the cell", deadline) : 0;
}

static int put_if(fi_net_cell_t *c, const fi_net_put_t *p, const char *subject, int64_t deadline, uint64_t *version) {
    bool unsure = false;

    if (*p->only_if == 0 || !c->clustered) {
        int r = store(c, subject, p->data, p->len, subject_ends_at(*p->only_if), deadline, version, &unsure);
        return r != -ESTALE ? r : unsure ? not_known(c) : stale();
    }
    uint64_t last = fi_max(fi_load_relaxed64(&c->last), *p->only_if);
    for (;;) {
        uint64_t now = *p->only_if;
        int r = last == now ? 0 : fi_net_cell_look(c, p->index, c->patience, &now);
        if (r == 0 && now != *p->only_if) {
            return unsure ? not_known(c) : stale();
        }
        r = r == 0 ? store(c, subject, p->data, p->len, ends_at(last), deadline, version, &unsure) : r;
        if (r != -ESTALE) {
            return r;
        }
        r = try_again(c, last, deadline);
        if (r < 0) {
            return r;
        }
        last = fi_load_relaxed64(&c->last); /* as the server says */
    }
}

/* ---- tokens ---- */

/* The largest token that was used, and the number of the message that says so; 0: none. */
static int read_fence(fi_net_cell_t *c, const char *subject, uint64_t *token, uint64_t *number) {
    fi_fence_t fence = {.version = 0};
    fi_last_t last;

    int r = last_of(c, subject, c->patience, &last);
    *token = *number = 0;
    if (r < 0) {
        return r == -ENODATA ? 0 : r;
    }
    *number = last.number;
    if (last.len == sizeof fence) {
        fi_last_copy(&last, &fence);
    }
    fi_last_done(&last);
    if (fence.version != 1) {
        return fi_fail(-EPROTO, "the cell \"%s\" has a token that this version of Ferry cannot read", c->name);
    }
    *token = fence.token;
    return 0;
}

/* 0: no larger token was used, and none smaller will be, if the stream still ends at `*last` (NULL: in any case);
 * 1: look again. */
static int raise_fence(fi_net_cell_t *c, const fi_net_put_t *p, const char *subject, int64_t deadline, uint64_t *last) {
    fi_fence_t fence = {.version = 1, .token = p->token};
    uint64_t raised;
    uint64_t number;

    int r = read_fence(c, subject, &raised, &number);
    if (r < 0 || raised == p->token) {
        return r;
    }
    if (raised > p->token) {
        return fi_fail(-ESTALE, "the cell \"%s\" was put into with token %" PRIu64 ", which is newer than %" PRIu64,
                       c->name, raised, p->token);
    }
    r = store(c, subject, &fence, sizeof fence, last ? ends_at(*last) : subject_ends_at(number), deadline,
              last ? last : &number, NULL);
    return r == -ESTALE ? 1 : r;
}

/*
 * Not with replicas, but whatever is put into other cells of the name.  The version is looked at before the fence: who
 * raises that afterwards, and puts, changes it.
 */
static int put_fenced_alone(fi_net_cell_t *c, const fi_net_put_t *p, const char *subject, const char *fence,
                            int64_t deadline, uint64_t *version) {
    for (;;) {
        uint64_t now;
        int r = fi_net_cell_look(c, p->index, c->patience, &now);
        r = r == 0 ? raise_fence(c, p, fence, deadline, NULL) : r;
        if (r == 0) {
            r = store(c, subject, p->data, p->len, subject_ends_at(now), deadline, version, NULL);
            r = r == -ESTALE ? 1 : r;
        }
        if (r <= 0) {
            return r;
        }
        if (fi_time_left(deadline) == 0) {
            return others_put(c);
        }
    }
}

static int put_fenced(fi_net_cell_t *c, const fi_net_put_t *p, const char *subject, int64_t deadline,
                      uint64_t *version) {
    char fence[FI_SUBJECT_MAX];

    fi_net_cell_subject(c, fence, "f", p->index);
    for (;;) {
        uint64_t last = fi_load_relaxed64(&c->last);
        uint64_t known = last;
        int r = raise_fence(c, p, fence, deadline, &last);
        if (r == 0 && last == 0) {
            r = 1; /* the fence is there, so the stream ends elsewhere */
        } else if (r == 0) {
            known = last;
            r = store(c, subject, p->data, p->len, ends_at(last), deadline, version, NULL);
            if (r == 0) {
                return 0;
            }
            r = r == -ESTALE ? 1 : r;
        }
        if (r <= 0) {
            return r;
        }
        if (!c->clustered) {
            return put_fenced_alone(c, p, subject, fence, deadline, version);
        }
        r = try_again(c, known, deadline);
        if (r < 0) {
            return r;
        }
    }
}

static int put(fi_net_cell_t *c, const fi_net_put_t *p) {
    char subject[FI_SUBJECT_MAX];
    int64_t deadline = fi_deadline(c->patience);
    uint64_t version;
    int r;

    if (!p->data && p->len > 0) {
        return fi_fail(-EINVAL, "ferry_cell_put was given NULL for %zu bytes", p->len);
    }
    if (p->len > c->max_bytes) {
        return fi_fail(-EMSGSIZE, "the cell \"%s\" has room for values of %" PRIu64 " bytes, not of %zu", c->name,
                       c->max_bytes, p->len);
    }
    fi_net_cell_subject(c, subject, "", p->index);
    r = p->token     ? put_fenced(c, p, subject, deadline, &version)
        : p->only_if ? put_if(c, p, subject, deadline, &version)
                     : store(c, subject, p->data, p->len, (condition_t){.kind = ALWAYS}, deadline, &version, NULL);
    if (r == 0 && p->version) {
        *p->version = version;
    }
    return r;
}

int fi_net_cell_put(fi_net_cell_t *c, const fi_net_put_t *p) {
    int r = fi_net_cell_enter(c, p->index);

    return r < 0 ? r : fi_net_cell_leave(c, put(c, p));
}
