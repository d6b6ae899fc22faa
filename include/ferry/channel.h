/* SPDX-License-Identifier: MIT
 *
 * ferry/channel.h - queues and topics, senders and receivers.
 *
 * A channel is a named flow of messages.  A queue gives each message to one receiver, a topic to every receiver.
 * Order is kept per sender (a redelivered message comes late).  A message waits in its sender's own memory, under the
 * sender's own quota, until it is released.
 */
#ifndef FERRY_CHANNEL_H
#define FERRY_CHANNEL_H

#include "message.h"
#include "space.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ferry_kind {
    FERRY_QUEUE = 1, /**< each message goes to one receiver */
    FERRY_TOPIC = 2  /**< each message goes to every receiver */
} ferry_kind_t;

/** May a topic's slow receiver hold its senders back? */
typedef enum ferry_hold {
    FERRY_HOLD_ANY = 0,  /**< no opinion; if nobody has one, receivers may hold senders back */
    FERRY_HOLD_BACK = 1, /**< senders wait for the slowest receiver: nothing is lost */
    FERRY_HOLD_NEVER =
        2 /**< senders never wait for a receiver to read: one that is slow loses its oldest and is told how
                              many. What receivers hold stays as it is, in the sender's quota */
} ferry_hold_t;

/*
 * Who gets what.  A queue's message goes to the receiver that is expected to be done with it first.  Of what a sender
 * has sent only a little lies ready for a slow receiver (two messages, or what it does in a millisecond); the rest
 * waits for whoever is free, in the sender's memory.  What a receiver holds does not count: who needs many messages at
 * once gets them, unless `prefetch` says otherwise.  ferry_route tells what lies ready for whom, and why.
 */

/** Do a channel's messages outlive the programs that have sent them? */
typedef enum ferry_durable {
    FERRY_DURABLE_ANY =
        0,             /**< no opinion: as the channel is already (if its server says so within a second), else not */
    FERRY_DURABLE = 1, /**< the engine keeps them on disk; needs a space that has one */
    FERRY_DURABLE_NOT = 2 /**< they wait in their sender's memory */
} ferry_durable_t;

/** What a sender does when its quota or capacity is used up. */
typedef enum ferry_overflow {
    FERRY_OVERFLOW_BLOCK = 0, /**< wait, up to the call's timeout */
    FERRY_OVERFLOW_FAIL = 1   /**< answer -EAGAIN (no room) or -EDQUOT (no quota) at once */
} ferry_overflow_t;

/** Which of a topic's messages a receiver wants that does not keep up. */
typedef enum ferry_newest {
    FERRY_NEWEST_ALL = 0,    /**< all of them, or the newest `depth` */
    FERRY_NEWEST_ONLY = 1,   /**< the newest of each sender: like a depth of 1 */
    FERRY_NEWEST_PER_TAG = 2 /**< the newest of each sender with each tag, in the order in which the tags' turns came */
} ferry_newest_t;

/**
 * What all ends of a channel must agree on, and what a sender asks for itself. Zero means no opinion; the first open
 * end to state a field fixes it for as long as it is open.
 */
typedef struct ferry_contract {
    size_t size; /**< sizeof(ferry_contract_t), or 0 for the same */

    /* shared by all ends; a mismatch is -EPROTOTYPE, and the sentence shows both sides */
    const char *type_name; /**< name of the message type, up to 63 bytes; NULL: no opinion */
    uint64_t type_size;    /**< exact size of every message in bytes; 0: no opinion */
    uint64_t max_size;     /**< largest message in bytes; 0: no opinion, the sender's quota bounds it */
    ferry_hold_t hold;     /**< topics only */
    uint32_t timestamps;   /**< 1: every message carries the time it was sent */

    /* each sender's own; ignored for receivers */
    uint64_t quota;    /**< bytes of memory for unreleased messages, at least 16 KiB; 0: 64 MiB */
    uint32_t capacity; /**< unreleased messages; 0: as many as the memory holds */
    uint32_t
        retain; /**< topics: the last messages kept for receivers that come late, at most 65,536 unless the topic is
                          durable, and as many as `quota` has room for beside what is not released; 0: none */
    ferry_overflow_t overflow; /**< what to do when either is used up */
    ferry_wait_t wait;         /**< how this sender waits for room */

    uint32_t rendezvous; /**< queues of one machine: 1: without capacity: ferry_send returns 0 when a receiver has taken
                              the message, and takes it back when none has */

    /* shared by all ends */
    ferry_durable_t
        durable; /**< in a space that spans machines (`nats://...`): see "Durable queues" and "Durable topics" */

    /* each sender's own */
    int64_t retain_age; /**< durable topics: nanoseconds after which the engine drops a message, at least 0.1 s; 0: no
                            opinion */
    uint32_t plain; /**< topics between machines: 1: clients of the engine's that are not Ferry's get its messages, too;
                         see "Plain topics" */
} ferry_contract_t;

/*
 * Durable queues.  In a space that spans machines a queue may be durable: the engine (a NATS server with JetStream)
 * keeps each message in a stream, on disk, until a receiver has released it.  So messages outlive all programs and a
 * restart of the server.  What is different:
 *
 *   - A message counts as released by its receiver, for ferry_sender_flush, ferry_sender_close and the sender's quota,
 *     once the engine has stored it; ferry_send does not wait for that.  What is stored and not yet released by a
 *     receiver is bounded too: by `capacity` messages (0: a million) and `quota` bytes (0: 1 GiB) of each sender; a
 *     sender that has used that up fills its own memory next, then waits or fails.
 *   - Every message is delivered at least once.  One that a machine had taken when it died comes again after 6 s, with
 *     its next attempt.  What is rejected, held for too long, or was with a receiver that has gone, goes back to the
 *     engine, waits there for its moment, and comes to any machine.  So `attempt`, and with it `max_attempts`, counts
 *     over all of them.  But a server that is killed may forget what was released in its last half second, and its
 *     count: that comes again, to another machine with attempt 1.
 *   - Order is kept per sender, but for messages that the engine refused meanwhile (its disk was full) or that come
 *     again.
 *   - ferry_msg_info: `sequence` is the stream's count, `sender_node` UINT64_MAX and `sender` 0; `time_ns` is 0.
 *   - A message has 1 GiB at most. One that is larger than the engine takes at once (its max_payload, 1 MiB by default)
 *     goes in pieces; it is delivered, acknowledged and comes again as one.
 *   - ferry_recv never says that the queue has ended (-EPIPE): another sender may come in a year.
 *   - All ends go through the engine, also those of one process.
 */

/*
 * Durable topics.  Likewise a topic: the engine keeps its messages in a stream, from which every receiver reads for
 * itself, at its own pace, from where it likes (`replay`), also those of a machine that was off when they were sent.
 * What is different from other topics:
 *
 *   - The stream keeps the last `retain` messages of all senders together (0: as many as fit), `quota` bytes (0: 1
 *     GiB), and none that is older than `retain_age`.  What a sender states is so from then on, for all; what it leaves
 *     at 0 stays as it is.
 *   - Receivers hold no sender back.  One that has not read what the stream drops loses it, which is counted
 *     (`lost_before`); a contract that says FERRY_HOLD_BACK is refused.
 *   - Each receiver gets each message once, in the order of the stream, which is each sender's own but for messages
 *     that the engine refused meanwhile.
 *   - A message counts as released, for ferry_sender_flush, ferry_sender_close and the sender's quota, once it is
 *     stored.
 *   - ferry_msg_info: `sequence` is the stream's count, which a restarted receiver can go on from: `replay`
 *     FERRY_REPLAY_SEQUENCE, `replay_from` one more than its last; `sender_node` is UINT64_MAX and `sender` 0.
 *   - `depth` and `newest` of a receiver count over all senders together.
 *   - Sizes and the end are those of durable queues.
 */

/*
 * Plain topics.  In a space that spans machines, ends of a topic that say `plain` have part with clients of the NATS
 * server that know nothing of Ferry.  What a plain sender sends is published on the subject ferry.SPACE.topic.NAME as
 * well (the name's dots are written as '~'): the payload is the message's bytes, the headers are Ferry-Node,
 * Nats-Msg-Id (NODE-END-SEQUENCE), Ferry-Type (the contract's type_name, if it has one) and Ferry-Tag (in hex, if it is
 * not 0).  A plain receiver also gets what others publish on that subject; what has the header Ferry-Node it gets from
 * its sender, and is not taken twice.
 *
 * Between Ferry's ends all is as without `plain`.  What holds for what foreign clients publish and hear:
 *
 *   - At most once: nothing is kept, acknowledged or sent again.  What is published while nobody listens, or is lost
 *     with a connection, is gone.  What a plain sender sends without a connection goes out later, up to 1 MiB; what is
 *     not published is counted (`unpublished` in ferry_sender_stats).  `retain` has no effect on it.
 *   - What one client publishes comes in its order; there is no order between that and what others send.
 *   - A plain sender takes no message that is larger than the server's max_payload (1 MiB by default), less 512 bytes
 *     (-EMSGSIZE).
 *   - A plain receiver gets no foreign message that has not the size or the limit that the contract states, or a header
 *     Ferry-Type with another name; and none for which there is no room: 8192 messages or 16 MiB wait beside its ring,
 *     more are dropped. Both are counted: as lost_before of the next one, and as `lost` in its figures.
 *   - ferry_msg_info of a foreign message: `sender_node` is UINT64_MAX and `sender` 0; `sequence` counts what has come
 *     for this receiver; `tag` is that of a header Ferry-Tag; `time_ns` is 0.
 *   - The way to foreign clients counts as a receiver of a plain sender, and as a sender of a plain receiver, which
 *     hence is never told of an end (-EPIPE).  A plain sender goes no faster than its node publishes, one by one.
 *
 * A durable topic cannot be plain: any client can read and write its stream.
 */

/** Where a receiver of a durable topic begins to read: with what is sent next at the latest, also if the time or the
 *  sequence it names is yet to come, so that it misses nothing that is sent once it is open. */
typedef enum ferry_replay {
    FERRY_REPLAY_RETAINED = 0, /**< as with other topics: what `retain` says is kept, if a sender has said so; else, and
                                    with no_history, what is sent from now on */
    FERRY_REPLAY_LAST = 1,     /**< the last `replay_from` messages, as far as they are kept, and on */
    FERRY_REPLAY_SEQUENCE =
        2, /**< the one whose `sequence` is `replay_from`; if it is dropped already, that is counted as lost */
    FERRY_REPLAY_TIME =
        3, /**< the first that was stored at `replay_from` or later: ns since 1970, by the engine's clock */
    FERRY_REPLAY_ALL = 4 /**< all that is kept */
} ferry_replay_t;

/** A receiver's own wishes; all zero is a good default. */
typedef struct ferry_receiver_options {
    size_t size;                      /**< sizeof(ferry_receiver_options_t), or 0 for the same */
    const ferry_contract_t *contract; /**< what this receiver expects of the channel; NULL: no opinion */
    ferry_wait_t wait;                /**< how this receiver waits */
    uint32_t max_held; /**< messages it may hold unreleased; 0: no limit of its own (the senders' quotas bound it) */
    uint32_t quantum;  /**< bytes served from one sender before the next one's turn; 0: 16 KiB */
    uint32_t
        may_lose; /**< topics: 1: never hold a sender back, lose the oldest instead, even where holding is allowed */
    uint32_t no_history; /**< topics: 1: do not ask for retained messages */
    uint32_t senders;    /**< the end (-EPIPE) comes once so many senders were linked, and all have ended; 0: 1;
                              UINT32_MAX: never, it waits for the next sender */
    uint32_t
        tap; /**< 1: it only looks: it gets a copy of what senders send from now on, takes no part in who gets what,
                       holds nobody back and may lose (counted); the channel's kind does not matter */
    uint32_t depth; /**< topics: of what was not taken yet, at most so many of each sender's newest messages are
                              kept, and older ones are lost; 0: all that fit. Implies may_lose. Small messages stand in
                              a ring that grows for that, to 4 MiB or a quarter of the sender's quota at most */
    ferry_newest_t
        newest;        /**< topics: only the newest, or the newest of each tag. Implies may_lose; not with `depth` */
    uint32_t prefetch; /**< queues: messages of one sender that may lie ready for it or be held, before others get the
                              next; 0: no limit. 1 for slow work: none waits behind another one while somebody is idle */
    int64_t
        ack_within; /**< queues: nanoseconds for which a message may be held without ferry_msg_progress, before another
                              receiver gets it, with the next attempt, and its holder -ESTALE; less than a
                              millisecond counts as one; 0: for ever. By CLOCK_MONOTONIC, which senders and
                              receivers of one machine must share: time_namespaces(7) may differ in it */
    uint32_t max_attempts;   /**< queues: a message that was tried so often goes to `dead_letter`, by the next call that
                                receives from the queue; 0: no limit */
    const char *dead_letter; /**< name of the queue for these; needed with max_attempts. See ferry_msg_origin */
    ferry_replay_t replay;   /**< durable topics: where it begins; other than 0, it is an error with other channels */
    uint64_t replay_from;    /**< what `replay` says */
    uint32_t plain; /**< topics between machines: 1: it also gets what clients that are not Ferry's publish; see
                                  "Plain topics" */
} ferry_receiver_options_t;

/** One end that puts messages in. Opening one is cheap: each thread opens its own. */
typedef struct ferry_sender ferry_sender_t;
/** One end that takes messages out. */
typedef struct ferry_receiver ferry_receiver_t;

/**
 * Opens a sender on `channel` (1 to 100 of the characters A-Z a-z 0-9 . _ -, not starting with a dot). When it
 * returns, it is linked with every receiver that was open before, except those that did not answer within a second.
 *
 * Errors: -EINVAL bad name, kind or contract; -EPROTOTYPE the contract contradicts the channel's; -ECHILD forked child;
 * -ENOTSUP a durable channel in a space without an engine, or whose server has no JetStream; -ENOTCONN, -ETIMEDOUT it
 * cannot be asked now; -EBADF closed node; -ESHUTDOWN; -EMFILE, -ENFILE, -ENOMEM, -EACCES, -ENOSPC as ferry_open;
 * -EMFILE also when too few descriptors are left for another process to be met; -EFBIG over `ulimit -f`; -EACCES also
 * when the server of a space that spans machines does not permit what the channel needs (the sentence has its words).
 */
FERRY_API int ferry_sender_open(ferry_t *node, const char *channel, ferry_kind_t kind, const ferry_contract_t *contract,
                                ferry_sender_t **tx);

/**
 * Copies `len` bytes in, at most once, and sends them. A queue's message waits in the sender's memory when no receiver
 * exists yet. Waiting for room is bounded by `timeout`.
 *
 * Errors: -EMSGSIZE not the contract's size, or over its limit or the quota; -EAGAIN no room (FERRY_NOW or
 * FERRY_OVERFLOW_FAIL); -EDQUOT no quota (likewise); -ETIMEDOUT; -EDEADLK all who could make room wait, for something
 * that this thread holds (see sync.h; looked for after 50 ms); -EINTR; -ESHUTDOWN; -EBUSY another thread is inside a
 * call on this handle, or a claim is open; -EBADF closed; -ECHILD; -EOWNERDEAD the owning thread has ended; -EACCES
 * what was sent before cannot leave this machine, since the server does not permit it any more: it is kept and tried
 * again; -ESTALE see ferry_sender_set_token.
 */
FERRY_API int ferry_send(ferry_sender_t *tx, const void *data, size_t len, int64_t timeout);

/**
 * Reserves `len` bytes to be written in place; `*data` is aligned to at least 16 bytes. One claim may be open at a
 * time, and must be ended by ferry_commit or ferry_abort. Errors as ferry_send.
 */
FERRY_API int ferry_claim(ferry_sender_t *tx, size_t len, int64_t timeout, void **data);
/**
 * Sends the first `len` bytes of the open claim. -EINVAL: no claim is open, or more than was claimed; -EMSGSIZE not the
 * contract's size: the claim stays open.
 */
FERRY_API int ferry_commit(ferry_sender_t *tx, size_t len);
/** Gives the open claim up. -EINVAL: no claim is open. */
FERRY_API int ferry_abort(ferry_sender_t *tx);

/**
 * Sends a message by pointer; `m` stays the caller's, to read, to edit, to send again. A message of another sender, or
 * a received one, is sent as a copy (counted). Errors as ferry_send; -EBADMSG as ferry_msg_edit.
 */
FERRY_API int ferry_send_msg(ferry_sender_t *tx, ferry_msg_t *m, int64_t timeout);

/**
 * Gives all that a durable sender sends from now on a fencing token, as ferry_mutex_token gave it; 0: none, as at
 * first. The engine keeps the largest token that was used on the channel. So a lock's holder that was stopped, and
 * comes back after others have had the lock, cannot put its messages behind theirs: from the first message on that is
 * stored with a newer token, the server stores none with an older one, wherever that was on its way; what it has stored
 * with an older one stands before. What is refused so is counted (`refused` in ferry_sender_stats, and in
 * ferry_sender_close's `*undelivered`), and every call that sends on this sender, and ferry_sender_flush, answers
 * -ESTALE until it gets another token. A message whose answer was lost with a connection may count as refused though it
 * is stored. What is sent without a token is not held to this.
 *
 * Messages with a token are stored one behind the other, so whoever else sends on the channel at the same time slows
 * them down. The call asks the engine, for up to 5 s.
 *
 * Errors, after which the sender has the token that it had: -ESTALE a newer one was used; -ENOTSUP the channel is not
 * durable; -ETIMEDOUT, -ENOTCONN the engine cannot be asked now; -EACCES; -ENOSPC; -ESHUTDOWN; -ENOMEM; -EBUSY; -EBADF;
 * -ECHILD.
 */
FERRY_API int ferry_sender_set_token(ferry_sender_t *tx, uint64_t token);

/**
 * Waits until at least `receivers` receivers are linked. Returns how many are. Errors: -ETIMEDOUT, -EAGAIN (FERRY_NOW),
 * -EINTR, -ESHUTDOWN, -EBADF, -EBUSY.
 */
FERRY_API int ferry_sender_wait(ferry_sender_t *tx, unsigned receivers, int64_t timeout);

/**
 * Waits until every message sent so far has been released or purged (queue) or passed by every linked receiver (topic).
 * Errors: -ETIMEDOUT, -EAGAIN, -EINTR, -ESHUTDOWN, -EBADF, -EBUSY; -EDEADLK whoever could release them waits for the
 * caller, or is the caller; -ESTALE see ferry_sender_set_token.
 */
FERRY_API int ferry_sender_flush(ferry_sender_t *tx, int64_t timeout);

/**
 * Closes the sender; NULL is allowed. Lingers until every message was delivered and released, or `timeout` has
 * passed; then `*undelivered` (may be NULL) says how many were not, those that somebody has purged among them. A
 * queue's messages that no receiver has taken are then lost; receivers that hold or still read some keep them. Handles
 * of this sender's messages become stale.
 *
 * Returns 0, also when messages were left (`*undelivered` tells). The handle is closed in any case but -EBADF (it was
 * closed before), -EBUSY and -EINTR (a signal ended the linger: call again). -EBADMSG (only with FERRY_CHECK=1):
 * closed, and a message was changed after it was sent. Of a handle whose thread has ended (base.h) nothing lingers, and
 * nothing is counted: what no receiver had been given went with the thread.
 */
FERRY_API int ferry_sender_close(ferry_sender_t *tx, int64_t timeout, uint64_t *undelivered);

/** What a sender has done and holds. */
typedef struct ferry_sender_stats {
    size_t size;       /**< in: sizeof(ferry_sender_stats_t), or 0 for the same */
    uint64_t messages; /**< sent */
    uint64_t bytes;
    uint64_t copies_made; /**< by this side: send copies in, edit, messages of other senders */
    uint64_t copied_bytes;
    uint64_t copies_avoided; /**< claims and pointers handed over where a copy is usual */
    uint64_t avoided_bytes;
    uint64_t unreleased;  /**< messages sent and not yet released by all (an upper bound between batches) */
    uint64_t redelivered; /**< messages that came back from a receiver and went to another */
    uint64_t pool_blocks; /**< pool blocks in use */
    uint64_t pool_bytes;  /**< bytes of these blocks */
    uint64_t memory;      /**< bytes of memory charged to the quota */
    uint32_t receivers;   /**< linked now */
    uint32_t waits;       /**< times the sender slept for room */
    uint64_t purged;      /**< messages that were dropped (ferry_purge) before they were taken, or as dead letters */
    uint64_t refused; /**< durable senders with a token: messages that were not stored, since a newer one was used */
    uint64_t unpublished; /**< plain senders: messages that foreign clients were not given, for want of a connection */
} ferry_sender_stats_t;
/** Fills `*stats`; exact as of the call. Errors: -EBADF, -EBUSY. */
FERRY_API int ferry_sender_stats(ferry_sender_t *tx, ferry_sender_stats_t *stats);

/**
 * Opens a receiver. When it returns, it is linked with every sender that was open before (except those that did not
 * answer within a second): what they send from now on reaches it. Errors as ferry_sender_open.
 */
FERRY_API int ferry_receiver_open(ferry_t *node, const char *channel, ferry_kind_t kind,
                                  const ferry_receiver_options_t *options, ferry_receiver_t **rx);

/**
 * Takes the next message. It stays valid and unchanged until it is released. Senders are served in turn, at most one
 * quantum of bytes each.
 *
 * Errors: -EPIPE at least one sender (or as many as the option `senders` says) was linked, all have ended and nothing
 * is left; a sender that comes later ends that state; -EAGAIN nothing there
 * (FERRY_NOW); -ETIMEDOUT; -EINTR; -ESHUTDOWN, of an expelled node (ferry_kick) also while messages wait, which others
 * get; -EDQUOT as many messages are held as max_held allows; -EPROTO a sender
 * broke the rules and was expelled (the others are still served: call again); -ENOMEM no memory for a handle, or to map
 * what a sender announced, or that is more than the node's `max_memory_per_peer` (the sentence says which; the others
 * are still served); -EMFILE, -ENFILE no descriptor was left to be linked with a sender, or to take in what one
 * announced (likewise). That sender counts as ended. One that announced too much is given up for good, and told of
 * once. Any other keeps its messages, is told of once a minute at most, and is linked again within a second after there
 * are descriptors and memory, as long as this receiver is open: a topic's then as one that has come late, so that it
 * gets once more what `retain` keeps, and not what was sent meanwhile; -EPROTOTYPE the contract of the queue
 * `dead_letter` does not admit a message that was tried too often: it stays with its sender, and is tried again when
 * this receiver has closed (told once a minute at most; call again); -EBUSY; -EBADF; -ECHILD; -EOWNERDEAD.
 */
FERRY_API int ferry_recv(ferry_receiver_t *rx, int64_t timeout, ferry_msg_t **m);

/**
 * Takes the next message by copy: at most `cap` bytes to `buf`, its size to `*len`, and releases it.
 * Errors as ferry_recv; -EMSGSIZE the message is larger than `cap`: it stays, `*len` is set to its size.
 */
FERRY_API int ferry_recv_into(ferry_receiver_t *rx, void *buf, size_t cap, int64_t timeout, size_t *len);

/**
 * Waits for the first message, then takes up to `max` that are there. Returns how many. Errors as ferry_recv; one that
 * comes after the first message ends the batch.
 */
FERRY_API int ferry_recv_batch(ferry_receiver_t *rx, ferry_msg_t **msgs, size_t max, int64_t timeout);

/**
 * A descriptor that polls readable while messages wait (level-triggered; it may also be readable when none does).
 * Use: wait for it with poll or epoll, then call ferry_recv(rx, FERRY_NOW, &m), as often as you like. It belongs to the
 * receiver: do not read it, do not close it. Errors: -EBADF, -EBUSY.
 */
FERRY_API int ferry_receiver_fd(ferry_receiver_t *rx);

/** Number of senders linked now. Errors: -EBADF, -EBUSY. */
FERRY_API int ferry_receiver_senders(ferry_receiver_t *rx);

/** What a receiver has done and holds. */
typedef struct ferry_receiver_stats {
    size_t size; /**< in: sizeof(ferry_receiver_stats_t), or 0 for the same */
    uint64_t messages;
    uint64_t bytes;
    uint64_t copies_made; /**< by this side: recv_into, edit, private, records that could be overtaken */
    uint64_t copied_bytes;
    uint64_t copies_avoided; /**< messages read where the sender wrote them */
    uint64_t avoided_bytes;
    uint64_t held;            /**< taken and not released */
    uint64_t lost;            /**< messages lost because this receiver was too slow */
    uint64_t senders_seen;    /**< linked since it was opened */
    uint32_t senders;         /**< linked now */
    uint32_t sleeps;          /**< times the receiver slept */
    uint64_t dead_letters;    /**< messages that it sent to its dead-letter queue, */
    uint64_t letters_waiting; /**< and those of them that nobody has received and released, or purged, yet */
} ferry_receiver_stats_t;
/** Fills `*stats`. Errors: -EBADF, -EBUSY. */
FERRY_API int ferry_receiver_stats(ferry_receiver_t *rx, ferry_receiver_stats_t *stats);

/**
 * Closes the receiver; NULL is allowed. Messages of a queue that were not released go to another receiver. Message
 * handles still held stay readable until they are released or the node is closed, as private copies (one for whose copy
 * there is no memory stays where it is, at the cost of its sender's quota): ask ferry_msg_data again, earlier pointers
 * must not be used. Returns 0, or how many messages were still held.
 * Errors: -EBADF, -EBUSY.
 */
FERRY_API int ferry_receiver_close(ferry_receiver_t *rx);

#ifdef __cplusplus
}
#endif
#endif
