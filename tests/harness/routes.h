/* SPDX-License-Identifier: MIT
 *
 * routes.h - what tests of measured hosts, and of the ways that follow from them, share.
 */
#ifndef FERRY_TESTS_ROUTES_H
#define FERRY_TESTS_ROUTES_H

#include "harness.h"

/* A profile: a machine that is in no way remarkable. */
extern const char usual_host[];

/* A path in the test's own directory, until the next call. */
const char *in_directory(const char *name);
void write_file(const char *path, const char *text, mode_t mode);

/* From now on this process, and its children, use this profile: the file "given" in the test's directory. */
void give_profile(const char *text);

/* The only link of a channel in the space "test". */
const ferry_route_link_t *only_link(const char *channel, ferry_route_t **route);

#endif
