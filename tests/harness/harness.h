/* SPDX-License-Identifier: MIT
 *
 * harness.h - what every test of Ferry's behaviour stands on.
 *
 * Each test runs in a process of its own, forked from the runner: a crash, a failed check in any thread, or a hang ends
 * that test only.  Around the test the harness compares open descriptors, mappings of memfds, threads and child
 * processes, and looks into the test's own FERRY_DIR, which must hold no file at the end.
 *
 * A failed check prints a sentence and ends the process it happened in, with status 1.  It may therefore stand in any
 * thread and in any child; whoever joins that child notices.
 *
 * Tests which must hold between threads as well as between processes use a crew: its members are threads of one node,
 * threads that each open their own, or processes that each open their own.  The test's text is the same for all.
 */
#ifndef FERRY_TESTS_HARNESS_H
#define FERRY_TESTS_HARNESS_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <ferry/ferry.h>

/* Which sanitizer watches: a few tests do what it cannot bear. */
#if defined(__has_feature)
#define HAS_FEATURE(name) __has_feature(name)
#else
#define HAS_FEATURE(name) 0
#endif
#if defined(__SANITIZE_THREAD__) || HAS_FEATURE(thread_sanitizer)
#define UNDER_TSAN 1
#else
#define UNDER_TSAN 0
#endif
#if UNDER_TSAN || defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
#define UNDER_SANITIZER 1
#else
#define UNDER_SANITIZER 0
#endif

#define MILLISECOND ((int64_t)1000000)
#define SECOND (1000 * MILLISECOND)
/** No wait of a test is longer: what takes this long has failed. A shared machine may stand still for some seconds. */
#define PATIENCE (20 * SECOND)

/* ---- tests ---- */

typedef enum where { ALONE, IN_THREADS, IN_NODES, IN_PROCESSES } where_t;

typedef struct test {
    const char *name; /**< a sentence about behaviour */
    where_t where;
    void (*alone)(void);
    void (*crewed)(where_t where);
} test_t;

/* clang-format off */
/** A test that is run once. */
#define TEST(body) {#body, ALONE, body, NULL}
/** A test that is run between threads, then between processes. */
#define TEST_BOTH(body) \
    {#body "_between_threads", IN_THREADS, NULL, body}, {#body "_between_processes", IN_PROCESSES, NULL, body}
/** The same, and between the nodes of one process, too. These show ThreadSanitizer both sides of what processes do, of
 * which it sees one at a time; so it is spared the latter. */
#if UNDER_TSAN
#define TEST_ALL(body) \
    {#body "_between_threads", IN_THREADS, NULL, body}, {#body "_between_nodes", IN_NODES, NULL, body}
#else
#define TEST_ALL(body) TEST_BOTH(body), {#body "_between_nodes", IN_NODES, NULL, body}
#endif
/* clang-format on */

/** Runs the tests under cmocka; argv[1], when given, is a pattern (*, ?) of names to run. For main() to return. */
int run_suite(const char *group, const test_t *tests, size_t count, int argc, char **argv);

/* ---- checks ---- */

/** Fails unless `condition` holds. */
#define check(condition) ((condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__))
/** Fails unless the two integers are equal; shows both and Ferry's last error. */
#define check_is(got, want) check_is_at((int64_t)(got), (int64_t)(want), #got, #want, __FILE__, __LINE__)
/** Fails unless the call answered this negative errno with a sentence that holds each of the space-separated words. */
#define check_error(got, want, words) check_error_at((int64_t)(got), (want), #got, #want, (words), __FILE__, __LINE__)

_Noreturn void check_failed(const char *text, const char *file, int line);
void check_is_at(int64_t got, int64_t want, const char *got_text, const char *want_text, const char *file, int line);
void check_error_at(int64_t got, int want, const char *got_text, const char *want_text, const char *words,
                    const char *file, int line);

/* ---- waiting ---- */

/** Memory that the test and all its children share, cleared; freed by the harness. */
void *share(size_t size);
/** Waits until `*flag` is at least `value`. Fails after PATIENCE. */
void await(const atomic_uint *flag, unsigned value);
/** Sleeps; only to make something likely, never to make it certain. */
void nap(int64_t nanoseconds);
/** Nanoseconds of the monotonic clock. */
int64_t monotonic(void);
/** Waits until condition(arg) holds. Fails after PATIENCE. */
void await_that(bool (*condition)(void *arg), void *arg, const char *sentence);

/** Fails unless `holds(where)` is true in one of a few tries. For what is about speed only: a machine that stands still
 * for a moment spoils that. */
void check_in_some_try(bool (*holds)(where_t where), where_t where, const char *sentence);

/** From here on this process may have so many descriptors. */
void allow_descriptors(unsigned count);

/* ---- child processes ---- */

/** Runs `run(arg)` in a forked process, which dies with this one. Call before this process opens any node. */
pid_t child_start(void (*run)(void *arg), void *arg);
/** Waits for the child and fails unless it ended with status 0. */
void child_join(pid_t pid);
/** Waits for the child; its status as of waitpid(). */
int child_wait(pid_t pid);
/** SIGKILLs the child and waits until it is gone. */
void child_kill(pid_t pid);

/* ---- a crew: members in threads of one node, in threads with a node each, or in processes ---- */

#define CREW_MAX 64

typedef struct crew crew_t;

/** Starts an empty crew in the space "test". */
crew_t *crew_begin(where_t where);
/** Adds a member that runs `run(node, arg)`; returns its number. Every member must be started before crew_node. */
unsigned crew_add(crew_t *crew, void (*run)(ferry_t *node, void *arg), void *arg);
/** The test's own node in that space: the one of the threads, or one of this process's own. */
ferry_t *crew_node(crew_t *crew);
/** Waits until this member has ended, and fails unless it ended well. */
void crew_join(crew_t *crew, unsigned member);
/** For a member: dies with all that it has open. A thread just ends, a process is killed. */
_Noreturn void crew_die(void);
/** Waits until this member has died. */
void crew_bury(crew_t *crew, unsigned member);
/** Joins all, closes the node (no end of which may be open any more, but those of the dead), and forgets the crew. */
void crew_end(crew_t *crew);

/* ---- contents ---- */

/** Fills `len` bytes with a pattern that differs for every seed. */
void fill(void *data, size_t len, uint64_t seed);
/** Are these `len` bytes the pattern of `seed`? */
bool filled(const void *data, size_t len, uint64_t seed);

/* ---- short forms that fail when the call fails ---- */

ferry_t *open_node(const char *space);
void close_node(ferry_t *node);
ferry_sender_t *open_sender(ferry_t *node, const char *channel, ferry_kind_t kind, const ferry_contract_t *contract);
ferry_receiver_t *open_receiver(ferry_t *node, const char *channel, ferry_kind_t kind,
                                const ferry_receiver_options_t *options);
/** Lingers up to PATIENCE and fails when anything was not delivered. */
void close_sender(ferry_sender_t *tx);
/** Closes at once; returns how many messages were not delivered. */
uint64_t drop_sender(ferry_sender_t *tx);
/** Closes and fails when messages were still held. */
void close_receiver(ferry_receiver_t *rx);
void send_number(ferry_sender_t *tx, uint64_t number);
/** Takes a message of 8 bytes and releases it. */
uint64_t receive_number(ferry_receiver_t *rx);
/** Takes a message, waiting up to PATIENCE. */
ferry_msg_t *receive(ferry_receiver_t *rx);
/* From the only sender, which is linked again in a while, and counts as ended until then. */
ferry_msg_t *receive_once_linked(ferry_receiver_t *rx);
void release(ferry_msg_t *m);
/** The number in a message of 8 bytes. */
uint64_t number_in(const ferry_msg_t *m);
ferry_msg_info_t info_of(const ferry_msg_t *m);
ferry_sender_stats_t sender_stats(ferry_sender_t *tx);
ferry_receiver_stats_t receiver_stats(ferry_receiver_t *rx);

/* A failure in one of these shall name the line of the test that called it. */
void called_from(const char *file, int line);
#ifndef FERRY_TESTS_SHORT_FORMS
#define open_node(space) (called_from(__FILE__, __LINE__), open_node(space))
#define close_node(node) (called_from(__FILE__, __LINE__), close_node(node))
#define open_sender(node, channel, kind, contract)                                                                     \
    (called_from(__FILE__, __LINE__), open_sender(node, channel, kind, contract))
#define open_receiver(node, channel, kind, options)                                                                    \
    (called_from(__FILE__, __LINE__), open_receiver(node, channel, kind, options))
#define close_sender(tx) (called_from(__FILE__, __LINE__), close_sender(tx))
#define drop_sender(tx) (called_from(__FILE__, __LINE__), drop_sender(tx))
#define close_receiver(rx) (called_from(__FILE__, __LINE__), close_receiver(rx))
#define send_number(tx, number) (called_from(__FILE__, __LINE__), send_number(tx, number))
#define receive_number(rx) (called_from(__FILE__, __LINE__), receive_number(rx))
#define receive(rx) (called_from(__FILE__, __LINE__), receive(rx))
#define release(m) (called_from(__FILE__, __LINE__), release(m))
#define number_in(m) (called_from(__FILE__, __LINE__), number_in(m))
#define info_of(m) (called_from(__FILE__, __LINE__), info_of(m))
#define sender_stats(tx) (called_from(__FILE__, __LINE__), sender_stats(tx))
#define receiver_stats(rx) (called_from(__FILE__, __LINE__), receiver_stats(rx))
#define await(flag, value) (called_from(__FILE__, __LINE__), await(flag, value))
#define await_that(condition, arg, sentence) (called_from(__FILE__, __LINE__), await_that(condition, arg, sentence))
#define child_join(pid) (called_from(__FILE__, __LINE__), child_join(pid))
#define crew_join(crew, member) (called_from(__FILE__, __LINE__), crew_join(crew, member))
#define crew_bury(crew, member) (called_from(__FILE__, __LINE__), crew_bury(crew, member))
#define crew_end(crew) (called_from(__FILE__, __LINE__), crew_end(crew))
#endif

#endif
