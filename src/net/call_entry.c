/* SPDX-License-Identifier: MIT
 *
 * The way from rpc/ to calls that go far.  These run on the program's thread and use the NATS library, which has locks
 * of its own and sleeps with them: who was cancelled there would leave the connection deaf.  So cancellation is off in
 * here; it stays possible where rpc/ sleeps, and between the pieces of a large argument.
 */
#include "net/call_client.h"
#include "platform/cancel.h"

static int service_begins(ferry_service_t *s) {
    int cancel = fi_cancel_off();
    int r = fi_far_service_begins(s);

    fi_cancel_restore(cancel);
    return r;
}

static void service_drains(ferry_service_t *s) {
    int cancel = fi_cancel_off();

    fi_far_service_drains(s);
    fi_cancel_restore(cancel);
}

static void service_ends(ferry_service_t *s) {
    int cancel = fi_cancel_off();

    fi_far_service_ends(s);
    fi_cancel_restore(cancel);
}

static int start(ferry_client_t *k, ferry_call_t *c, const fi_wish_t *wish, const fi_call_head_t *head) {
    int cancel = fi_cancel_here();

    fi_far_of(k)->cancel = cancel;
    int r = fi_far_call_start(k, c, wish, head);
    fi_cancel_restore(cancel);
    return r;
}

static int watch(ferry_client_t *k) {
    int cancel = fi_cancel_off();
    int r = fi_far_client_watch(k);

    fi_cancel_restore(cancel);
    return r;
}

static bool take_in(ferry_client_t *k) {
    int cancel = fi_cancel_off();
    bool some = fi_far_client_take_in(k);

    fi_cancel_restore(cancel);
    return some;
}

static bool take_direct(ferry_client_t *k, int64_t timeout) {
    int cancel = fi_cancel_here();
    bool some = fi_far_client_take_direct(k, timeout);

    fi_cancel_restore(cancel);
    return some;
}

static int64_t tend(ferry_client_t *k, int64_t now) {
    int cancel = fi_cancel_off();
    int64_t next = fi_far_client_tend(k, now);

    fi_cancel_restore(cancel);
    return next;
}

static void cancel_call(ferry_call_t *c) {
    int cancel = fi_cancel_off();

    fi_far_call_cancel(c);
    fi_cancel_restore(cancel);
}

static void consumed(ferry_call_t *c, uint32_t count) {
    int cancel = fi_cancel_off();

    fi_far_call_consumed(c, count);
    fi_cancel_restore(cancel);
}

static void forget(ferry_call_t *c) {
    int cancel = fi_cancel_off();

    fi_far_call_forget(c);
    fi_cancel_restore(cancel);
}

static int64_t expected(ferry_client_t *k) {
    int cancel = fi_cancel_off();
    int64_t ns = fi_far_client_expected(k);

    fi_cancel_restore(cancel);
    return ns;
}

static unsigned servers(ferry_client_t *k, int64_t deadline) {
    int cancel = fi_cancel_here();
    unsigned count = fi_far_client_servers(k, deadline);

    fi_cancel_restore(cancel);
    return count;
}

/* Where rpc/ has turned it off already, or nothing is locked, there is no need. */
const fi_far_calls_t fi_calls_table = {
    .service_begins = service_begins,
    .service_drains = service_drains,
    .service_ends = service_ends,
    .reply = fi_far_service_reply,
    .done = fi_far_service_done,
    .client_open = fi_far_client_open,
    .client_close = fi_far_client_close,
    .start = start,
    .watch = watch,
    .take_in = take_in,
    .take_direct = take_direct,
    .tend = tend,
    .cancel = cancel_call,
    .consumed = consumed,
    .forget = forget,
    .holder = fi_far_call_holder,
    .expected = expected,
    .servers = servers,
};
