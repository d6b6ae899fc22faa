/* SPDX-License-Identifier: MIT
 *
 * engine.h - a real nats-server for tests of spaces that span machines, and machines to open them from.
 *
 * The server is a child of the test's process, and is gone with it, however that ends.  What it stores lies in the
 * test's own FERRY_DIR.  A "machine" is a directory of its own: processes with different ones do not see each other's,
 * so that everything between them goes through the server.
 *
 *     engine_t *e = engine_start();
 *     pid_t other = child_start(on_b, e);            on_b: engine_machine(e, "b"); open_node(engine_space(e));
 *     engine_machine(e, "a");
 *     ferry_t *node = open_node(engine_space(e));
 *     ...
 *     close_node(node);
 *     child_join(other);
 *     engine_stop(e);
 *
 * Children must be started before this process opens its first node in a networked space: the client library has
 * threads, which a child does not get.
 */
#ifndef FERRY_TESTS_ENGINE_H
#define FERRY_TESTS_ENGINE_H

#include "harness.h"

typedef struct engine engine_t;

/** Starts a server with JetStream on a free port of 127.0.0.1 and waits until it listens. */
engine_t *engine_start(void);
/** The same with further arguments, up to 15 and a NULL ("--user", "u", ...). */
engine_t *engine_start_with(const char *const *arguments);
/** A port of 127.0.0.1 that nobody has, and that the system gives to nobody. */
int engine_free_port(void);
/** "nats://127.0.0.1:PORT". */
const char *engine_url(const engine_t *engine);
/** "nats://127.0.0.1:PORT/test", for ferry_open. */
const char *engine_space(const engine_t *engine);
/** A directory of its own, which is removed with the engine: for files of the test's. */
const char *engine_directory(const engine_t *engine);
/** From now on this process is on the machine `name`: its FERRY_DIR is that machine's. */
void engine_machine(const engine_t *engine, const char *name);

/**
 * As check_in_some_try, with each try in a process of its own: one that had a node in a networked space can have no
 * further children that open one, nor another engine.
 */
void check_in_some_process(bool (*holds)(void), const char *sentence);

/** Ends the server and forgets it, with all it stored. All nodes of this process are closed. */
void engine_stop(engine_t *engine);
/** SIGKILLs the server; engine_restart brings it back. */
void engine_kill(engine_t *engine);
/** Starts it anew, on the same port, with what it had stored. Kills it first if it runs. */
void engine_restart(engine_t *engine);
/** Has it read its configuration file anew (SIGHUP). It does so soon. */
void engine_reload(engine_t *engine);
/** Stops it with SIGSTOP, as if the network were cut, and lets it go on. */
void engine_freeze(engine_t *engine);
void engine_thaw(engine_t *engine);

#endif
