/* SPDX-License-Identifier: MIT */
#include "api/durable.h"

#include <errno.h>

#include "api/check.h"
#include "base/error.h"
#include "net/durable.h"

int fi_settle_durable(fi_node_t *n, const char *channel, ferry_kind_t kind, ferry_contract_t *c) {
    bool wanted = c->durable == FERRY_DURABLE;

    if (wanted && kind != FERRY_QUEUE) {
        return fi_fail(-ENOTSUP, "'%s' is a topic: only queues can be durable; a topic can `retain` messages", channel);
    }
    if (wanted && !n->net) {
        return fi_fail(-ENOTSUP,
                       "'%s' cannot be durable in a space of one machine: a NATS server keeps such messages; open the "
                       "space as nats://HOST/SPACE (`ferry engine` starts a server)",
                       channel);
    }
    return n->net && kind == FERRY_QUEUE ? fi_durable_settle(n->net, channel, c) : 0;
}

/* Can this node's space have such queues at all? */
static int check_engine(const fi_node_t *n) {
    int r = fi_check_node(n);

    if (r == 0 && !n->net) {
        r = fi_fail(-ENOTSUP,
                    "a space of one machine has no durable queues: a NATS server keeps them; open the space as "
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
