/* SPDX-License-Identifier: MIT
 *
 * net/handshake.h - handshakes with a server that does not go on with them.
 *
 * libnats 3.4 waits for the server's greeting for as long as its options say, but after that it does not: it reads for
 * PONG again and again after its time, and lets OpenSSL wait for the server's part in TLS, until the connection ends.
 * The connection's lock is held meanwhile, so whoever would publish, subscribe, or close it, waits, too. Nobody outside
 * is told the descriptor. So while connections are being made a thread looks for it among all that the process has, and
 * hangs up; libnats takes it for the server's doing, and goes on to the next one.
 *
 * How it is known: it has the options that libnats gives to each socket, some of which hardly anybody else uses; it
 * leads to the port of a server that the space's address names; little was ever sent on it, the last of it since the
 * handshake began, and long ago. Connections of ours that stand are not silent for so long (they ask for a PONG twice a
 * second). One that the program itself has made with libnats to such a port could be taken for it, if it sends a little
 * just then and nothing for some seconds after that: it would be made again. A server that the others have told of is
 * not watched, unless it has a port that is named, too.
 *
 * A connection that is made again after it was lost is held by calls that would end soon: there a server has a second,
 * then two, four and five, also to greet, so that one which is only slow is not asked again for ever.  Who leaves the
 * space gives each a second, and begins no further one if nothing more is to be said (connect.c).
 *
 * One thread for the process, as long as there are handshakes.
 */
#ifndef FI_NET_HANDSHAKE_H
#define FI_NET_HANDSHAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "node/address.h"

#define FI_GREETED_NS 5000000000ll      /* a server may be silent for so long */
#define FI_GREETED_OPEN_NS 8000000000ll /* who waits for a space to open begins no further one after so long */

typedef struct fi_handshake {
    struct fi_list link; /* the thread's, as all of it, from begin to end */
    const fi_address_t *address;
    const uint32_t *leaves; /* atomic; 1: the space is being left */
    int64_t began;          /* ns */
    bool waited;            /* somebody waits for it: after FI_GREETED_OPEN_NS each server has a second only */
    bool hurried;           /* at once: one of them was waited for in vain just now */
    unsigned cut;
} fi_handshake_t;

/* `address` and `leaves` stay as long as `h`. */
void fi_handshake_init(fi_handshake_t *h, const fi_address_t *address, const uint32_t *leaves, bool waited);
/* From now on a connection may be in a handshake. Does nothing if that was said already. Signals are blocked. */
void fi_handshake_begin(fi_handshake_t *h);
/* What `leaves` tells has changed: the thread looks soon. */
void fi_handshake_look(void);
/* It is in none any more. Returns how many servers were hung up on since it began; 0, too, if it had not begun. */
unsigned fi_handshake_end(fi_handshake_t *h);

#endif
