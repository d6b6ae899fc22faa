/* SPDX-License-Identifier: MIT
 *
 * All durable queues and topics of a space: listing, purging and removing them.
 */
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "net/ask.h"
#include "net/parcel.h"
#include "net/streams.h"
#include "net/token.h"

#define PATIENCE_NS INT64_C(5000000000)

struct listing {
    fi_net_t *net;
    ferry_kind_t kind;
    int (*each)(const ferry_durable_info_t *info, void *arg);
    void *arg;
};

/* Of large messages, beside the channel's own stream. */
static uint64_t bytes_of_pieces(fi_net_t *net, ferry_kind_t kind, const char *name) {
    char subject[FI_SUBJECT_MAX], stream[FI_SUBJECT_MAX];
    jsStreamInfo *info = NULL;
    jsErrCode code;
    uint64_t bytes = 0;

    fi_parcel_names(net, kind, name, subject, stream);
    if (fi_nats.js_GetStreamInfo(&info, net->js, stream, NULL, &code) == NATS_OK) {
        bytes = info->State.Bytes;
        fi_nats.jsStreamInfo_Destroy(info);
    }
    return bytes;
}

static int tell(const jsStreamInfo *info, void *arg) {
    struct listing *l = arg;
    char name[104];

    if (!fi_streams_name(l->net, fi_durable_word(l->kind), info->Config, name)) {
        return 0;
    }
    const ferry_durable_info_t told = {.queue = name,
                                       .messages = info->State.Msgs,
                                       .bytes = info->State.Bytes + bytes_of_pieces(l->net, l->kind, name),
                                       .sent = info->State.LastSeq,
                                       .oldest_ns = info->State.Msgs > 0 ? (uint64_t)info->State.FirstTime : 0,
                                       .kind = l->kind};
    return l->each(&told, l->arg);
}

int fi_durable_each(fi_net_t *net, int (*each)(const ferry_durable_info_t *info, void *arg), void *arg) {
    struct listing l = {net, FERRY_QUEUE, each, arg};

    int r = fi_streams_each(net, fi_durable_word(FERRY_QUEUE), "the durable queues", tell, &l);
    l.kind = FERRY_TOPIC;
    return r != 0 ? r : fi_streams_each(net, fi_durable_word(FERRY_TOPIC), "the durable topics", tell, &l);
}

static void purge_pieces(fi_net_t *net, ferry_kind_t kind, const char *name, bool remove) {
    char subject[FI_SUBJECT_MAX], stream[FI_SUBJECT_MAX];
    jsErrCode code;

    fi_parcel_names(net, kind, name, subject, stream);
    if (remove) {
        (void)fi_nats.js_DeleteStream(net->js, stream, NULL, &code);
        fi_token_names(net, kind, name, subject, stream);
        (void)fi_nats.js_DeleteStream(net->js, stream, NULL, &code);
    } else {
        (void)fi_nats.js_PurgeStream(net->js, stream, NULL, &code);
    }
}

/* 1: there is no such stream. */
static int purge(fi_net_t *net, ferry_kind_t kind, const char *name, bool remove, uint64_t *messages) {
    fi_ask_t ask = fi_ask_begin(net, PATIENCE_NS, remove ? "remove what is durable of" : "purge the durable", name);
    char subject[FI_SUBJECT_MAX];
    char stream[FI_SUBJECT_MAX];
    uint64_t there = 0;
    bool tried = false;
    natsStatus s;

    fi_durable_names(net, kind, name, subject, stream);
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
        return 1;
    }
    if (s != NATS_OK) {
        return fi_ask_fail(&ask, s);
    }
    purge_pieces(net, kind, name, remove);
    *messages = there;
    return 0;
}

int fi_durable_purge(fi_net_t *net, const char *name, bool remove, uint64_t *messages) {
    int r = purge(net, FERRY_QUEUE, name, remove, messages);

    r = r == 1 ? purge(net, FERRY_TOPIC, name, remove, messages) : r;
    return r == 1 ? fi_fail(-ENOENT, "there is no durable queue or topic '%s' in this space", name) : r;
}
