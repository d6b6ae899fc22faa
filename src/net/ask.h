/* SPDX-License-Identifier: MIT
 *
 * net/ask.h - asking the engine for something, again and again until a deadline: a server may be away, or elect a
 * leader.
 *
 *     fi_ask_t ask = fi_ask_begin(net, timeout, "put into the cell", name);
 *     do {
 *         int r = fi_ask_next(&ask);                 waits while there is no connection
 *         if (r < 0) return r;
 *         s = fi_nats.js_...(..., &ask.options, &ask.code);
 *     } while (fi_ask_again(&ask, s));
 *     return s == NATS_OK ? 0 : fi_ask_fail(&ask, s);
 *
 * What is asked for twice may happen twice: whoever asks sees to it that this does no harm.
 */
#ifndef FI_NET_ASK_H
#define FI_NET_ASK_H

#include "net/net.h"

typedef struct fi_ask {
    fi_net_t *net;
    int64_t timeout;
    int64_t deadline;
    const char *doing; /* "cannot DOING 'WHAT': why" */
    const char *what;
    uint32_t denials; /* when it began */
    uint32_t tries;
    bool failed;       /* the last one: the next one waits a moment */
    jsErrCode code;    /* what the engine's error was; 0: none */
    jsOptions options; /* its Wait is set for each try */
} fi_ask_t;

fi_ask_t fi_ask_begin(fi_net_t *net, int64_t timeout, const char *doing, const char *what);
/* Before each try. 0; -ETIMEDOUT, -ESHUTDOWN, with a sentence. The first one finds the deadline passed only if there is
 * no connection. */
int fi_ask_next(fi_ask_t *a);
/* Shall it be tried again? */
bool fi_ask_again(fi_ask_t *a, natsStatus s);
/* After that: may there be a stream of which a cluster says that there is none (fi_ask_is_gone)? True: ask again. */
bool fi_ask_doubt(fi_ask_t *a, uint64_t *since);
/*
 * The engine says that there is no such stream: is that so? The server of a cluster that assigns streams says so also
 * of one that it has not heard of yet: when it was elected just now, stood still while others went on, or is behind
 * with its work. So it must have said so for two seconds. `*since`: ns, the caller's, 0 unless it has said so; relaxed.
 */
bool fi_ask_is_gone(uint64_t *since);
/* What the status of the last try means, with a sentence. */
int fi_ask_fail(const fi_ask_t *a, natsStatus s);

#endif
