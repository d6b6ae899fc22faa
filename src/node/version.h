/* SPDX-License-Identifier: MIT
 *
 * version.h - programs of another version of Ferry in the space.
 *
 * Frames of another version (the last digit of FI_WIRE_MAGIC) are not looked at further, so neither side sees the
 * other's ends.  But both say so: who is dialled by one of another version answers with a HELLO of his own before he
 * hangs up, and each notes it for ferry_warning and for the sentences of those who wait in vain.
 */
#ifndef FI_NODE_VERSION_H
#define FI_NODE_VERSION_H

#include <stdbool.h>
#include <stddef.h>

#include "node/node.h"

/** Does a frame of so many bytes come from another version of Ferry? */
bool fi_frame_is_of_other_version(const fi_frame_t *f, size_t len);

/** Such a frame has come from `p`. Steward. */
void fi_node_note_version(fi_peer_t *p, const fi_frame_t *f);

/** The sentence about it; "": none has come. Any thread; stays as long as the node. */
const char *fi_node_version_warning(const fi_node_t *n);

#endif
