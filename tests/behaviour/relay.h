/* SPDX-License-Identifier: MIT
 *
 * relay.h - a bad line between a test's nodes and its server: a process that passes on what each side says, late,
 * slowly, not at all, or until it is cut.
 *
 * TCP loses nothing; what a program sees of a line that does is a connection that ends. So "loss" here is connections
 * that end at random, in the middle of whatever they were carrying.
 *
 *     relay_t *line = relay_start(e);                before this process opens a node in a networked space
 *     engine_machine(e, "a");
 *     ferry_t *node = open_node(relay_space(line));  the space of engine_space(e), by way of the relay
 *     relay_cut(line);
 *
 * Each call returns when it has taken effect. Any process of the test may make it, one at a time for each relay.
 */
#ifndef FERRY_TESTS_RELAY_H
#define FERRY_TESTS_RELAY_H

#include "engine.h"

typedef struct relay relay_t;

/** Starts a relay to the engine's address, on a port of its own. The engine must run. */
relay_t *relay_start(const engine_t *engine);
/** "nats://127.0.0.1:PORT/test", for ferry_open. */
const char *relay_space(const relay_t *relay);
void relay_stop(relay_t *relay);

/** From now on what comes is passed on so many nanoseconds later, each way. */
void relay_delay(relay_t *relay, int64_t nanoseconds);
/** What the server says on the next so many connections, after its greeting, comes so many nanoseconds later. */
void relay_answer_late(relay_t *relay, unsigned connections, int64_t nanoseconds);
/** From now on a connection carries so many bytes a second each way; 0: as many as it can. */
void relay_throttle(relay_t *relay, uint64_t bytes_per_second);
/** From now on each megabyte, on average, that passes ends its connection; 0: none does. Smaller numbers: sooner. */
void relay_lose_each(relay_t *relay, uint64_t bytes);

/** Ends all connections, as a reset does. New ones are accepted. */
void relay_cut(relay_t *relay);
/** Ends one connection: that in place `i`, from 0 on. Each new one takes the first place that is free. */
void relay_cut_one(relay_t *relay, unsigned i);
/** All connections end after so many more bytes, the next of which are lost: in the middle of a frame. */
void relay_cut_after(relay_t *relay, uint64_t bytes);
/** Of what the server says on the newest connection so many more bytes are passed on, and then none. */
void relay_stop_after(relay_t *relay, uint64_t bytes);
/** Ends all connections and accepts no more, until `refuses` is false. */
void relay_refuse(relay_t *relay, bool refuses);
/**
 * What is said on a connection of now is read and forgotten, and neither side hears of it: it is half open. New ones
 * wait to be accepted. With `swallows` false these are, and those that were swallowed are reset.
 */
void relay_swallow(relay_t *relay, bool swallows);
/** The same, and the server sees them end, while the other side hears nothing of that. Over with relay_swallow(relay,
 * false). */
void relay_abandon(relay_t *relay);
/** Nothing is read or passed on, so that whoever writes has to wait; with `holds` false all of it goes on. New
 * connections are accepted. */
void relay_hold(relay_t *relay, bool holds);

/** Connections that the relay has ended, ever; and that it has accepted. */
unsigned relay_cuts(const relay_t *relay);
unsigned relay_accepted(const relay_t *relay);

#endif
