/* SPDX-License-Identifier: MIT
 *
 * ferry/sync.h - mutex, reader-writer lock, semaphore, barrier and event, between threads and between processes.
 *
 * An object has a name in a space (1 to 100 of the characters A-Z a-z 0-9 . _ -, not starting with a dot).  Whoever
 * opens it first creates it, every holder serves it to those who come later, and it is gone with the last.  Names of
 * objects and names of channels do not meet.
 *
 *   - What is locked belongs to the *handle*, not to the thread: each thread (or each concern) opens its own.  A handle
 *     is used by one thread at a time, and may move to another one, also while it holds something.  What it holds
 *     counts as held by the thread that used it last.
 *   - Death: the kernel tells of it.  A process that dies, a thread that ends while its handle holds something, or a
 *     node that is closed with something held, leaves a lock that the next taker gets with FERRY_OWNER_DIED.  No
 *     wake-up is lost by a death at any instruction.
 *   - Fairness: who asks while an object is free gets it, but somebody who has waited for a millisecond ends that: from
 *     then on it goes from sleeper to sleeper, those first who have waited for a millisecond, in that order, until one
 *     takes it that has waited for less.  Whoever looks for a deadlock (at `deadlock_after`, then ever more seldom)
 *     goes behind the others who have waited so long.  So the longest wait is a millisecond, a turn of one who slips in
 *     while the first sleeper is being woken, and a turn of each who has waited for longer: as long as it is held, and
 *     a wake-up; and what the system needs to give those who are awake a processor.  `ferry bench lock` measures it.
 *   - Deadlock: a wait that lasts longer than `deadlock_after` looks whether it is part of a circle of threads that
 *     wait for each other, in whatever processes, over mutexes, reader-writer locks, owned semaphores, full queues,
 *     calls and child processes, also through several spaces of this machine.  The wait that closed the circle ends
 *     with -EDEADLK; ferry_last_error() then has the circle in words. Time alone is never evidence: every link of the
 *     circle is seen twice, unchanged.
 *
 * In a space that spans machines (nats://..., space.h), everything above holds, and further:
 *
 *   - What is held is a *lease*. A node that others have asked in vain for two to three seconds, because its process
 *     was killed or stopped, or its machine or connection has failed, counts as dead, and who waits takes what it held.
 *     Only who waits asks: without waiters nothing is lost. A holder that lives is told, before another one has it:
 *     ferry_mutex_check, unlock, release and the next lock return -ESTALE, once the lease was lost, or may have been,
 *     since no question that was sent in the last 1.4 s has had an answer of the server's, which is asked four times a
 *     second while something is held. Between the loss and such a call it may act as if it still held the lock. So give
 *     the token along with what is done to a storage, and let that refuse older ones.
 *   - Tokens also grow over the lives of objects of one name, as far as the server's clock does not go back.
 *   - An unlock without a connection waits for one, up to 1.4 s, then gives up with -ESTALE.
 *   - Fairness: first come, first served, for up to 256 waiters of one object; readers go in together. More wait in no
 *     order. An auto-reset event lets any waiter through.
 *   - Deadlocks are found among mutexes, reader-writer locks and owned semaphores of the same networked space. A circle
 *     that also goes through objects of the machine's own, channels or child processes is not.
 *   - "Gone with the last": after the death of all who had it open, the next who opens it waits two seconds to be sure,
 *     and begins anew; but it still gets FERRY_OWNER_DIED if a lock was held.
 *   - Timeouts hold while the server is away and comes back, and over a line on which its answers take longer than they
 *     are; then a call may last 0.5 s longer. A call without a timeout that needs the server (set, reset, count,
 *     release, value) gives up after 5 s with -ENOTCONN or -ETIMEDOUT. After these it is not known whether a plain unit
 *     was released or taken, or an event set.
 *   - Further errors: -ENOTCONN no connection to a server, -ETIMEDOUT no answer of it within 0.5 s (both also with
 *     FERRY_NOW); -ENOTSUP the server has no JetStream; -EACCES it denies permission; -ENOSPC it has no room;
 *     -EPROTONOSUPPORT another version of Ferry uses the object; -EUSERS more than 1024 nodes would have it open.
 *
 * No call here is a cancellation point (pthreads(7)) while it waits; one that opens or closes is on entry.
 *
 * Errors that any call here can give: -EBADF the handle is closed, or none; -ECHILD it belongs to the parent process;
 * -EBUSY another thread is inside a call on this handle (setting and looking at an event excepted: they do not wait);
 * -EOWNERDEAD the thread that used this handle last ended while it held something.
 */
#ifndef FERRY_SYNC_H
#define FERRY_SYNC_H

#include "space.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What a lock call returns when it holds the lock, and the holder before died with it: the state may be
 * half-changed. */
#define FERRY_OWNER_DIED 1
/** What ferry_barrier_wait returns to exactly one participant of each round. */
#define FERRY_BARRIER_LAST 1
/** A count or number of parties: no opinion, take what the others have said. */
#define FERRY_ANY UINT32_MAX

#define FERRY_MAX_UNITS 4096u       /**< of an owned semaphore */
#define FERRY_MAX_COUNT 0x3fffffffu /**< of a plain semaphore */
#define FERRY_MAX_PARTIES 4096u     /**< of a barrier */
#define FERRY_MAX_READERS 512u /**< that hold one reader-writer lock at the same time; others wait for one to leave */

/** How a handle waits; all zero is a good default, and NULL means the same. */
typedef struct ferry_sync_options {
    size_t size;            /**< sizeof(ferry_sync_options_t), or 0 for the same */
    ferry_wait_t wait;      /**< as for channels */
    int64_t deadlock_after; /**< nanoseconds of waiting until a deadlock is looked for; 0: 50 ms; negative: never */
    uint32_t owned; /**< semaphores: 1: units belong to their holders and return when one dies; all openers alike */
    uint32_t auto_reset; /**< events: 1: a set event lets one waiter through and is reset by it; all openers alike */
} ferry_sync_options_t;

/* ---- mutex ---- */

/** A lock for one holder at a time. */
typedef struct ferry_mutex ferry_mutex_t;

/**
 * Opens the mutex `name`. Ownership of `*mutex` is the caller's, who ends it with ferry_mutex_close.
 *
 * Errors: -EINVAL bad name or option; -EPROTOTYPE the name is that of an object of another kind; -ETIMEDOUT its holders
 * do not answer (stopped?); -ESHUTDOWN; -EMFILE, -ENFILE no descriptors left (three for each other process that has the
 * object open); -ENOMEM; -EACCES, -ENOSPC the directory.
 */
FERRY_API int ferry_mutex_open(ferry_t *node, const char *name, const ferry_sync_options_t *options,
                               ferry_mutex_t **mutex);

/**
 * Takes the mutex, waiting up to `timeout` nanoseconds. Returns 0, or FERRY_OWNER_DIED: it is held, and whoever held it
 * before died in the middle of something; look at the state and call ferry_mutex_repaired, or unlock without that if it
 * cannot be repaired, which makes the mutex unusable for all.
 *
 * Errors, none of which hold it: -EAGAIN somebody holds it (FERRY_NOW); -ETIMEDOUT; -EDEADLK a circle of waits, or this
 * handle holds it already; -ENOTRECOVERABLE a holder that took it after a death gave it up unrepaired; -EINTR;
 * -ESHUTDOWN.
 */
FERRY_API int ferry_mutex_lock(ferry_mutex_t *mutex, int64_t timeout);
/** The same with FERRY_NOW. */
FERRY_API int ferry_mutex_trylock(ferry_mutex_t *mutex);

/**
 * Gives it back. Errors: -ESTALE the lease was lost before; -EPERM this handle does not hold it, somebody else does;
 * -EALREADY nobody holds it: it was unlocked before.
 */
FERRY_API int ferry_mutex_unlock(ferry_mutex_t *mutex);

/** Says that the state is whole again after FERRY_OWNER_DIED. Errors: -EINVAL nothing to repair; -EPERM not held. */
FERRY_API int ferry_mutex_repaired(ferry_mutex_t *mutex);

/**
 * Number of the acquisition by which this handle holds the mutex: larger than that of every acquisition before, by
 * whomever, as long as the mutex exists. A storage that refuses a smaller number than it has seen is safe from a holder
 * that was believed dead (M. Kleppmann calls this a fencing token). 0: not held, which is also what a forked child of
 * its holder gets.
 */
FERRY_API uint64_t ferry_mutex_token(const ferry_mutex_t *mutex);

/**
 * Is it still held by this handle? 0: yes. In a space that spans machines this asks the server, and so is true of a
 * moment during the call. Errors: -ESTALE the lease was lost, unlock it; -EPERM not held.
 */
FERRY_API int ferry_mutex_check(ferry_mutex_t *mutex);

/** Closes the handle; NULL is allowed. Error: -EBUSY it is held: unlock it first. */
FERRY_API int ferry_mutex_close(ferry_mutex_t *mutex);

/* ---- reader-writer lock ---- */

/** A lock for one writer or up to FERRY_MAX_READERS readers. Readers do not write to any cache line in common. */
typedef struct ferry_rwlock ferry_rwlock_t;

/** Errors as ferry_mutex_open. */
FERRY_API int ferry_rwlock_open(ferry_t *node, const char *name, const ferry_sync_options_t *options,
                                ferry_rwlock_t **rwlock);
/**
 * Takes it for reading. Once a writer waits, later readers wait for it. Returns 0, or FERRY_OWNER_DIED: it is held, and
 * a writer died while it held it; every reader is told so until a writer has called ferry_rwlock_repaired. Errors as
 * ferry_mutex_lock.
 */
FERRY_API int ferry_rwlock_read(ferry_rwlock_t *rwlock, int64_t timeout);
/** Takes it for writing; returns and fails as ferry_mutex_lock. A reader that dies gives its hold back, no more. */
FERRY_API int ferry_rwlock_write(ferry_rwlock_t *rwlock, int64_t timeout);
/** Gives either back. Errors as ferry_mutex_unlock. */
FERRY_API int ferry_rwlock_unlock(ferry_rwlock_t *rwlock);
/** As ferry_mutex_repaired, for a writer. */
FERRY_API int ferry_rwlock_repaired(ferry_rwlock_t *rwlock);
/** As ferry_mutex_token, for a writer. */
FERRY_API uint64_t ferry_rwlock_token(const ferry_rwlock_t *rwlock);
/** As ferry_mutex_check. */
FERRY_API int ferry_rwlock_check(ferry_rwlock_t *rwlock);
/** As ferry_mutex_close. */
FERRY_API int ferry_rwlock_close(ferry_rwlock_t *rwlock);

/* ---- semaphore ---- */

/** A number of units. Plain: anybody may release. Owned: whoever acquired releases, and a dead holder's units
 * return. */
typedef struct ferry_semaphore ferry_semaphore_t;

/**
 * Opens the semaphore `name` with `count` units at first (FERRY_ANY: as it is). Errors as ferry_mutex_open; -EPROTOTYPE
 * also when the others said another count, or plain where this is owned; -EINVAL also for a count over FERRY_MAX_COUNT
 * (owned: 0 or over FERRY_MAX_UNITS); -ENOENT FERRY_ANY, and nobody has it open.
 */
FERRY_API int ferry_semaphore_open(ferry_t *node, const char *name, uint32_t count, const ferry_sync_options_t *options,
                                   ferry_semaphore_t **semaphore);
/** Takes one unit. Errors: -EAGAIN, -ETIMEDOUT, -EINTR, -ESHUTDOWN; -EDEADLK (owned). */
FERRY_API int ferry_semaphore_acquire(ferry_semaphore_t *semaphore, int64_t timeout);
/**
 * Gives one unit back (plain: adds one). Errors: -EPERM owned, and this handle holds none; -EOVERFLOW more than
 * FERRY_MAX_COUNT.
 */
FERRY_API int ferry_semaphore_release(ferry_semaphore_t *semaphore);
/** Owned: are the units that this handle holds still its own? As ferry_mutex_check: -ESTALE, -EPERM. */
FERRY_API int ferry_semaphore_check(ferry_semaphore_t *semaphore);
/** Units free at this moment. */
FERRY_API int ferry_semaphore_value(const ferry_semaphore_t *semaphore);
/** Closes the handle; NULL is allowed. Error: -EBUSY it holds units (owned): release them first. */
FERRY_API int ferry_semaphore_close(ferry_semaphore_t *semaphore);

/* ---- barrier ---- */

/** Where `parties` participants wait for each other, round after round. */
typedef struct ferry_barrier ferry_barrier_t;

/**
 * Opens the barrier `name` for `parties` participants. Errors as ferry_semaphore_open; -EUSERS more than twice as many
 * nodes as it has parties, and 62, would have it open.
 */
FERRY_API int ferry_barrier_open(ferry_t *node, const char *name, uint32_t parties, const ferry_sync_options_t *options,
                                 ferry_barrier_t **barrier);
/**
 * Waits until `parties` handles have arrived. Returns 0, or FERRY_BARRIER_LAST to one of them.
 *
 * Errors: -EOWNERDEAD a process that had the barrier open died, or a thread ended while it waited: the round can not
 * become complete, and neither can later ones before ferry_barrier_reset; -EAGAIN (FERRY_NOW and not the last one);
 * -ETIMEDOUT, -EINTR, -ESHUTDOWN: this handle then counts as not arrived.
 */
FERRY_API int ferry_barrier_wait(ferry_barrier_t *barrier, int64_t timeout);
/** Begins a new round after a death. Who still waits in the old one gets -EOWNERDEAD. Another death that is heard of
 * only after the reset, be it older, breaks the barrier again: reset it again. */
FERRY_API int ferry_barrier_reset(ferry_barrier_t *barrier);
/** Closes the handle; NULL is allowed. */
FERRY_API int ferry_barrier_close(ferry_barrier_t *barrier);

/* ---- event ---- */

/** Something that has happened or not, and can be waited for: the condition that a program's state has changed. */
typedef struct ferry_event ferry_event_t;

/** Opens the event `name`, not set at first. Errors as ferry_mutex_open; -EPROTOTYPE also for another `auto_reset`. */
FERRY_API int ferry_event_open(ferry_t *node, const char *name, const ferry_sync_options_t *options,
                               ferry_event_t **event);
/** Sets it, and lets its waiters go: all, or one if it is an auto-reset event. */
FERRY_API int ferry_event_set(ferry_event_t *event);
/** Takes it back. Returns 1 when it was set. */
FERRY_API int ferry_event_reset(ferry_event_t *event);
/** Is it set? 1 or 0. */
FERRY_API int ferry_event_is_set(const ferry_event_t *event);
/** Waits until it is set; an auto-reset event is reset by that. Errors: -EAGAIN, -ETIMEDOUT, -EINTR, -ESHUTDOWN. */
FERRY_API int ferry_event_wait(ferry_event_t *event, int64_t timeout);
/**
 * How often it has been set (modulo 2^30). With ferry_event_wait_after this is a condition variable without a mutex of
 * its own: read the count, look at the state, and if that is not as wanted, wait for a set after that count. A set
 * between the look and the wait is not missed.
 */
FERRY_API int ferry_event_count(const ferry_event_t *event);
/** Waits until it has been set since its count was `count`; changes nothing. Errors as ferry_event_wait. */
FERRY_API int ferry_event_wait_after(ferry_event_t *event, int count, int64_t timeout);
/** Closes the handle; NULL is allowed. */
FERRY_API int ferry_event_close(ferry_event_t *event);

/* ---- waiting for a child process ---- */

/**
 * Says that the calling thread now waits for the child process `pid` and holds on to its locks meanwhile, so that a
 * circle that goes through the child is found (a script that was started under one lock and asks for another one).
 * ferry_process_wait_ended ends it. At most one at a time for each thread. Errors: -EINVAL, -EBUSY, -ENOMEM.
 */
FERRY_API int ferry_process_wait_begins(ferry_t *node, int32_t pid);
FERRY_API int ferry_process_wait_ended(ferry_t *node);

#ifdef __cplusplus
}
#endif
#endif
