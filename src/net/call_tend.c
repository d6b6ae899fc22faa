/* SPDX-License-Identifier: MIT
 *
 * Looking after calls that go far while their thread waits: for one answer alone in an inbox of its own, and for those
 * that take long by asking who has them.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "net/call_client.h"
#include "platform/clock.h"

#define MILLISECOND_NS 1000000ll
#define DIRECT_NS 5000000ll /* how long a thread waits for one answer alone */

/* ---- one answer alone ---- */

/* Takes what has come, or comes in `ms`, from the thread's own inbox. */
static bool take_from_own(fi_far_client_t *fk, int64_t ms) {
    fi_far_call_t *fc = fk->direct;
    natsMsg *msg = NULL;
    uint64_t client = 0;

    natsStatus s = fi_nats.natsSubscription_NextMsg(&msg, fk->direct_sub, ms);
    if (s == NATS_NO_RESPONDERS) { /* of this call: after one that was given up the inbox is another one */
        if (fc->attempt == 1) {
            fi_far_call_nobody(fk, fc);
        }
        return true;
    }
    if (s != NATS_OK) {
        return false;
    }
    fi_heard_t h = {.msg = msg};
    const char *subject = fi_nats.natsMsg_GetSubject(msg);
    size_t n = strlen(fk->direct_inbox) + 1;
    if (strlen(subject) > n && fi_far_read_token(subject + n, &client, &h)) {
        fi_far_client_take_one(fk, &h);
    }
    fi_nats.natsMsg_Destroy(msg);
    return true;
}

void fi_far_client_look_direct(fi_far_client_t *fk) {
    while (fk->direct && take_from_own(fk, 0)) {
    }
}

/* The thread is going to wait for everything: the answer shall come where that is heard of. */
static void move(fi_far_client_t *fk, fi_far_call_t *fc, int64_t now) {
    fc->look_after = MILLISECOND_NS;
    fc->look_at = now + fc->look_after;
    fi_far_call_frame(fk, fc, fc->server, (fi_call_frame_t){.type = FI_FRAME_PROBE, .moves = 1}, true, true);
}

/* Until the server has said so, the answer may still come the old way. */
static int64_t look_in_own(fi_far_client_t *fk, fi_far_call_t *fc, int64_t now) {
    if (fc->look_at == 0) {
        move(fk, fc, now);
    } else if (now >= fc->look_at) {
        fi_far_client_look_direct(fk);
        fc->look_after = fi_earlier(2 * fc->look_after, FI_CALLS_ASK_NS);
        fc->look_at = now + fc->look_after;
    }
    return fk->direct == fc ? fc->look_at : FI_NEVER;
}

bool fi_far_client_take_direct(ferry_client_t *k, int64_t timeout) {
    fi_far_client_t *fk = fi_far_of(k);
    const fi_far_call_t *fc = fk->direct;

    if (!fc || fc->look_at != 0) {
        return false;
    }
    int64_t left = fi_earlier(fc->begun + DIRECT_NS - fi_now_ns(), timeout < 0 ? FI_NEVER : timeout);
    return left > 0 && take_from_own(fk, (left + MILLISECOND_NS - 1) / MILLISECOND_NS);
}

static bool open_direct(fi_far_client_t *fk) {
    char subject[sizeof fk->direct_inbox + 4];
    natsInbox *inbox = NULL;

    if (fk->direct_sub) {
        return true;
    }
    if (fi_nats.natsInbox_Create(&inbox) != NATS_OK) {
        return false;
    }
    snprintf(fk->direct_inbox, sizeof fk->direct_inbox, "%s", (const char *)inbox);
    snprintf(subject, sizeof subject, "%s.>", fk->direct_inbox);
    fi_nats.natsInbox_Destroy(inbox);
    return fi_nats.natsConnection_SubscribeSync(&fk->direct_sub, fk->calls->net->control, subject) == NATS_OK;
}

/* Can the thread wait for this call's answer alone? */
bool fi_far_call_is_alone(fi_far_client_t *fk, const fi_far_call_t *fc, uint32_t flags) {
    return flags & FI_CALL_AWAITED && fk->open == 1 && fk->k->under_way == 1 && !fk->foreign && !fk->k->rx->fd_mode &&
           fc->size <= fi_calls_piece(fk->calls) && fi_net_is_up(fk->calls->net) && open_direct(fk);
}

/* ---- looking after calls ---- */

/* Questions are counted, and not time: what stands still hears no answers. */
#define MOST_SILENT (FI_NET_DEAD_NS / FI_CALLS_ASK_AGAIN_NS)

/* A foreign service cannot be asked for a call, but whether it is there: "no responders" counts as silence. */
static void ping(fi_far_client_t *fk, const fi_far_call_t *fc) {
    char subject[FI_SUBJECT_MAX];
    char reply[FI_SUBJECT_MAX];

    fi_foreign_subject("PING", fk->k->service, subject);
    fi_far_reply_subject(fk, fc->c->id, fc->attempt, true, reply);
    (void)fi_calls_publish(fk->calls, fk->calls->net->control, subject, reply, "", 0);
}

static void ask(fi_far_client_t *fk, fi_far_call_t *fc, int64_t now) {
    fi_net_t *net = fk->calls->net;

    fc->ask_at = now + FI_CALLS_ASK_AGAIN_NS;
    if (!fi_net_is_up(net)) {
        fc->silent = 0;
        return;
    }
    if (fc->silent >= MOST_SILENT) {
        fi_far_call_try_next(fk, fc);
        return;
    }
    if (fc->foreign) {
        fc->silent += fc->cut; /* whether its answer is lost or still to come, nobody can be asked */
        ping(fk, fc);
        return;
    }
    fc->silent++;
    if (fc->coming && now - fc->came_at >= FI_CALLS_ASK_AGAIN_NS) {
        fi_far_call_pull(fk, fc);
    }
    fi_far_call_frame(fk, fc, fc->server,
                      (fi_call_frame_t){.type = FI_FRAME_PROBE, .a = fc->consumed, .c = fc->coming ? fc->serial : 0},
                      true, true);
}

/* A server that denies what was sent says so some time later. */
static bool is_denied(const fi_far_client_t *fk, const fi_far_call_t *fc) {
    fi_net_t *net = fk->calls->net;
    bool denied = false;

    if (fi_load_acquire32(&net->denials) != fc->denials) {
        pthread_mutex_lock(&net->lock);
        denied = strstr(net->denied, fk->prefix) != NULL;
        pthread_mutex_unlock(&net->lock);
    }
    return denied;
}

static int64_t tend_one(fi_far_client_t *fk, fi_far_call_t *fc, int64_t now) {
    fi_net_t *net = fk->calls->net;
    uint32_t times_up = fi_load_acquire32(&net->times_up);

    if (fc->again_at) {
        if (now < fc->again_at) {
            return fc->again_at;
        }
        int r = fi_far_call_send(fk, fc);
        if (r < 0) {
            fi_far_call_ends(fk, fc, r);
        }
        return fc->ask_at;
    }
    if (fi_load_acquire_ptr(&fc->kept)) { /* nobody can have it yet */
        fc->silent = 0;
        fc->ask_at = now + FI_CALLS_ASK_AGAIN_NS;
        return fc->ask_at;
    }
    if (times_up != fi_load_relaxed32(&fc->times_up) && fi_net_is_up(net)) {
        fi_store_relaxed32(&fc->times_up, times_up); /* what was on its way may be lost */
        fc->cut = true;
        fc->ask_at = now;
    }
    int64_t look_at = FI_NEVER;
    if (fk->direct == fc && now - fc->begun >= DIRECT_NS) {
        look_at = look_in_own(fk, fc, now);
        if (fc->over) {
            return FI_NEVER;
        }
    } else if (fk->direct == fc) {
        return fc->begun + DIRECT_NS;
    }
    if (now >= fc->ask_at) {
        if (is_denied(fk, fc)) {
            fi_far_call_ends(fk, fc, -EACCES);
            return FI_NEVER;
        }
        ask(fk, fc, now);
    }
    int64_t next = fc->again_at ? fi_earlier(fc->again_at, fc->ask_at) : fc->ask_at;
    return fc->over ? FI_NEVER : fi_earlier(next, look_at);
}

int64_t fi_far_client_tend(ferry_client_t *k, int64_t now) {
    fi_far_client_t *fk = fi_far_of(k);
    int64_t next = FI_NEVER;

    for (uint32_t i = 0; fk->open > 0 && i < k->places; i++) {
        ferry_call_t *c = k->table[i];
        fi_far_call_t *fc = c->far;
        if (fc && !fc->over && c->open) {
            next = fi_earlier(next, tend_one(fk, fc, now));
        }
    }
    return next;
}
