/* SPDX-License-Identifier: MIT
 *
 * route.h - `ferry route`: how it shows what it found, for people and for scripts.
 */
#ifndef FERRY_TOOL_ROUTE_H
#define FERRY_TOOL_ROUTE_H

#include <ferry/ferry.h>

/* "thread", "shm", "nats" */
const char *route_way_word(ferry_way_t way);

/* Sizes whose copying a profile tells, as words: "256 B"... */
extern const char *const route_copy_sizes[FERRY_HOST_COPIES];

const char *route_source_word(const ferry_host_t *host);

void route_print_host(const ferry_host_t *host, const ferry_host_choices_t *choices);
void route_print_links(const char *channel, const ferry_route_t *route);

void route_json_host(const ferry_host_t *host, const ferry_host_choices_t *choices);
void route_json_links(const char *channel, const ferry_route_t *route);

#endif
