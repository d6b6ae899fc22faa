/* SPDX-License-Identifier: MIT
 *
 * ferry/rpc.h - remote procedure calls: a procedure in another thread or process, called as plainly as a local one.
 *
 * A service is a name in a space, with methods.  Any number of threads and processes may serve it; each thread takes
 * one call at a time.  A client sends each call to the server thread that will probably be done with it first.
 * Arguments and results are bytes; for typed ones, protoc-gen-ferry makes C stubs from .proto files.
 *
 * How a call ends.  It ends exactly once, in one of these ways, and no answer that comes later is seen:
 *   0                   the result is there
 *   FERRY_CALL_FAILED   the procedure has answered with an error of its own: see ferry_call_error
 *   -ENOENT             nobody serves this (any more): the procedure was not run. When the last known server has gone, a
 *                       client looks for others first, and waits for one that is slow to answer, for up to 1 s. Between
 *                       machines, one that has had answers looks for up to 2 s for a server whose connection is on its
 *                       way back
 *   -ENOSYS             the service has no such method
 *   -EBUSY              the client has as many calls under way as it or the service allows: not sent
 *   -ECONNRESET         the server died or left while it had the call: the procedure may have run, wholly or in part.
 *                       A method marked idempotent is retried on another server instead, if there is one
 *   -ETIME              the call's time has passed; -ETIMEDOUT where the call and the wait for it are one (ferry_call).
 *                       If a server has begun, it may run to its end, but its answer will not be seen
 *   -ECANCELED          ferry_call_cancel, or the server is stopping
 *   -EDEADLK            this call waits for a thread that waits for this one (looked for after 50 ms)
 *   -EPROTO             a server answered with nonsense
 *
 * Machines.  In a space that spans machines (space.h) a client also reaches servers elsewhere, where this machine has
 * none, or none that will be done as soon.  Each service is a NATS service then: any NATS client can find it ($SRV) and
 * call it, at "ferry.SPACE.svc.SERVICE.METHOD" (dots within a name become '~'), and a client of NAME calls a service of
 * another make that is called so, with its endpoints as methods.  There, a call also ends with
 *   -ECONNRESET         after a lost connection, where it is not known what became of it
 *   -ENOTCONN           there is no connection to a NATS server, and no room to keep the call until there is
 *   -EACCES             the NATS server denies it
 * While there is no connection to a NATS server, calls and answers are kept, up to 64 MiB in a node, and sent when
 * there is one again; as long as more than 1 MiB of them is then still being sent, the next call waits for that before
 * it begins, not beyond its deadline and for 4 s at most. A call whose time passes before it is sent has not been run,
 * and its sentence says so. One that is not answered (ferry_call_one_way) is not kept, but waits. That a server stands
 * still is noticed within 1.5 s; what was sent to it before that counts as sent, and where that is more than sockets
 * hold, some MiB, a call may end up to 4 s late.
 * A signal ends the wait of ferry_call with -EINTR only after its first 5 ms; ferry_call_start with an argument that is
 * larger than a NATS message returns when that is there.
 *
 * Deadlines.  A call's timeout is its deadline, which travels with it: a call that has expired is not started, and
 * calls that its handler makes in turn have no more time than what is left.  Processes of one machine share
 * CLOCK_MONOTONIC.
 */
#ifndef FERRY_RPC_H
#define FERRY_RPC_H

#include "channel.h"
#include "message.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FERRY_CALL_FAILED 1 /**< the procedure has answered with an error of its own */
#define FERRY_CALL_MORE 2   /**< one result of several; the call goes on */

/** Methods that every service has. */
#define FERRY_METHOD_DESCRIBE "$describe" /**< result: JSON text, {"service", "comment", "methods": [{"name", ...}]} */
#define FERRY_METHOD_DESCRIPTOR "$descriptor" /**< result: the descriptor given at opening, perhaps empty */

/* ---- serving ---- */

/** A service that this process serves. Any thread, several at once. */
typedef struct ferry_service ferry_service_t;
/** A call that is being served. Its handler's thread only, until the handler returns. */
typedef struct ferry_request ferry_request_t;

/**
 * A procedure.  `data` are the argument's bytes (in the caller's memory: a hostile caller can change them meanwhile,
 * see ferry_request_private), valid until it returns.  It answers by ferry_reply or one of its kin, then returns 0;
 * without an answer, 0 is an empty result, or, where an answer could not be sent, an error with that code.  A negative
 * errno value is an error with that code and its usual words.
 */
typedef int ferry_handler_t(ferry_request_t *rq, const void *data, size_t size, void *arg);

typedef struct ferry_service_options {
    size_t size;         /**< sizeof(ferry_service_options_t), or 0 for the same */
    ferry_wait_t wait;   /**< how its threads wait for calls */
    uint32_t queue;      /**< calls that one client may have under way, beyond which it gets -EBUSY; 0: 1024 */
    uint64_t quota;      /**< bytes of results of one thread for one client that wait to be read, at least 16 KiB; 0:
                            64 MiB */
    const char *comment; /**< for people; copied */
    const void
        *descriptor; /**< a serialized google.protobuf.FileDescriptorSet, if the messages are protobuf's; copied */
    size_t descriptor_size;
} ferry_service_options_t;

/** What is to be known of a method. Strings are copied. */
typedef struct ferry_method_options {
    size_t size;         /**< sizeof(ferry_method_options_t), or 0 for the same */
    uint32_t idempotent; /**< 1: running it twice does no harm: retried on another server if one dies */
    uint32_t streams;    /**< 1: answers with several results (ferry_reply_more) */
    const char *input;   /**< name of the argument's type; NULL: bytes */
    const char *output;  /**< name of the result's type; NULL: bytes */
    const char *comment; /**< for people */
} ferry_method_options_t;

/**
 * Opens a service, of 1 to 60 of the characters A-Z a-z 0-9 . _ -, not starting with a dot. Nothing is served before
 * ferry_service_start or _run. Close it before its node, which else does that if it is served.
 * Errors: -EINVAL bad name or options; -EBADF; -ECHILD; -ENOMEM; -ESHUTDOWN.
 */
FERRY_API int ferry_service_open(ferry_t *node, const char *name, const ferry_service_options_t *options,
                                 ferry_service_t **service);

/**
 * Adds a method (1 to 100 printable characters without spaces, not starting with '$'), before anything is served.
 * Errors: -EEXIST there is one of that name; -EINVAL; -EBUSY it is being served; -ENOMEM; -EBADF; -ECHILD.
 */
FERRY_API int ferry_service_method(ferry_service_t *service, const char *method, ferry_handler_t *handler, void *arg,
                                   const ferry_method_options_t *options);

/**
 * Starts `threads` threads (1 to 256 in all) that serve until ferry_service_stop; when it returns, clients find them.
 * All signals are blocked in them. Errors: -EINVAL; -EAGAIN more than 256 in all: none was started; -ECANCELED it was
 * stopped; -EBADF; -ECHILD; and after these, some may have been started (ferry_service_stats tells how many serve):
 * -EAGAIN no more threads; -EMFILE; -ENOMEM; -ESHUTDOWN.
 */
FERRY_API int ferry_service_start(ferry_service_t *service, unsigned threads);

/**
 * The calling thread serves, until the service is stopped (0) or `timeout` has passed (-ETIMEDOUT; FERRY_NOW: serves
 * the calls that are there, a thousand at most, then -EAGAIN). Between two of these calls clients may send to this
 * thread, and wait for it; when the thread ends, what it has not begun goes to others. Other errors: -ESHUTDOWN;
 * -EINTR; -EDEADLK called by a handler; -EMFILE; -ENOMEM; -EBADF; -ECHILD.
 */
FERRY_API int ferry_service_run(ferry_service_t *service, int64_t timeout);

/**
 * A descriptor that polls readable while calls wait for the calling thread: then call ferry_service_run(service,
 * FERRY_NOW). Opens what the thread needs to serve. It belongs to the service. Errors: as ferry_service_run.
 */
FERRY_API int ferry_service_fd(ferry_service_t *service);

/**
 * Asks all threads to stop: each finishes the calls that it has been sent; clients send new ones to others. Returns at
 * once; async-signal-safe. Errors: -EBADF.
 */
FERRY_API int ferry_service_stop(ferry_service_t *service);

/**
 * Stops the service, and waits for its threads to finish what they have accepted, for at most `timeout`; then their
 * calls are seen as cancelled (ferry_request_is_cancelled), and it waits for their handlers to return. NULL is
 * allowed. Results that were given stay readable; those for a client that stands still are lost if it does not go on
 * within `timeout`: that one hears that its call may have run. Between machines, what was on its way to the service is
 * finished, too. Errors: -EBADF; -ECHILD; -EDEADLK called by a handler.
 */
FERRY_API int ferry_service_close(ferry_service_t *service, int64_t timeout);

/** What a service's threads in this process have done. */
typedef struct ferry_service_stats {
    size_t size;      /**< in: sizeof(ferry_service_stats_t), or 0 for the same */
    uint64_t calls;   /**< begun */
    uint64_t errors;  /**< of these, answered with an error */
    uint64_t refused; /**< not begun: no such method, or it may have run on another server */
    uint64_t expired; /**< not begun: cancelled, or its time had passed */
    uint64_t busy_ns; /**< time spent in handlers */
    uint64_t p50_ns;  /**< half of the calls took no longer in their handlers (to within an eighth) */
    uint64_t p99_ns;
    uint32_t threads; /**< that serve now */
    uint32_t running; /**< of these, inside a handler */
} ferry_service_stats_t;
/** Fills `*stats`: a snapshot. Errors: -EBADF; -ECHILD. */
FERRY_API int ferry_service_stats(ferry_service_t *service, ferry_service_stats_t *stats);

/* ---- within a handler ---- */

/** The result: `size` bytes, copied once. The last answer to this call.
 * Waits for room until the call's deadline, or until it counts as cancelled (ferry_request_is_cancelled).
 * Errors: -EALREADY it was answered; -EPIPE the caller is gone; -ETIME; -ECANCELED; -EMSGSIZE; -EDQUOT; -EDEADLK;
 * -ENOTCONN (between machines) no room to keep it until there is a connection. */
FERRY_API int ferry_reply(ferry_request_t *rq, const void *data, size_t size);

/** Takes a writable message for a result from this thread's memory for that client. It is sent by ferry_reply_msg or
 * ferry_reply_more_msg without a copy, and released by the handler. Errors: -EMSGSIZE; -EDQUOT; -ETIME; -ENOMEM;
 * -EPIPE. */
FERRY_API int ferry_reply_new(ferry_request_t *rq, size_t size, void **data, ferry_msg_t **m);
/** The result, by pointer; any other message than one of ferry_reply_new is sent as a copy. As ferry_reply. */
FERRY_API int ferry_reply_msg(ferry_request_t *rq, ferry_msg_t *m);

/**
 * One of several results; the handler's return ends the stream. Waits while the caller has 32 of them, or 4 MiB, not
 * taken yet, for as long as the call has time. Errors: as ferry_reply; -EPERM the caller wants one result only.
 */
FERRY_API int ferry_reply_more(ferry_request_t *rq, const void *data, size_t size);
FERRY_API int ferry_reply_more_msg(ferry_request_t *rq, ferry_msg_t *m);

/** An error of the procedure's own: the last answer. `code` is any number but 0; `message` (NULL: none) and `detail`
 * are for the caller. As ferry_reply; -EINVAL code 0. */
FERRY_API int ferry_reply_error(ferry_request_t *rq, int32_t code, const char *message, const void *detail,
                                size_t detail_size);

/** 1: nobody waits for the answer any more: cancelled, expired, or the caller is gone. Costs nothing: ask often. */
FERRY_API int ferry_request_is_cancelled(const ferry_request_t *rq);

/** The argument's bytes in memory that the caller cannot change: copied once. Errors: -ENOMEM. */
FERRY_API int ferry_request_private(ferry_request_t *rq, const void **data);

typedef struct ferry_request_info {
    size_t size; /**< in: sizeof(ferry_request_info_t), or 0 for the same */
    const char *method;
    uint64_t client_node; /**< ferry_node_id of the caller's node */
    uint64_t client;      /**< number of the calling client within its node */
    int64_t time_left;    /**< nanoseconds; FERRY_FOREVER: no limit */
    uint32_t attempt;     /**< 1, or more when earlier servers have died with it */
    uint32_t one_way;     /**< 1: nobody waits for an answer */
    uint32_t streams;     /**< 1: the caller takes several results */
    uint32_t reserved;
} ferry_request_info_t;
FERRY_API int ferry_request_info(const ferry_request_t *rq, ferry_request_info_t *info);

/* ---- calling ---- */

/** A caller of one service. One thread at a time; each thread opens its own. While a thread is inside a call on it,
 * also one that waits for an answer, every call of another thread on it or on one of its calls ends with -EBUSY and
 * does nothing (ferry_call_set_context and ferry_call_context are not looked after). */
typedef struct ferry_client ferry_client_t;
/** A call under way. Used under the same rule as its client. */
typedef struct ferry_call ferry_call_t;

typedef struct ferry_client_options {
    size_t size;       /**< sizeof(ferry_client_options_t), or 0 for the same */
    ferry_wait_t wait; /**< how it waits for answers, and for room */
    uint32_t calls;    /**< that may be under way at once, up to 1,048,576; 0: 1024; the service may allow fewer */
    uint64_t quota;    /**< bytes of memory for arguments, at least 16 KiB; 0: 64 MiB */
} ferry_client_options_t;

/**
 * Opens a client. When it returns, it is linked with every server thread that was there before; none is no error.
 * Errors: -EINVAL; as ferry_sender_open.
 */
FERRY_API int ferry_client_open(ferry_t *node, const char *service, const ferry_client_options_t *options,
                                ferry_client_t **client);

/** Waits until at least `servers` server threads are there; those that are leaving do not count. Returns how many are.
 * Errors: -ETIMEDOUT, -EAGAIN (FERRY_NOW), -EINTR, -ESHUTDOWN, -EBADF, -EBUSY, -ECHILD. */
FERRY_API int ferry_client_wait(ferry_client_t *client, unsigned servers, int64_t timeout);

/**
 * Calls `method` and waits for the result, which is the caller's: ferry_msg_release it. Small arguments are copied,
 * once. `reply` NULL: the result is not wanted. With FERRY_CALL_FAILED, `*reply` holds the error.
 *
 * Returns 0, FERRY_CALL_FAILED, or how the call ended (above); -EINTR a signal came: it may have run; -EMSGSIZE,
 * -EDQUOT the argument is larger than the quota, or than what is left of it: not sent; -ENOTSUP the method answers
 * with several results: use ferry_call_start; -ESHUTDOWN; -EBUSY also: another thread is inside this client; -EBADF;
 * -ECHILD; -EOWNERDEAD.
 */
FERRY_API int ferry_call(ferry_client_t *client, const char *method, const void *data, size_t size, int64_t timeout,
                         ferry_msg_t **reply);

/** Takes a writable message for an argument from the client's memory (as ferry_msg_new; where the quota is used up and
 * no server could release anything, at once -ENOENT, or -EDQUOT if other machines have servers). */
FERRY_API int ferry_client_new_msg(ferry_client_t *client, size_t size, int64_t timeout, void **data, ferry_msg_t **m);
/** Calls with a message of ferry_client_new_msg by pointer: it stays the caller's, to read, to edit, to send again.
 * Any other message is sent as a copy. */
FERRY_API int ferry_call_msg(ferry_client_t *client, const char *method, ferry_msg_t *m, int64_t timeout,
                             ferry_msg_t **reply);

/** Sends a call that is not answered. `timeout` is its deadline. When its server dies or leaves without having begun
 * it, it goes to another one, or waits in the client for one to come. Between machines it waits for a connection to a
 * NATS server until its deadline, then -ETIME, or until a signal comes, then -EINTR: it was not sent. Errors: -ENOENT,
 * -EBUSY, and those of sending. */
FERRY_API int ferry_call_one_way(ferry_client_t *client, const char *method, const void *data, size_t size,
                                 int64_t timeout);

/** How a call is to be made. */
#define FERRY_CALL_STREAM 1u /**< several results are welcome */

/**
 * Starts a call; `timeout` is its deadline. Every call that was started is released by ferry_call_release.
 * Errors: what ferry_call has before it waits.
 */
FERRY_API int ferry_call_start(ferry_client_t *client, const char *method, const void *data, size_t size,
                               uint32_t flags, int64_t timeout, ferry_call_t **call);
FERRY_API int ferry_call_start_msg(ferry_client_t *client, const char *method, ferry_msg_t *m, uint32_t flags,
                                   int64_t timeout, ferry_call_t **call);

/**
 * Waits for the call's next result, and takes it. Returns FERRY_CALL_MORE: `*reply` is one of several; 0: the call
 * has ended, `*reply` is its result, NULL at the end of a stream; FERRY_CALL_FAILED; or how the call ended (above),
 * again and again if asked again. -ETIMEDOUT, -EAGAIN (FERRY_NOW), -EINTR: only this wait has ended, the call goes on.
 * So it does after -EBUSY, where another thread is inside the client; where none is, that is how it ended: the service
 * on another machine had no place for it. `reply` may be NULL.
 */
FERRY_API int ferry_call_wait(ferry_call_t *call, int64_t timeout, ferry_msg_t **reply);

/** Waits until any call of the client that was started has something to be taken by ferry_call_wait; in turn, if
 * several have. Errors: -ENOENT no call is under way; -ETIMEDOUT, -EAGAIN (FERRY_NOW), -EINTR, -ESHUTDOWN, -EBADF,
 * -EBUSY, -ECHILD. */
FERRY_API int ferry_client_next(ferry_client_t *client, int64_t timeout, ferry_call_t **call);

/** A descriptor that polls readable while answers wait (level-triggered; also by itself at times). Use: wait for it
 * with poll, epoll or ferry_poll, then call ferry_client_next(client, FERRY_NOW, &call) until -EAGAIN. Deadlines are
 * noticed only when called. */
FERRY_API int ferry_client_fd(ferry_client_t *client);

/** Asks the server to stop, and ends the call with -ECANCELED. 0; -EALREADY: it has ended before; -EBUSY, -EBADF,
 * -ECHILD. */
FERRY_API int ferry_call_cancel(ferry_call_t *call);

/** Frees the call, cancelling it first if it goes on. Results that were taken stay the program's. NULL is allowed.
 * Errors: -EBUSY, -EBADF, -ECHILD. */
FERRY_API int ferry_call_release(ferry_call_t *call);

/** A pointer of the program's that goes with the call. */
FERRY_API void ferry_call_set_context(ferry_call_t *call, void *context);
FERRY_API void *ferry_call_context(const ferry_call_t *call);

/** The error that a procedure has answered with. Strings belong to the message. */
typedef struct ferry_call_error {
    size_t size; /**< in: sizeof(ferry_call_error_t), or 0 for the same */
    int32_t code;
    uint32_t reserved;
    const char *message; /**< "" when there is none */
    const void *detail;  /**< aligned to 16 bytes */
    size_t detail_size;
} ferry_call_error_t;
/** Reads the error out of a reply that came with FERRY_CALL_FAILED. Errors: -EINVAL it is none; -EBADF. */
FERRY_API int ferry_call_error(ferry_msg_t *reply, ferry_call_error_t *error);

typedef struct ferry_client_stats {
    size_t size;      /**< in: sizeof(ferry_client_stats_t), or 0 for the same */
    uint64_t calls;   /**< sent */
    uint64_t answers; /**< of these, that ended with a result or an error of the procedure's */
    uint64_t retried; /**< sent again after a server died or left */
    uint32_t servers; /**< server threads linked now */
    uint32_t under_way;
} ferry_client_stats_t;
/** Fills `*stats`. Errors: -EBADF, -EBUSY, -ECHILD. */
FERRY_API int ferry_client_stats(ferry_client_t *client, ferry_client_stats_t *stats);

/**
 * Closes the client; NULL is allowed. Calls under way are cancelled, their handles are no longer valid. One-way calls
 * are given until `timeout` to be finished; then `*undone` (may be NULL) says how many were not. Replies still held
 * stay readable, as ferry_receiver_close has it. Returns 0; -EBADF, -EBUSY, -ECHILD; -EINTR: call again; -EBADMSG as
 * ferry_sender_close.
 */
FERRY_API int ferry_client_close(ferry_client_t *client, int64_t timeout, uint64_t *undone);

#ifdef __cplusplus
}
#endif
#endif
