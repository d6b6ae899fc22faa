/* SPDX-License-Identifier: MIT
 *
 * Answers of a handler: results, several of them, errors.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "ferry/look.h"
#include "platform/clock.h"
#include "rpc/put.h"
#include "rpc/service.h"

int fi_request_check(const ferry_request_t *rq) {
    if (!rq || rq->magic != FI_REQUEST_MAGIC) {
        return fi_fail(-EBADF, "this request was answered by its handler's return: it is valid only before that");
    }
    return 0;
}

/* ---- does anybody wait for it ---- */

/* The receiver's end is held. */
static bool is_over(const ferry_request_t *rq) {
    const fi_rxlink_t *l = rq->m ? rq->m->link : NULL;

    return fi_load_acquire32(&rq->head->flags) & FI_CALL_CANCELLED || (l && (l->ended || l->detached)) ||
           (rq->call.deadline != FI_NEVER && fi_now_about() >= rq->call.deadline);
}

static bool is_hurried(const ferry_request_t *rq) {
    return fi_load_acquire32(&rq->worker->service->hurry) != 0;
}

bool fi_request_is_cancelled(const ferry_request_t *rq) {
    return is_hurried(rq) || fi_request_is_over(rq);
}

bool fi_request_is_over(const ferry_request_t *rq) {
    fi_end_t *e = &rq->worker->rx->end;

    if (fi_load_acquire32(&rq->head->flags) & FI_CALL_CANCELLED || fi_end_enter(e, FI_END_RECEIVER) < 0) {
        return true;
    }
    bool over = is_over(rq);
    fi_end_leave(e);
    return over;
}

static int tell_over(const ferry_request_t *rq) {
    const char *method = rq->method->name;

    if (rq->call.deadline != FI_NEVER && fi_now_ns() >= rq->call.deadline) {
        return fi_fail(-ETIME, "the time of this call of \"%s\" has passed: nobody waits for its answer", method);
    }
    if (fi_load_acquire32(&rq->head->flags) & FI_CALL_CANCELLED) {
        return fi_fail(-ECANCELED, "this call of \"%s\" was cancelled by its caller", method);
    }
    if (is_hurried(rq)) {
        return fi_fail(-ECANCELED, "the service is being closed: this call of \"%s\" has no more time", method);
    }
    return fi_fail(-EPIPE, "the caller of \"%s\" is gone: nobody waits for its answer", method);
}

/* ---- a stream's caller may lag behind by so much ---- */

/* What the caller has consumed, as far as can be believed. */
static void look_at_consumed(ferry_request_t *rq) {
    uint32_t more = fi_load_acquire32(&rq->head->consumed) - rq->base - rq->consumed;

    for (more = more < rq->sent - rq->consumed ? more : rq->sent - rq->consumed; more > 0; more--) {
        rq->waiting -= rq->sizes[rq->consumed++ % FI_STREAM_RESULTS];
    }
}

struct credit {
    ferry_request_t *rq;
    uint64_t size;
};

static bool may_send(const struct credit *c) {
    const ferry_request_t *rq = c->rq;
    uint32_t behind = rq->sent - rq->consumed;

    return behind == 0 || (behind < FI_STREAM_RESULTS && rq->waiting + c->size <= FI_STREAM_BYTES);
}

static bool is_there(void *arg) {
    const struct credit *c = arg;

    look_at_consumed(c->rq);
    return may_send(c) || is_hurried(c->rq) || is_over(c->rq);
}

/* The thread that should consume. */
static void name_caller(fi_blocked_t *b, const fi_caller_t *c) {
    if (!c) {
        return; /* it is far */
    }
    b->keys = calloc(1, sizeof *b->keys);
    if (b->keys && fi_end_enter(&c->tx->end, FI_END_SENDER) == 0) {
        if (c->tx->link_count > 0) {
            fi_blocked_by(b, c->tx->links[0]);
        }
        fi_end_leave(&c->tx->end);
    }
}

/* What a listed wait for the reader of results is for. */
typedef struct awaited {
    char name[sizeof "results of ." + FI_SERVICE_NAME_MAX + FI_METHOD_NAME_MAX];
} awaited_t;

/* Lists the wait, and looks whether the caller waits for this thread. */
static int look_why(struct credit *c, fi_blocked_t *b, const fi_pace_t *pace, awaited_t *awaited) {
    const ferry_request_t *rq = c->rq;
    fi_receiver_t *rx = rq->worker->rx;
    fi_blocked_t now = {
        .what = FERRY_FOR_ROOM, .detects = true, .name = awaited->name, .since = pace->since, .sleeper = &rx->end};

    if (b->number == 0) {
        snprintf(awaited->name, sizeof awaited->name, "results of %s.%s", rq->worker->service->name, rq->method->name);
    }

    name_caller(&now, rq->caller);
    fi_waits_go_on(rq->worker->service->node, b, &now);
    int r = fi_end_enter(&rx->end, FI_END_RECEIVER);
    if (r == 0) {
        r = fi_receiver_judge(rx, is_there, c, b, rq->call.deadline);
        fi_end_leave(&rx->end);
    }
    return r;
}

static int await_credit(struct credit *c) {
    const ferry_request_t *rq = c->rq;
    fi_receiver_t *rx = rq->worker->rx;
    fi_pace_t pace = fi_pace_begin(FI_GRACE_NS);
    fi_blocked_t blocked = {.number = 0};
    awaited_t awaited;
    int r;

    do {
        r = fi_end_enter(&rx->end, FI_END_RECEIVER);
        if (r == 0) {
            r = fi_receiver_await(rx, is_there, c, fi_earlier(rq->call.deadline, pace.check));
            fi_end_leave(&rx->end);
        }
        if (r == -ETIMEDOUT && fi_pace_is_due(&pace, fi_now_ns())) {
            r = look_why(c, &blocked, &pace, &awaited);
            r = r == 0 ? -ETIMEDOUT : r;
        }
    } while (r == -EINTR || (r == -ETIMEDOUT && !fi_request_is_cancelled(rq)));
    fi_waits_strike(&blocked);
    return r == -ETIMEDOUT ? 0 : r; /* the caller looks why */
}

static int wait_for_credit(ferry_request_t *rq, uint64_t size) {
    struct credit c = {rq, size};

    look_at_consumed(rq);
    return may_send(&c) ? 0 : await_credit(&c);
}

static void count_result(ferry_request_t *rq, uint64_t size) {
    uint32_t counted = (uint32_t)fi_min(size, UINT32_MAX);

    rq->sizes[rq->sent++ % FI_STREAM_RESULTS] = counted;
    rq->waiting += counted;
}

/* ---- sending ---- */

static int check_answer(ferry_request_t *rq, fi_reply_kind_t kind, uint64_t size) {
    if (rq->answered) {
        return fi_fail(-EALREADY, "this call of \"%s\" was answered before: it has one last answer", rq->method->name);
    }
    if (kind == FI_REPLY_MORE && !(rq->call.flags & FI_CALL_STREAMS)) {
        return fi_fail(-EPERM,
                       "the caller of \"%s\" takes one result: use ferry_reply, or mark the method as `streams`",
                       rq->method->name);
    }
    if (kind == FI_REPLY_MORE) {
        int r = wait_for_credit(rq, size);
        if (r < 0) {
            return r;
        }
    }
    bool is_late = rq->call.deadline != FI_NEVER && fi_now_about() >= rq->call.deadline;
    bool is_long = kind == FI_REPLY_MORE || size > FI_INLINE_MAX;
    return is_late || (is_long && fi_request_is_cancelled(rq)) ? tell_over(rq) : 0;
}

/* Nobody wants to hear it: that counts as answered. */
static bool is_one_way(const ferry_request_t *rq) {
    return (rq->call.flags & FI_CALL_ONE_WAY) != 0;
}

static int begin(ferry_request_t *rq) {
    const fi_caller_t *c = rq->caller;

    if (!c || !c->tx || fi_load_acquire32(&c->gone)) {
        return fi_fail(-EPIPE, "the caller of \"%s\" is gone: nobody waits for its answer", rq->method->name);
    }
    return fi_end_enter(&c->tx->end, FI_END_SENDER);
}

static void sent(ferry_request_t *rq, fi_reply_kind_t kind, uint64_t size) {
    if (kind == FI_REPLY_MORE) {
        count_result(rq, size);
        rq->unsaid = 0;
        return;
    }
    rq->answered = true;
    rq->failed = kind == FI_REPLY_ERROR;
}

static inline int put_bytes(fi_sender_t *tx, const ferry_request_t *rq, fi_reply_head_t head, const void *data,
                            uint64_t size) {
    void *at;
    int r = fi_put_begin(tx, data, size, rq->call.deadline, &at);

    if (fi_unlikely(r < 0)) {
        return r;
    }
    head.flags = fi_head_pad(size);
    *(fi_reply_head_t *)at = head;
    return fi_put_end(tx);
}

__attribute__((noinline)) static int put_message(fi_sender_t *tx, const ferry_request_t *rq, fi_reply_head_t head,
                                                 ferry_msg_t *m) {
    return fi_put_message(tx, m, &head, rq->call.deadline);
}

__attribute__((noinline)) static int reply_far(ferry_request_t *rq, fi_reply_kind_t kind, int error, const void *data,
                                               uint64_t size, const ferry_msg_t *m) {
    if (fi_node_is_forked(rq->worker->service->node)) { /* else its end tells */
        return fi_fail(-ECHILD, "this request belongs to the parent process: after fork(), the child answers nothing");
    }
    return fi_far_calls->reply(rq, rq->far, kind, error, m ? m->data : data, size);
}

static int try_to_reply(ferry_request_t *rq, fi_reply_kind_t kind, int error, const void *data, uint64_t size,
                        ferry_msg_t *m) {
    const fi_reply_head_t head = {.id = rq->call.id, .kind = kind, .error = error, .attempt = rq->attempt};

    int r = check_answer(rq, kind, size);
    if (r < 0) {
        return r;
    }
    if (fi_unlikely(rq->far != NULL)) {
        r = is_one_way(rq) ? 0 : reply_far(rq, kind, error, data, size, m);
    } else if (fi_likely(!is_one_way(rq))) {
        r = begin(rq);
        if (fi_unlikely(r < 0)) {
            return r;
        }
        fi_sender_t *tx = rq->caller->tx;
        r = fi_unlikely(m != NULL) ? put_message(tx, rq, head, m) : put_bytes(tx, rq, head, data, size);
        rq->waits |= tx->backlog_count > 0;
        fi_end_leave(&tx->end);
    }
    if (fi_likely(r == 0)) {
        sent(rq, kind, size);
    }
    return r == -ETIMEDOUT || r == -ECANCELED ? tell_over(rq) : r;
}

int fi_reply_unsaid(ferry_request_t *rq, int r) {
    if (r < 0 && rq && rq->magic == FI_REQUEST_MAGIC) {
        rq->unsaid = r;
    }
    return r;
}

static int send_reply(ferry_request_t *rq, fi_reply_kind_t kind, int error, const void *data, uint64_t size,
                      ferry_msg_t *m) {
    int r = try_to_reply(rq, kind, error, data, size, m);

    return fi_likely(r == 0) ? 0 : fi_reply_unsaid(rq, r);
}

int fi_reply(ferry_request_t *rq, fi_reply_kind_t kind, int error, const void *data, uint64_t size) {
    return send_reply(rq, kind, error, data, size, NULL);
}

int fi_reply_msg(ferry_request_t *rq, fi_reply_kind_t kind, ferry_msg_t *m) {
    if (!m || (m->magic != FI_MSG_SENT && m->magic != FI_MSG_TAKEN)) {
        return fi_reply_unsaid(rq, fi_fail(-EBADF, "this message handle was released before, or is none"));
    }
    return send_reply(rq, kind, 0, NULL, m->size, m);
}

static int new_alone(size_t size, void **data, ferry_msg_t **m) {
    ferry_msg_t *alone = fi_alone_new(FI_MSG_SENT, size);

    if (!alone) {
        return -ENOMEM;
    }
    *data = alone->copy;
    *m = alone;
    return 0;
}

static int new_reply(ferry_request_t *rq, size_t size, void **data, ferry_msg_t **m) {
    if (rq->far) {
        return new_alone(size, data, m);
    }
    int r = begin(rq);
    if (r < 0) {
        return r;
    }
    r = fi_sent_new(rq->caller->tx, size, fi_patience_of_waiter(rq->call.deadline), data, m);
    fi_end_leave(&rq->caller->tx->end);
    return r == -ETIMEDOUT || r == -ECANCELED ? tell_over(rq) : r;
}

int fi_reply_new(ferry_request_t *rq, size_t size, void **data, ferry_msg_t **m) {
    return fi_reply_unsaid(rq, new_reply(rq, size, data, m));
}

int fi_reply_error(ferry_request_t *rq, int32_t code, const char *words, const void *detail, size_t detail_size) {
    uint64_t before = fi_error_detail_at(strlen(words) + 1);
    fi_error_head_t head = {code, (uint32_t)strlen(words) + 1};
    uint64_t size = before + detail_size;

    unsigned char *bytes = calloc(1, size);
    if (!bytes) {
        return fi_reply_unsaid(rq, fi_fail(-ENOMEM, "no memory for an error of \"%s\"", rq->method->name));
    }
    memcpy(bytes, &head, sizeof head);
    memcpy(bytes + sizeof head, words, head.words);
    if (detail_size > 0) {
        memcpy(bytes + before, detail, detail_size);
    }
    int r = fi_reply(rq, FI_REPLY_ERROR, 0, bytes, size);
    free(bytes);
    return r;
}
