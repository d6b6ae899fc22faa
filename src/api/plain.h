/* SPDX-License-Identifier: MIT
 *
 * plain.h - whether an end of a topic can be plain, which has part with clients of the engine's that are not Ferry's.
 */
#ifndef FI_API_PLAIN_H
#define FI_API_PLAIN_H

#include <ferry/channel.h>

#include "channel/receiver.h"
#include "channel/sender.h"

/* For ends that are about to be opened, when it is known whether the channel is durable: where that is asked for, before
 * the server makes a stream for it (api/durable.c); else once it is found out. -EINVAL, -ENOTSUP. */
int fi_settle_plain_sender(const fi_node_t *n, const char *channel, ferry_kind_t kind, const ferry_contract_t *c,
                           fi_part_t *part);
int fi_settle_plain_receiver(const fi_node_t *n, const char *channel, ferry_kind_t kind,
                             const ferry_receiver_options_t *o, const ferry_contract_t *c, fi_rxpart_t *part);

#endif
