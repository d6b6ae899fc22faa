/* SPDX-License-Identifier: MIT
 *
 * The streams of durable topics: how much they keep, and where a receiver begins.
 *
 * Whoever opens a topic first makes its stream.  A sender that states a bound later changes it for all; what it does
 * not state stays as it is.  Two that state different ones at the same time end with one or the other, or one bound of
 * each.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/error.h"
#include "net/ask.h"
#include "net/durable.h"

#define ASK_NS 5000000000ll
#define DEFAULT_BYTES (1ull << 30)

/* What the engine answers about a stream, as far as it matters here. */
typedef struct stream_state {
    fi_kept_bounds_t kept;
    uint64_t replicas;
    uint64_t first, last; /* numbers of what is kept; `first` is one more than `last` when nothing is */
    char created[FI_CREATED_MAX];
} stream_state_t;

/* -1: no limit. */
static void put_bound(char text[24], uint64_t bound) {
    if (bound) {
        snprintf(text, 24, "%" PRIu64, bound);
    } else {
        snprintf(text, 24, "-1");
    }
}

int fi_durable_topic_json(const fi_net_t *net, const char *channel, const fi_kept_bounds_t *kept, int replicas,
                          char json[FI_DURABLE_JSON_MAX]) {
    char subject[FI_SUBJECT_MAX], stream[FI_SUBJECT_MAX];
    char messages[24], bytes[24];

    fi_durable_names(net, FERRY_TOPIC, channel, subject, stream);
    put_bound(messages, kept->messages);
    put_bound(bytes, kept->bytes ? kept->bytes : DEFAULT_BYTES);
    return snprintf(json, FI_DURABLE_JSON_MAX,
                    "{\"name\":\"%s\",\"subjects\":[\"%s.*\"],\"retention\":\"limits\",\"storage\":\"file\","
                    "\"discard\":\"old\",\"max_consumers\":-1,\"max_msgs\":%s,\"max_bytes\":%s,\"max_age\":%" PRIu64
                    ",\"max_msg_size\":-1,\"num_replicas\":%d,\"duplicate_window\":%llu}",
                    stream, subject, messages, bytes, kept->age, replicas,
                    (unsigned long long)(kept->age ? fi_min(kept->age, FI_DURABLE_IDS_NS) : FI_DURABLE_IDS_NS));
}

static int look(fi_ask_t *a, const char *channel, stream_state_t *s) {
    char base[FI_SUBJECT_MAX], stream[FI_SUBJECT_MAX], subject[FI_DURABLE_API_MAX];
    natsMsg *msg = NULL;
    int code = 0;

    fi_durable_names(a->net, FERRY_TOPIC, channel, base, stream);
    fi_durable_api(subject, "STREAM.INFO", stream, "");
    int r = fi_durable_ask(a, subject, "", &code, &msg);
    if (r < 0) {
        return r;
    }
    *s = (stream_state_t){.replicas = 1};
    bool known =
        fi_durable_number(msg, "\"first_seq\":", &s->first) && fi_durable_number(msg, "\"last_seq\":", &s->last);
    (void)fi_durable_number(msg, "\"max_msgs\":", &s->kept.messages); /* -1 is no number */
    (void)fi_durable_number(msg, "\"max_bytes\":", &s->kept.bytes);
    (void)fi_durable_number(msg, "\"max_age\":", &s->kept.age);
    (void)fi_durable_number(msg, "\"num_replicas\":", &s->replicas);
    fi_durable_created(msg, s->created);
    fi_nats.natsMsg_Destroy(msg);
    if (code || !known) {
        return fi_durable_refused(a, code);
    }
    s->first = fi_max(s->first, 1ull);
    return 0;
}

int fi_durable_topic_bound(fi_ask_t *a, const char *channel, const fi_kept_bounds_t *kept) {
    char base[FI_SUBJECT_MAX], stream[FI_SUBJECT_MAX], subject[FI_DURABLE_API_MAX], json[FI_DURABLE_JSON_MAX];
    stream_state_t s;
    int code = 0;

    if (!kept->messages && !kept->bytes && !kept->age) {
        return 0;
    }
    int r = look(a, channel, &s);
    if (r < 0) {
        return r;
    }
    const fi_kept_bounds_t all = {.messages = kept->messages ? kept->messages : s.kept.messages,
                                  .bytes = kept->bytes ? kept->bytes : s.kept.bytes,
                                  .age = kept->age ? kept->age : s.kept.age};
    if (all.messages == s.kept.messages && all.bytes == s.kept.bytes && all.age == s.kept.age) {
        return 0;
    }
    fi_durable_names(a->net, FERRY_TOPIC, channel, base, stream);
    fi_durable_api(subject, "STREAM.UPDATE", stream, "");
    (void)fi_durable_topic_json(a->net, channel, &all, (int)fi_min(s.replicas, 5ull), json);
    r = fi_durable_ask(a, subject, json, &code, NULL);
    return r == 0 && code ? fi_durable_refused(a, code) : r;
}

/* The number of the message that is `count` before the end. */
static uint64_t last_of(const stream_state_t *s, uint64_t count) {
    return fi_max(s->first, s->last + 1 - fi_min(count, s->last));
}

int fi_durable_find_start(fi_net_t *net, const char *channel, const ferry_receiver_options_t *o, fi_replay_t *start) {
    fi_ask_t a = fi_ask_begin(net, ASK_NS, "read the durable topic", channel);
    stream_state_t s;

    int r = look(&a, channel, &s);
    if (r < 0) {
        return r;
    }
    *start = (fi_replay_t){.latest = s.last + 1};
    memcpy(start->created, s.created, sizeof start->created);
    switch (o->replay) {
    case FERRY_REPLAY_LAST:
        start->first = last_of(&s, o->replay_from);
        break;
    case FERRY_REPLAY_SEQUENCE:
        start->first = fi_min(fi_max(o->replay_from, 1ull), start->latest); /* the stream may have lost its end */
        break;
    case FERRY_REPLAY_TIME:
        start->since = fi_min(fi_max(o->replay_from, 1ull), (uint64_t)INT64_MAX); /* servers count no further */
        break;
    case FERRY_REPLAY_ALL:
        start->first = s.first;
        break;
    case FERRY_REPLAY_RETAINED:
        start->first = last_of(&s, o->no_history ? 0 : s.kept.messages);
    }
    return 0;
}
