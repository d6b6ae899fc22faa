/* SPDX-License-Identifier: MIT
 *
 * net/streams.h - the streams that the engine keeps for a space, by what they are for.
 */
#ifndef FI_NET_STREAMS_H
#define FI_NET_STREAMS_H

#include "net/net.h"

/*
 * Calls `each` for every stream of that kind ("cell", "q") in this space, until it returns something other than 0, and
 * returns that. `what`: "the cells", for sentences. Errors: -ENOTSUP no JetStream; those of fi_ask.
 */
int fi_streams_each(fi_net_t *net, const char *kind, const char *what, int (*each)(const jsStreamInfo *info, void *arg),
                    void *arg);

/*
 * The name in "ferry.SPACE.KIND.NAME.*", which is the first of the stream's subjects; dots are back in their places.
 * False: it is something else.
 */
bool fi_streams_name(const fi_net_t *net, const char *kind, const jsStreamConfig *config, char name[104]);

/*
 * False: the server is just making it, and does not say yet when it did.  Nothing may be asked of the stream before it
 * does: nats-server 2.9 crashes when it is asked for a message of a stream that has no store yet.
 */
static inline bool fi_stream_is_made(const jsStreamInfo *info) {
    return info->Created > 0;
}

#endif
