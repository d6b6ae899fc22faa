/* SPDX-License-Identifier: MIT */
#include "api/durable.h"

#include <errno.h>

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
