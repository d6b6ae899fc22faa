/* SPDX-License-Identifier: MIT
 *
 * node/address.h - what the name of a space says.
 *
 *     demo                                  a space of this machine
 *     nats://host[:port][,host...]/demo     one that spans machines, through the servers named
 *     nats+tls://...                        the same, encrypted, and the servers prove who they are
 *
 * In a networked space, nodes on one machine meet in a directory as ever. Its name holds the first server, in the order
 * of the alphabet: whoever names the servers otherwise still meets the others, through them.
 */
#ifndef FI_NODE_ADDRESS_H
#define FI_NODE_ADDRESS_H

#include <stdbool.h>

#define FI_ADDRESS_SERVERS 16u
#define FI_ADDRESS_MAX 2048u
#define FI_DIRECTORY_MAX 200u /* bytes of a space's directory name, with its end */

typedef struct fi_address {
    bool networked;
    bool tls;
    bool local; /* all servers are named as this machine's: the connection does not leave it */
    unsigned server_count;
    char servers[FI_ADDRESS_SERVERS][280]; /* "nats://host:port" */
    char space[64];
    char directory[FI_DIRECTORY_MAX];
} fi_address_t;

/* Takes a name apart. -EINVAL: the sentence says what would be right; a password in it is not repeated. */
int fi_address_parse(const char *name, fi_address_t *a);

#endif
