/* SPDX-License-Identifier: MIT
 *
 * ferry/route.h - which way messages go, what that costs, and why: what `ferry route` shows.
 *
 * Ferry measures a host once for each start of its system, and live links while they run.  From both it chooses how
 * long a receiver spins before it sleeps, which messages go into the ring and which by pointer, and which of a queue's
 * receivers gets the next message.  What was measured and what was chosen, each with its reason, is told here.
 *
 * The host's figures are kept in a file in the base directory (see space.h), `.host-UID-BOOT`, which only its owner can
 * write.  They are measured by ferry_host and ferry_route when they are missing, and by a program that has sent 65,536
 * messages within one second or more, in the background; it takes about five milliseconds of two processors.  A program
 * that sends little, or waits, never measures.  $FERRY_HOST_PROFILE names a file to be believed instead, whatever it
 * says; it has the same form: lines with a name and a number, as `ferry route --profile` writes them.
 */
#ifndef FERRY_ROUTE_H
#define FERRY_ROUTE_H

#include "channel.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Sizes whose copying is measured: 256 bytes, 4 KiB, 64 KiB, 1 MiB. */
#define FERRY_HOST_COPIES 4

/** Where a host's figures come from. */
typedef enum ferry_host_source {
    FERRY_HOST_ASSUMED = 0, /**< nothing was measured yet: what is usual */
    FERRY_HOST_MEASURED,    /**< here, since this start of the system */
    FERRY_HOST_GIVEN        /**< the file that $FERRY_HOST_PROFILE names */
} ferry_host_source_t;

/** What a host's operations cost. */
typedef struct ferry_host {
    uint64_t wake_ns;                      /**< from ringing a sleeper's doorbell until it runs */
    uint64_t line_ns;                      /**< a cache line from one core to another; 0: there is only one core */
    uint64_t page_ns;                      /**< a new page of shared memory */
    uint64_t copy_mbps[FERRY_HOST_COPIES]; /**< copying blocks of these sizes, in 10^6 bytes per second */
    ferry_host_source_t source;
    uint32_t reserved;
} ferry_host_t;

/** One choice, and why it was made. */
typedef struct ferry_choice {
    uint64_t value;
    char why[232]; /**< a sentence without a full stop */
} ferry_choice_t;

/** Whether ferry_host and ferry_route measure the host. */
enum ferry_host_measure {
    FERRY_HOST_MEASURE_NOT = 0, /**< tell what is known */
    FERRY_HOST_MEASURE = 1,     /**< measure if that was not done since the system was started */
    FERRY_HOST_MEASURE_ANEW = 2 /**< measure in any case; what $FERRY_HOST_PROFILE names stays in force */
};

/** What follows from a host's figures alone, before any link was seen. */
typedef struct ferry_host_choices {
    ferry_choice_t spin_ns;    /**< how long a thread spins before it sleeps */
    ferry_choice_t inline_max; /**< bytes up to which a message goes into the ring; a larger one goes by pointer */
} ferry_host_choices_t;

/**
 * Tells this host's figures: those of the file that $FERRY_HOST_PROFILE names, else those measured since the system was
 * started, else those assumed; `measure` (enum ferry_host_measure) says whether they are measured first, which takes up
 * to 50 milliseconds. `options` say where they are kept, as for ferry_open. `choices` may be NULL.
 *
 * Thread-safe. Errors: -EINVAL an option, or what $FERRY_HOST_PROFILE names is no profile (the sentence names the
 * line); -ENOENT no such group; -ENOMEM, -EAGAIN, -EMFILE, -ENFILE no memory, thread or descriptors to measure with.
 * That the figures cannot be kept is no error.
 */
FERRY_API int ferry_host(const ferry_options_t *options, int measure, ferry_host_t *host,
                         ferry_host_choices_t *choices);

/**
 * Writes `host` into `buf` as the text of a profile, for $FERRY_HOST_PROFILE. Returns its length, or -ERANGE: it does
 * not fit into `cap` bytes (512 are enough).
 */
FERRY_API int ferry_host_text(const ferry_host_t *host, char *buf, size_t cap);

/** Ways to go, from the nearest. */
typedef enum ferry_way {
    FERRY_WAY_THREAD = 1, /**< within one node: memory is handed over as it is */
    FERRY_WAY_SHM,        /**< between nodes on one machine: sealed shared memory */
    FERRY_WAY_NATS        /**< between machines, through NATS servers */
} ferry_way_t;
#define FERRY_WAYS 3

/** One way of a link: whether it is taken, and why or why not. */
typedef struct ferry_way_choice {
    ferry_way_t way;
    uint32_t taken;
    char why[232]; /**< a sentence without a full stop */
} ferry_way_choice_t;

/** One end of a link. Strings belong to the picture. */
typedef struct ferry_route_end {
    uint64_t node;    /**< 0: not known, it is on another machine */
    uint64_t end;     /**< its number within the node */
    const char *name; /**< of its node; "" when that is not known */
    const char *host; /**< on another machine: that one's name, as far as known; "": on this one */
    int32_t pid;      /**< 0 when it is not visible from here */
    uint32_t told;    /**< 1: it told what it sees; 0: its figures are missing (it is stopped, or elsewhere) */
} ferry_route_end_t;

/** One live link of a channel. Figures that nobody has seen yet are 0. */
typedef struct ferry_route_link {
    const char *channel;
    ferry_kind_t kind;
    ferry_way_t way;
    ferry_route_end_t sender;
    ferry_route_end_t receiver;
    ferry_way_choice_t ways[FERRY_WAYS]; /**< the way taken and the others, from the nearest */

    /* seen by the receiver, on sampled messages */
    uint64_t latency_ns;       /**< from send to receive while it ran, lately */
    uint64_t least_latency_ns; /**< the least ever */
    uint64_t latency_samples;
    uint64_t wake_ns; /**< the same when it slept: the least, lately */
    uint64_t wake_samples;

    /* seen by the sender */
    uint64_t messages_per_s; /**< lately */
    uint64_t bytes_per_s;
    uint64_t message_size; /**< on average, lately */
    uint64_t service_ns;   /**< that the receiver takes for a message while others wait */
    uint64_t waiting;      /**< messages not released; of a topic: by its slowest receiver */

    /* seen between machines: of all channels of the two nodes (ferry_look_link_t has more) */
    uint64_t round_trip_ns; /**< there and back, through the server and both nodes' queues */
    uint64_t on_the_way;    /**< messages sent, and not known to have arrived */

    /* chosen */
    ferry_choice_t inline_max;   /**< by the sender: bytes up to which a message goes into the ring */
    ferry_choice_t spin_ns;      /**< by the receiver, before it sleeps; UINT64_MAX: it never does */
    ferry_choice_t room_spin_ns; /**< by the sender, when it waits for room */
    ferry_choice_t
        completion_ns; /**< of a queue: when the next message given to this link is expected to be done with */
    uint32_t durable;  /**< 1: the server keeps the channel; the other end is that, whoever receives or sends */

    /* of a queue whose sender has several receivers, seen by the sender */
    uint64_t ready_at_most; /**< messages that may lie ready for this receiver, for it is slow, or not known yet; 0: as
                                 many as fit */
    uint64_t undealt;       /**< messages of this sender that are given to nobody yet: they wait for whoever is free */
} ferry_route_link_t;

/** A picture of one channel's links at one moment. Not shared between threads. */
typedef struct ferry_route ferry_route_t;

/**
 * Looks at the links of the channel `channel` in the space `space`, without joining it: asks the nodes of this machine
 * that have it open. A space that spans machines is joined for a moment, to hear of the other ends there; what cannot
 * be heard stays unknown. `options` as for ferry_open.
 *
 * Errors: -ENOENT no such space, or nobody on this machine has this channel open; -EINVAL; -EPERM; -EACCES; -EMFILE;
 * -ENOMEM.
 */
FERRY_API int ferry_route(const char *space, const char *channel, const ferry_options_t *options,
                          ferry_route_t **route);
FERRY_API size_t ferry_route_links(const ferry_route_t *route);
FERRY_API const ferry_route_link_t *ferry_route_link(const ferry_route_t *route, size_t i);
/** Ends of the channel on this machine: senders, or receivers. */
FERRY_API size_t ferry_route_senders(const ferry_route_t *route);
FERRY_API size_t ferry_route_receivers(const ferry_route_t *route);
/** Nodes that have it open and did not answer in time. */
FERRY_API size_t ferry_route_silent(const ferry_route_t *route);
/** Frees the picture; NULL is allowed. */
FERRY_API void ferry_route_close(ferry_route_t *route);

#ifdef __cplusplus
}
#endif
#endif
