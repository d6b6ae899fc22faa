/* SPDX-License-Identifier: MIT
 *
 * durable.h - whether a channel that is about to be opened is durable.
 */
#ifndef FI_API_DURABLE_H
#define FI_API_DURABLE_H

#include <ferry/channel.h>

#include "channel/receiver.h"
#include "channel/sender.h"

#define FI_DURABLE_QUOTA (1ull << 30) /* of a sender that does not say */

/* For a sender: makes `c->durable` definite where the space could have such channels, and `*c` and `*part` what
 * follows. Errors: as fi_durable_settle; -ENOTSUP no such space, or a contract that cannot be kept. */
int fi_settle_durable_sender(fi_node_t *n, const char *channel, ferry_kind_t kind, ferry_contract_t *c,
                             fi_part_t *part);
/* For a receiver, likewise; `o`: its options. */
int fi_settle_durable_receiver(fi_node_t *n, const char *channel, ferry_kind_t kind, const ferry_receiver_options_t *o,
                               ferry_contract_t *c, fi_rxpart_t *part);
/* For its sender to the dead-letter queue, if it has one; `*dead` is to live until the receiver is open. */
int fi_settle_dead_letters(fi_node_t *n, const ferry_receiver_options_t *o, fi_dead_end_t *dead, fi_rxpart_t *part);

#endif
