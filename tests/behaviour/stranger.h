/* SPDX-License-Identifier: MIT
 *
 * stranger.h - a client that speaks to a test's server itself, and so says to nodes what no node would, or not in just
 * that moment.
 */
#ifndef FERRY_TESTS_STRANGER_H
#define FERRY_TESTS_STRANGER_H

#include "engine.h"

/** Connects, and sends `more` then: lines of the server's protocol, or "". Returns the socket; close it. */
int stranger_new(const engine_t *engine, const char *more);
/** Writes bytes as they are. */
void stranger_say(int fd, const void *bytes, size_t len);
void stranger_publish(int fd, const char *subject, const void *bytes, size_t len);
/** To this node of the space "test", where others send what is for it alone. */
void stranger_tell(int fd, uint64_t node, const void *bytes, size_t len);

#define STRANGER_TEXT 16384
/** All that has come to it, as far as it subscribes, by the time the server has answered its PING. Returns `text`. */
const char *stranger_hears(int fd, char text[STRANGER_TEXT]);

/** Starts an engine that does not hear what is asked at these subjects, up to a NULL: a stranger shall answer. */
engine_t *stranger_engine(const char *const *asked);
/** A process that gives these answers, up to a NULL, one for each question, and then ends; join it. Call it before this
 * process opens a node. */
pid_t stranger_answers(const engine_t *engine, const char *const *answers);

#endif
