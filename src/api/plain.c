/* SPDX-License-Identifier: MIT */
#include "api/plain.h"

#include <errno.h>
#include <inttypes.h>

#include "base/error.h"
#include "net/plain.h"

static int check(const fi_node_t *n, const char *channel, ferry_kind_t kind, uint32_t plain, bool durable) {
    if (plain > 1) {
        return fi_fail(-EINVAL, "`plain` is %" PRIu32 "; use 0 or 1", plain);
    }
    if (kind != FERRY_TOPIC) {
        return fi_fail(
            -EINVAL,
            "'%s' is a queue: `plain` is for topics; foreign clients can put messages into a durable queue, and "
            "take them",
            channel);
    }
    if (!n->net) {
        return fi_fail(
            -ENOTSUP,
            "'%s' cannot be plain in a space of one machine: a NATS server connects foreign clients; open the "
            "space as nats://HOST/SPACE (`ferry engine` starts a server)",
            channel);
    }
    if (durable) {
        return fi_fail(-ENOTSUP, "'%s' is durable, and cannot be plain: foreign clients can read and write its stream",
                       channel);
    }
    return 0;
}

int fi_settle_plain_sender(const fi_node_t *n, const char *channel, ferry_kind_t kind, const ferry_contract_t *c,
                           fi_part_t *part) {
    if (!c->plain) {
        return 0;
    }
    part->plain = true;
    part->most = n->net ? n->net->max_payload - FI_PLAIN_HEAD : 0;
    return check(n, channel, kind, c->plain, c->durable == FERRY_DURABLE);
}

int fi_settle_plain_receiver(const fi_node_t *n, const char *channel, ferry_kind_t kind,
                             const ferry_receiver_options_t *o, const ferry_contract_t *c, fi_rxpart_t *part) {
    if (!o->plain) {
        return 0;
    }
    if (o->tap) {
        return fi_fail(-EINVAL, "a tap looks at what senders send: it cannot be `plain`");
    }
    part->plain = true;
    return check(n, channel, kind, o->plain, c->durable == FERRY_DURABLE);
}
