/* SPDX-License-Identifier: MIT
 *
 * durable.h - whether a channel that is about to be opened is a durable queue.
 */
#ifndef FI_API_DURABLE_H
#define FI_API_DURABLE_H

#include <ferry/channel.h>

#include "node/node.h"

#define FI_DURABLE_QUOTA (1ull << 30) /* of a sender that does not say */

/* Makes `c->durable` definite where the space could have such queues. Errors: as fi_durable_settle; -ENOTSUP no such space, or no queue. */
int fi_settle_durable(fi_node_t *n, const char *channel, ferry_kind_t kind, ferry_contract_t *c);

#endif
