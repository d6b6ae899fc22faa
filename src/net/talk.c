/* SPDX-License-Identifier: MIT
 *
 * Names of things in the engine, and sending to them.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "net/net.h"
#include "platform/clock.h"

#define UP_LOOK_NS 5000000ll /* between looks for a connection that is coming back */

void fi_net_word(const char *name, char *out, size_t cap) {
    size_t i = 0;

    for (; name[i] && i + 1 < cap; i++) {
        out[i] = name[i] == '.' ? '~' : name[i];
    }
    out[i] = '\0';
}

void fi_net_subject(const fi_net_t *net, char out[FI_SUBJECT_MAX], const char *kind, const char *name) {
    char word[120];

    fi_net_word(name ? name : "", word, sizeof word);
    snprintf(out, FI_SUBJECT_MAX, "ferry.%s.%s%s%s", net->space, kind, name ? "." : "", word);
}

void fi_net_node_subject(const fi_net_t *net, char out[FI_SUBJECT_MAX], uint64_t node, const char *what) {
    snprintf(out, FI_SUBJECT_MAX, "ferry.%s.n.%016" PRIx64 "%s%s", net->space, node, what ? "." : "", what ? what : "");
}

void fi_net_stream(const fi_net_t *net, char out[FI_SUBJECT_MAX], const char *kind, const char *name) {
    char word[120];

    fi_net_word(name, word, sizeof word);
    snprintf(out, FI_SUBJECT_MAX, "FERRY=%s=%s=%s", net->space, kind, word);
}

static int meaning(natsStatus s) {
    switch (s) {
    case NATS_OK:
        return 0;
    case NATS_TIMEOUT:
        return -ETIMEDOUT;
    case NATS_NOT_PERMITTED:
    case NATS_CONNECTION_AUTH_FAILED:
        return -EACCES;
    case NATS_NO_RESPONDERS:
    case NATS_NOT_FOUND:
        return -ENOENT;
    case NATS_MAX_PAYLOAD:
        return -EMSGSIZE;
    case NATS_NO_MEMORY:
        return -ENOMEM;
    case NATS_CONNECTION_CLOSED:
    case NATS_CONNECTION_DISCONNECTED:
    case NATS_STALE_CONNECTION:
    case NATS_INSUFFICIENT_BUFFER:
    case NATS_IO_ERROR:
        return -ENOTCONN;
    default:
        return -EIO;
    }
}

/* The library begins with the place in its source, which says nothing to users: "(conn.c:1905): ". */
static const char *without_place(const char *words) {
    const char *end = words[0] == '(' ? strstr(words, "): ") : NULL;

    return end ? end + strlen("): ") : words;
}

/* The library keeps a thread's last words, and has none for some errors: then those that it has are about something
 * else. */
const char *fi_net_words(natsStatus s) {
    natsStatus of = NATS_OK;
    const char *words = fi_nats.nats_GetLastError(&of);

    return words && *words && of == s ? without_place(words) : fi_nats.natsStatus_GetText(s);
}

int fi_net_fail(fi_net_t *net, natsStatus s, const char *doing, const char *what) {
    int r = meaning(s);

    if (r == 0) {
        return 0;
    }
    if (r == -ENOTCONN || !fi_net_is_up(net)) {
        return fi_fail(-ENOTCONN, "cannot %s '%s': there is no connection to a server now; it is being tried again",
                       doing, what);
    }
    return fi_fail(r, "cannot %s '%s': %s", doing, what, fi_net_words(s));
}

/* 'Permissions Violation for Publish to "SUBJECT"'. */
bool fi_net_denies(const char *words, const char *subject) {
    const char *quoted = strchr(words, '"');
    size_t len = strlen(subject);

    return quoted && strncmp(quoted + 1, subject, len) == 0 && quoted[1 + len] == '"';
}

bool fi_net_newest_denial(fi_net_t *net, uint32_t before, char words[256]) {
    if (fi_load_acquire32(&net->denials) == before) {
        return false;
    }
    pthread_mutex_lock(&net->lock);
    memcpy(words, net->denied, sizeof net->denied);
    pthread_mutex_unlock(&net->lock);
    return true;
}

bool fi_net_was_denied(fi_net_t *net, uint32_t before, const char *subject) {
    char words[sizeof net->denied];

    return fi_net_newest_denial(net, before, words) && fi_net_denies(words, subject);
}

int fi_net_send(fi_net_t *net, natsConnection *c, const char *subject, const void *data, size_t len) {
    natsStatus s = fi_nats.natsConnection_Publish(c, subject, data, (int)len);

    return s == NATS_OK ? 0 : fi_net_fail(net, s, "send to", subject);
}

bool fi_net_await(const fi_net_t *net, int64_t deadline) {
    while (!fi_net_is_up(net) && fi_now_ns() < deadline) {
        fi_sleep_until(fi_now_ns() + UP_LOOK_NS);
    }
    return fi_net_is_up(net);
}

bool fi_net_flush(const fi_net_t *net, natsConnection *c, int64_t ms) {
    int64_t end = fi_now_ns() + ms * 1000000;

    bool up = fi_net_await(net, end);
    int64_t left = (end - fi_now_ns()) / 1000000;
    return up && fi_nats.natsConnection_FlushTimeout(c, left > 0 ? left : 1) == NATS_OK;
}

int fi_net_subscribe(fi_net_t *net, natsConnection *c, const char *subject, const char *queue, natsMsgHandler cb,
                     void *arg, natsSubscription **sub) {
    sigset_t before;

    fi_net_signals_off(&before);
    natsStatus s = queue ? fi_nats.natsConnection_QueueSubscribe(sub, c, subject, queue, cb, arg)
                         : fi_nats.natsConnection_Subscribe(sub, c, subject, cb, arg);
    if (s == NATS_OK && (s = fi_nats.natsSubscription_SetPendingLimits(*sub, -1, -1)) != NATS_OK) {
        fi_nats.natsSubscription_Destroy(*sub);
        *sub = NULL;
    }
    fi_net_signals_restore(&before);
    return s == NATS_OK ? 0 : fi_net_fail(net, s, "subscribe to", subject);
}

int fi_net_stream_check(fi_net_t *net, const char *what) {
    if (net->js) {
        jsAccountInfo *info = NULL;
        jsErrCode code = 0;
        jsOptions o;
        fi_nats.jsOptions_Init(&o);
        o.Wait = FI_NET_ASK_MS * 4;
        natsStatus s = fi_nats.js_GetAccountInfo(&info, net->js, &o, &code);
        fi_nats.jsAccountInfo_Destroy(info);
        if (s == NATS_OK) {
            return 0;
        }
        if (s != NATS_NO_RESPONDERS && code == 0) {
            return fi_net_fail(net, s, "open", what);
        }
    }
    return fi_fail(-ENOTSUP, "%s need a server with JetStream: start it with -js, or use `ferry engine`", what);
}
