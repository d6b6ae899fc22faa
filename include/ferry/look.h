/* SPDX-License-Identifier: MIT
 *
 * ferry/look.h - looking at spaces from outside: what `ferry ls` shows.
 */
#ifndef FERRY_LOOK_H
#define FERRY_LOOK_H

#include "channel.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A picture of one space at one moment. Not shared between threads. */
typedef struct ferry_look ferry_look_t;

/** One node of the picture. Strings belong to the picture. */
typedef struct ferry_look_node {
    uint64_t id;
    const char *name;
    int32_t pid; /**< as this process sees it; 0 when it lives in a PID namespace that is not visible from here */
    uint32_t uid;
    uint32_t peers;    /**< nodes it is connected with */
    uint32_t answered; /**< 0: it did not answer in time (starved? stopped?); its ends then show no figures */
    const char *
        host; /**< on another machine: that one's name, and `pid` is as seen there, `uid` UINT32_MAX; "": on this one */
    uint64_t round_trip_ns; /**< on another machine: from who looks to it and back, measured now; 0: not known */
    /** 1: its process has too few descriptors left (`ulimit -n`) for another node to be connected with it. 0 also where
     * that is not to be seen: of another user's process, of one in a PID namespace of its own, on another machine. */
    uint32_t starved;
    uint32_t other_version; /**< 1: it is of another version of Ferry: it did not answer, and exchanges nothing with
                                 programs of this one */
    /** Its process as it sees itself, by its own word, as are the numbers of its threads: not `pid` when it lives in
     * another PID namespace; 0: it did not say so, or is on another machine. */
    int32_t own_pid;
    uint64_t pid_namespace; /**< where that is its PID: the namespace's inode, by which lsns(8) finds it; 0: not told */
} ferry_look_node_t;

/** A node's connection to the server of a space that spans machines. Rates of what flows: the difference of two
 * looks. */
typedef struct ferry_look_engine {
    uint64_t node;          /**< 0: the connection of who looks */
    const char *url;        /**< of the server; never credentials */
    uint32_t connected;     /**< 0: it is being tried again */
    uint32_t tls;           /**< 1: encrypted, and the server has proved who it is */
    uint32_t exposed;       /**< 1: neither encrypted nor within one machine: see ferry_warning */
    uint32_t lost;          /**< how often it was lost since the node was opened */
    uint64_t since_ns;      /**< for how long it has been there, or away */
    uint64_t max_payload;   /**< bytes of a message that the server takes; larger ones go in pieces */
    uint64_t round_trip_ns; /**< to the server and back, of who looks; 0: not measured */
} ferry_look_engine_t;

/** What queues and topics of one node have exchanged with a node on another machine. */
typedef struct ferry_look_link {
    uint64_t node;
    uint64_t to;            /**< may have gone */
    const char *name;       /**< of `to` */
    const char *host;       /**< of `to` */
    uint64_t round_trip_ns; /**< there and back, through both nodes' queues; 0: never measured */
    uint64_t
        round_trip_age_ns; /**< how long ago that was: a second at most while messages flow, else as it was asked for */
    uint64_t silent_ns;    /**< for how long its connection has seemed gone; 0: it does not */
    uint64_t bytes_sent;   /**< with what was sent again */
    uint64_t messages_sent; /**< likewise */
    uint64_t resent;        /**< of these, sent again: after a loss, or what a topic retains to who came late */
    uint64_t bytes_received;
    uint64_t messages_received;
    uint64_t waiting; /**< messages taken from senders here and not sent yet: the network is slow, or the other side */
    uint64_t on_the_way; /**< sent, and not known to have arrived */
    uint64_t unreleased; /**< arrived, and not released by receivers there: those are slow */
    uint64_t arrived;    /**< come from there, and not released by receivers here */
} ferry_look_link_t;

/** One open end of the picture. */
typedef struct ferry_look_end {
    uint64_t node; /**< id of its node */
    uint64_t end;  /**< its number within the node */
    const char *channel;
    ferry_kind_t kind;
    uint32_t is_sender;
    const char *type_name; /**< "" when the channel has none */
    uint64_t type_size;
    uint64_t messages; /**< sent or received since it was opened */
    uint64_t bytes;
    uint64_t copies_made;
    uint64_t copies_avoided;
    uint64_t depth;  /**< sender: messages waiting in its memory, unreleased; receiver: taken and held */
    uint64_t lost;   /**< receiver: messages lost */
    uint64_t memory; /**< sender: bytes charged to its quota */
    uint64_t quota;
    uint64_t age_ns; /**< since it was opened */
    uint32_t links;
    uint32_t is_tap; /**< 1: a receiver that only looks, at a queue or a topic; `kind` says nothing then */
} ferry_look_end_t;

/** A thread that serves, or a client, of a service (rpc.h). Ends of its channels are not listed among the ends. */
typedef struct ferry_look_service {
    uint64_t node;
    uint64_t end;       /**< number of the client, or of the server thread, within the node */
    const char *name;   /**< of the service */
    uint32_t is_client; /**< 1: it calls; 0: it serves */
    uint32_t links;     /**< server: clients linked with it; client: server threads */
    uint64_t calls;     /**< begun, or sent, since it was opened */
    uint64_t under_way; /**< client: not answered and released yet; server: 1 while it is inside a handler */
    uint64_t errors;    /**< server: answered with an error of the procedure's */
    uint64_t refused; /**< server: not begun, since they were cancelled, too late, unknown, or may have run elsewhere */
    uint64_t busy_ns; /**< server: spent in handlers */
    uint64_t p50_ns;  /**< server: half of the calls took no longer (to within an eighth) */
    uint64_t p99_ns;
    uint64_t age_ns; /**< since it was opened */
} ferry_look_service_t;

/** One shared object as one node has it open: of sync.h, a region, or cells. */
typedef struct ferry_look_object {
    uint64_t node; /**< 0: the server keeps it, whoever has it open (cells of a space that spans machines) */
    const char *name;
    const char *kind; /**< "mutex", "reader-writer lock", "semaphore", "barrier", "event", "region" or "cell" */
    uint32_t count;   /**< semaphore: units, or at first; barrier: parties; cell: how many under this name */
    uint32_t handles; /**< of that node */
    uint32_t holding; /**< of these, that hold something now */
    uint32_t reserved;
    uint64_t bytes; /**< region: as it was created; cell: largest value; else 0 */
    char type[64];  /**< region: of its root object; cell: of its values; "" when none was named */
} ferry_look_object_t;

/** What a waiting thread waits for. */
typedef enum ferry_wait_for {
    FERRY_FOR_MUTEX = 1, /**< a mutex */
    FERRY_FOR_READ,      /**< a reader-writer lock, to read */
    FERRY_FOR_WRITE,     /**< a reader-writer lock, to write */
    FERRY_FOR_UNIT,      /**< a unit of a semaphore */
    FERRY_FOR_BARRIER,   /**< the other participants of a barrier */
    FERRY_FOR_EVENT,     /**< an event */
    FERRY_FOR_ROOM,      /**< room at the receivers of a channel */
    FERRY_FOR_PROCESS,   /**< the end of a child process */
    FERRY_FOR_REGION,    /**< its turn in a region's allocator */
    FERRY_FOR_CELL,      /**< a cell's newer value, or its turn to put one */
    FERRY_FOR_BUFFER,    /**< an item in a region's buffer, or room for one */
    FERRY_FOR_REPLY      /**< the answer to a call: "SERVICE.METHOD" */
} ferry_wait_for_t;

/**
 * A node of another space of this machine, into which waits lead: by it a thread waits that holds something in the
 * space looked at, or in one that was led to likewise; or something is held by it that such a thread waits for. Only
 * its waits are in the picture.
 */
typedef struct ferry_look_other {
    ferry_look_node_t node; /**< `peers` is 0 */
    const char *directory;  /**< the path of its space */
} ferry_look_other_t;

/** One thread of the picture that has waited for longer than its `deadlock_after`. */
typedef struct ferry_look_wait {
    uint64_t node;
    int32_t tid;        /**< thread id, in its own PID namespace */
    const char *thread; /**< the thread's name */
    ferry_wait_for_t what;
    const char *name;   /**< of the object or channel; "" for a process. Of a service's channels: "calls of SERVICE",
                           "replies of SERVICE", "results of SERVICE.METHOD" */
    int32_t pid;        /**< of the child process that is waited for, else 0 */
    uint64_t age_ns;    /**< how long it has waited */
    const char *where;  /**< the place in the program that called: "FILE+0xOFFSET" for addr2line(1), "" if not known */
    uint32_t needs_all; /**< 1: it goes on when all of its holders let go; 0: when one of them does */
    uint32_t circle;    /**< waits with the same number block each other for good; 0: it can still go on, as far as
                             was seen: who is awake just now to look around counts as one that can */
    uint32_t holders;   /**< who would have to let go; 0 where nobody in particular can be named */
    uint32_t reserved;
} ferry_look_wait_t;

/** One of those a thread waits for. */
typedef struct ferry_look_holder {
    uint64_t node;
    int32_t tid;      /**< thread that holds, 0: not known */
    int32_t wait;     /**< what that thread itself waits for, as index for ferry_look_wait; -1: it does not wait */
    uint64_t token;   /**< of a lock between machines (ferry_mutex_token); 0: none, or not known */
    uint64_t held_ns; /**< likewise: for how long it has held it; 0: not known */
} ferry_look_holder_t;

/**
 * Looks at the space `space`, without joining it. Sweeps what dead nodes left behind. `options` as for ferry_open. One
 * that spans machines is joined for a moment, and all of its nodes are asked through the server; who takes longer than
 * half a second does not count as having answered.
 * Errors: -ENOENT no such space, or nobody is there, or nobody there answers (the sentence says which); -EINVAL; -EPERM;
 * -EACCES; -EMFILE; -ENOMEM; in a space that spans machines also those of ferry_open.
 */
FERRY_API int ferry_look(const char *space, const ferry_options_t *options, ferry_look_t **look);
FERRY_API size_t ferry_look_nodes(const ferry_look_t *look);
FERRY_API const ferry_look_node_t *ferry_look_node(const ferry_look_t *look, size_t i);
FERRY_API size_t ferry_look_ends(const ferry_look_t *look);
FERRY_API const ferry_look_end_t *ferry_look_end(const ferry_look_t *look, size_t i);
FERRY_API size_t ferry_look_services(const ferry_look_t *look);
FERRY_API const ferry_look_service_t *ferry_look_service(const ferry_look_t *look, size_t i);
FERRY_API size_t ferry_look_objects(const ferry_look_t *look);
FERRY_API const ferry_look_object_t *ferry_look_object(const ferry_look_t *look, size_t i);
FERRY_API size_t ferry_look_waits(const ferry_look_t *look);
FERRY_API const ferry_look_wait_t *ferry_look_wait(const ferry_look_t *look, size_t i);
/** Nodes of other spaces; waits and holders may be theirs. */
FERRY_API size_t ferry_look_others(const ferry_look_t *look);
FERRY_API const ferry_look_other_t *ferry_look_other(const ferry_look_t *look, size_t i);
/** Holder `k` of wait `i`. */
FERRY_API const ferry_look_holder_t *ferry_look_holder(const ferry_look_t *look, size_t i, size_t k);
FERRY_API size_t ferry_look_engines(const ferry_look_t *look);
FERRY_API const ferry_look_engine_t *ferry_look_engine(const ferry_look_t *look, size_t i);
FERRY_API size_t ferry_look_links(const ferry_look_t *look);
FERRY_API const ferry_look_link_t *ferry_look_link(const ferry_look_t *look, size_t i);
/** Frees the picture; NULL is allowed. */
FERRY_API void ferry_look_close(ferry_look_t *look);

/**
 * Calls `each(name, arg)` for every space under the base directory, sorted by name; for one that spans machines, which
 * a node of this machine has open, with "nats://HOST:PORT/SPACE", whether or not the server wants TLS. Returns how
 * many, or what `each` returned when that is negative. A base directory that does not exist has none. Errors: -EINVAL
 * no function; -EPERM it belongs to somebody else, is a symbolic link or is open to others; -EACCES; -ENOMEM.
 */
FERRY_API int ferry_spaces(const ferry_options_t *options, int (*each)(const char *name, void *arg), void *arg);

/** Writes the base directory that `options` lead to into `buf`. Errors: -ERANGE it does not fit; -ENOENT no such
 * group. */
FERRY_API int ferry_base_directory(const ferry_options_t *options, char *buf, size_t cap);

#ifdef __cplusplus
}
#endif
#endif
