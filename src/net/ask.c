/* SPDX-License-Identifier: MIT */
#include "net/ask.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/error.h"
#include "platform/clock.h"

#define NAP_NS INT64_C(20000000)
#define GONE_NS UINT64_C(2000000000)

fi_ask_t fi_ask_begin(fi_net_t *net, int64_t timeout, const char *doing, const char *what) {
    fi_ask_t a = {.net = net,
                  .timeout = timeout,
                  .deadline = fi_deadline(timeout),
                  .doing = doing,
                  .what = what,
                  .denials = fi_load_acquire32(&net->denials)};

    fi_nats.jsOptions_Init(&a.options);
    return a;
}

/* Lets a moment pass; shutdown ends it. */
static void nap(const fi_ask_t *a) {
    struct pollfd halt = {.fd = a->net->node->halt, .events = POLLIN};
    int64_t left = fi_time_left(a->deadline);
    struct timespec t = fi_timespec(left < NAP_NS ? left : NAP_NS);

    (void)ppoll(&halt, 1, &t, NULL);
}

int fi_ask_next(fi_ask_t *a) {
    if (a->failed) {
        nap(a);
    }
    for (;;) {
        int64_t left = fi_time_left(a->deadline);
        bool up = fi_net_is_up(a->net);
        if (fi_node_is_shut(a->net->node)) {
            return fi_fail(-ESHUTDOWN, "the node was shut down: it cannot %s '%s'", a->doing, a->what);
        }
        if (left == 0 && (a->tries > 0 || !up)) {
            return fi_fail(-ETIMEDOUT, "cannot %s '%s': %s within %.3f ms", a->doing, a->what,
                           up ? "the server did not answer" : "there was no connection to a server",
                           (double)a->timeout / 1e6);
        }
        if (up) {
            int64_t ms = left / 1000000;
            a->options.Wait = ms < 50 ? 50 : ms > FI_NET_ASK_MS ? FI_NET_ASK_MS : ms;
            a->tries++;
            a->code = 0;
            return 0;
        }
        nap(a);
    }
}

static bool is_denied(const fi_ask_t *a) {
    return fi_load_acquire32(&a->net->denials) != a->denials;
}

static bool may_succeed(const fi_ask_t *a, natsStatus s) {
    switch (s) {
    case NATS_OK:
    case NATS_NOT_PERMITTED:
        return false;
    case NATS_TIMEOUT:
    case NATS_NO_RESPONDERS:
    case NATS_CONNECTION_DISCONNECTED:
    case NATS_STALE_CONNECTION:
    case NATS_INSUFFICIENT_BUFFER:
    case NATS_IO_ERROR:
        return !is_denied(a);
    default:
        return a->code == JSClusterNotAvailErr || a->code == JSClusterNotLeaderErr ||
               a->code == JSClusterNotAssignedErr;
    }
}

bool fi_ask_again(fi_ask_t *a, natsStatus s) {
    a->failed = may_succeed(a, s);
    return a->failed;
}

bool fi_ask_is_gone(uint64_t *since) {
    uint64_t now = (uint64_t)fi_now_ns();
    uint64_t first = fi_load_relaxed64(since);

    if (first == 0) {
        fi_store_relaxed64(since, first = now);
    }
    return now - first >= GONE_NS;
}

bool fi_ask_doubt(fi_ask_t *a, uint64_t *since) {
    if (a->code != JSStreamNotFoundErr) {
        return false;
    }
    a->failed = !fi_ask_is_gone(since);
    return a->failed;
}

static int denied(const fi_ask_t *a) {
    char words[sizeof a->net->denied] = "the server denies permission";

    (void)fi_net_newest_denial(a->net, a->denials, words);
    return fi_fail(-EACCES, "cannot %s '%s': %s", a->doing, a->what, words);
}

int fi_ask_fail(const fi_ask_t *a, natsStatus s) {
    if (s == NATS_NOT_PERMITTED || (a->code == 0 && is_denied(a))) { /* what was answered was not denied */
        return denied(a);
    }
    switch (a->code) {
    case JSInsufficientResourcesErr:
    case JSMaximumStreamsLimitErr:
    case JSMemoryResourcesExceededErr:
    case JSStorageResourcesExceededErr:
    case JSStreamStoreFailedErr:
        return fi_fail(-ENOSPC, "cannot %s '%s': the server has no room for it (%s)", a->doing, a->what,
                       fi_net_words(s));
    case JSNotEnabledErr:
    case JSNotEnabledForAccountErr:
        return fi_fail(-ENOTSUP,
                       "cannot %s '%s': the server runs without JetStream: start it with -js, or use `ferry engine`",
                       a->doing, a->what);
    default:
        return fi_net_fail(a->net, s, a->doing, a->what);
    }
}
