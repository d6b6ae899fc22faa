/* SPDX-License-Identifier: MIT */
#include "api/durable.h"

#include <errno.h>

#include "api/check.h"
#include "api/plain.h"
#include "base/error.h"
#include "net/parcel.h"

#define LEAST_AGE_NS 100000000ll /* the server's */

static int check_space(const fi_node_t *n, const char *channel, ferry_kind_t kind, const ferry_contract_t *c) {
    if (c->durable != FERRY_DURABLE) {
        return 0;
    }
    if (!n->net) {
        return fi_fail(-ENOTSUP,
                       "'%s' cannot be durable in a space of one machine: a NATS server keeps such messages; open the "
                       "space as nats://HOST/SPACE (`ferry engine` starts a server)",
                       channel);
    }
    if (kind == FERRY_TOPIC && c->hold == FERRY_HOLD_BACK) {
        return fi_fail(-ENOTSUP,
                       "'%s' cannot hold senders back and be a durable topic: its stream keeps what receivers have not "
                       "read, as far as its bounds go; leave `hold` at FERRY_HOLD_ANY",
                       channel);
    }
    return 0;
}

static int check_age(int64_t age, ferry_kind_t kind) {
    if (age < 0 || (age > 0 && kind != FERRY_TOPIC)) {
        return fi_fail(-EINVAL,
                       "`retain_age` is how long a durable topic keeps a message, in ns: 0 or more, and for topics");
    }
    return age == 0 || age >= LEAST_AGE_NS
               ? 0
               : fi_fail(-EINVAL,
                         "a `retain_age` of %lld ns is too short: the server keeps messages for %lld ns or longer",
                         (long long)age, LEAST_AGE_NS);
}

/* Before the server is asked: what it makes for a sender would stay, though that cannot be opened. (What other machines
 * have against it is heard later.) */
static int check_sender(fi_node_t *n, const char *channel, ferry_kind_t kind, const ferry_contract_t *c,
                        fi_part_t *part) {
    ferry_contract_t own = *c;
    fi_contract_t shared;

    int r = check_space(n, channel, kind, c);
    if (r < 0 || c->durable != FERRY_DURABLE) {
        return r;
    }
    own.retain = 0; /* the stream's matter */
    r = fi_sender_check(n, kind, &own, &shared);
    r = r < 0 ? r : fi_node_would_refuse(n, channel, (uint32_t)kind, true, &shared);
    return r < 0 ? r : fi_settle_plain_sender(n, channel, kind, c, part);
}

static int check_receiver(fi_node_t *n, const char *channel, ferry_kind_t kind, const ferry_receiver_options_t *o,
                          const ferry_contract_t *c, fi_rxpart_t *part) {
    fi_contract_t shared;

    int r = check_space(n, channel, kind, c);
    if (r < 0 || c->durable != FERRY_DURABLE) {
        return r;
    }
    r = fi_receiver_check(channel, kind, o, &shared);
    r = r < 0 ? r : fi_node_would_refuse(n, channel, (uint32_t)kind, false, &shared);
    return r < 0 ? r : fi_settle_plain_receiver(n, channel, kind, o, c, part);
}

int fi_settle_durable_sender(fi_node_t *n, const char *channel, ferry_kind_t kind, ferry_contract_t *c,
                             fi_part_t *part) {
    bool topic = kind == FERRY_TOPIC;

    part->kept = (fi_kept_bounds_t){.messages = c->retain, .bytes = c->quota, .age = (uint64_t)c->retain_age};
    int r = check_age(c->retain_age, kind);
    r = r == 0 ? check_sender(n, channel, kind, c, part) : r;
    r = r == 0 && n->net ? fi_durable_settle(n->net, channel, kind, &part->kept, c) : r;
    if (r < 0) {
        return r;
    }
    if (c->durable != FERRY_DURABLE) {
        return c->retain_age == 0
                   ? 0
                   : fi_fail(-EINVAL, "'%s' is not durable: `retain_age` is for durable topics", channel);
    }
    if (!topic) {
        fi_parcels_sweep(n->net, channel);
    }
    part->unhurried = true;
    part->explain = fi_durable_explain;
    part->most = FI_PARCEL_MOST;
    c->quota = c->quota ? c->quota : FI_DURABLE_QUOTA;
    c->retain = 0; /* the stream's matter */
    return 0;
}

static int check_replay(const ferry_receiver_options_t *o, ferry_kind_t kind) {
    if ((unsigned)o->replay > FERRY_REPLAY_ALL) {
        return fi_fail(-EINVAL, "the receiver's replay (%d) is not one of the values in ferry/channel.h",
                       (int)o->replay);
    }
    if (o->replay && (kind != FERRY_TOPIC || o->tap)) {
        return fi_fail(-EINVAL, "`replay` is for receivers of durable topics");
    }
    if (o->replay && o->no_history) {
        return fi_fail(-EINVAL,
                       "`replay` asks for messages that were sent before, `no_history` for none: give one of them");
    }
    return 0;
}

int fi_settle_durable_receiver(fi_node_t *n, const char *channel, ferry_kind_t kind, const ferry_receiver_options_t *o,
                               ferry_contract_t *c, fi_rxpart_t *part) {
    static const fi_kept_bounds_t nothing;

    int r = check_replay(o, kind);
    if (r < 0 || o->tap) {
        return r;
    }
    r = check_receiver(n, channel, kind, o, c, part);
    r = r == 0 && n->net ? fi_durable_settle(n->net, channel, kind, &nothing, c) : r;
    if (r < 0) {
        return r;
    }
    if (o->replay && c->durable != FERRY_DURABLE) {
        return fi_fail(-ENOTSUP, "'%s' is not durable: there is nothing to replay; open it with FERRY_DURABLE",
                       channel);
    }
    return kind == FERRY_TOPIC && c->durable == FERRY_DURABLE ? fi_durable_find_start(n->net, channel, o, &part->replay)
                                                              : 0;
}

int fi_settle_dead_letters(fi_node_t *n, const ferry_receiver_options_t *o, fi_dead_end_t *dead, fi_rxpart_t *part) {
    *dead = (fi_dead_end_t){.contract = {.size = 0}};
    if (!o->dead_letter || !n->net || fi_channel_check(o->dead_letter) < 0) {
        return 0; /* who opens it says what is wrong with the name */
    }
    part->dead = dead;
    return fi_settle_durable_sender(n, o->dead_letter, FERRY_QUEUE, &dead->contract, &dead->part);
}

/* Can this node's space have such queues at all? */
static int check_engine(const fi_node_t *n) {
    int r = fi_check_node(n);

    if (r == 0 && !n->net) {
        r = fi_fail(-ENOTSUP,
                    "a space of one machine has no durable channels: a NATS server keeps them; open the space as "
                    "nats://HOST/SPACE");
    }
    return r;
}

int ferry_durable_each(ferry_t *node, int (*each)(const ferry_durable_info_t *info, void *arg), void *arg) {
    int r = check_engine(node);

    if (r == 0 && !each) {
        r = fi_fail(-EINVAL, "ferry_durable_each needs a function to call, not NULL");
    }
    return r < 0 ? r : FI_WHOLE(fi_durable_each(node->net, each, arg));
}

int ferry_durable_purge(ferry_t *node, const char *queue, uint32_t remove, uint64_t *messages) {
    uint64_t count = 0;

    int r = check_engine(node);
    r = r == 0 ? fi_channel_check(queue) : r;
    r = r == 0 ? FI_WHOLE(fi_durable_purge(node->net, queue, remove != 0, &count)) : r;
    if (r == 0 && messages) {
        *messages = count;
    }
    return r;
}
