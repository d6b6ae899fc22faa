/* SPDX-License-Identifier: MIT
 *
 * All durable queues of a space: listing, purging and removing them.
 */
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "net/ask.h"
#include "net/durable.h"
#include "net/streams.h"

#define PATIENCE_NS INT64_C(5000000000)

struct listing {
    fi_net_t *net;
    int (*each)(const ferry_durable_info_t *info, void *arg);
    void *arg;
};

static int tell(const jsStreamInfo *info, void *arg) {
    struct listing *l = arg;
    char name[104];

    if (!fi_streams_name(l->net, "q", info->Config, name)) {
        return 0;
    }
    const ferry_durable_info_t told = {.queue = name,
                                       .messages = info->State.Msgs,
                                       .bytes = info->State.Bytes,
                                       .sent = info->State.LastSeq,
                                       .oldest_ns = info->State.Msgs > 0 ? (uint64_t)info->State.FirstTime : 0};
    return l->each(&told, l->arg);
}

int fi_durable_each(fi_net_t *net, int (*each)(const ferry_durable_info_t *info, void *arg), void *arg) {
    struct listing l = {net, each, arg};

    return fi_streams_each(net, "q", "the durable queues", tell, &l);
}

int fi_durable_purge(fi_net_t *net, const char *queue, bool remove, uint64_t *messages) {
    fi_ask_t ask =
        fi_ask_begin(net, PATIENCE_NS, remove ? "remove the durable queue" : "purge the durable queue", queue);
    char subject[FI_SUBJECT_MAX];
    char stream[FI_SUBJECT_MAX];
    uint64_t there = 0;
    bool tried = false;
    natsStatus s;

    fi_durable_names(net, queue, subject, stream);
    do {
        jsStreamInfo *info = NULL;
        int r = fi_ask_next(&ask);
        if (r < 0) {
            return r;
        }
        s = fi_nats.js_GetStreamInfo(&info, net->js, stream, &ask.options, &ask.code);
        if (s == NATS_OK) {
            there = fi_max(there, info->State.Msgs); /* the first try may have done it, and its answer been lost */
            tried = true;
            fi_nats.jsStreamInfo_Destroy(info);
            s = remove ? fi_nats.js_DeleteStream(net->js, stream, &ask.options, &ask.code)
                       : fi_nats.js_PurgeStream(net->js, stream, &ask.options, &ask.code);
        }
    } while (fi_ask_again(&ask, s));
    if (ask.code == JSStreamNotFoundErr && remove && tried) {
        s = NATS_OK; /* likewise */
    } else if (ask.code == JSStreamNotFoundErr) {
        return fi_fail(-ENOENT, "there is no durable queue '%s' in this space", queue);
    }
    if (s != NATS_OK) {
        return fi_ask_fail(&ask, s);
    }
    *messages = there;
    return 0;
}
