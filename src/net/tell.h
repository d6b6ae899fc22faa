/* SPDX-License-Identifier: MIT
 *
 * net/tell.h - what nodes answer who looks at a space that spans machines.
 *
 *   who looks                                    each node
 *     who, with a question          ->
 *                                   <-           its card, at once (net.h)
 *                                   <-           tales: frames as nodes tell them on one machine (node/wire.h)
 *
 * A tale is a head and frames.  The node's own part is what it tells on its machine, too; the other one what only the
 * bridge and others in net/ know.  The bridge's thread writes both, so what it knows needs no lock.
 */
#ifndef FI_NET_TELL_H
#define FI_NET_TELL_H

#include "net/bridge.h"
#include "node/wire.h"

#define FI_TALE_MAGIC 0x656c617479727265ull /* "erryTale": the node of no card */
#define FI_TALE_FRAMES 65536u               /* of one node: more is not believed */

enum { FI_TALE_OWN = 1, FI_TALE_LAST = 2 }; /* flags */

typedef struct fi_tale_head {
    uint64_t magic;
    uint64_t node;
    uint32_t version;     /* FI_NET_VERSION */
    uint32_t frame_bytes; /* sizeof(fi_frame_t): another one is of a version that we cannot read */
    uint32_t flags;
    uint32_t count;
} fi_tale_head_t;

/* tell_links.c: the node's connection, its links, and through whom full channels lead. */
void fi_links_tell(fi_bridge_t *b, fi_peer_t *p);

#endif
