/* SPDX-License-Identifier: MIT
 *
 * ls_links.h - `ferry ls`: of a space that spans machines, links between its nodes, and their connections to the
 * server.
 */
#ifndef FERRY_TOOL_LS_LINKS_H
#define FERRY_TOOL_LS_LINKS_H

#include "json_look.h"
#include "looks.h"

/* 0, or -1 without memory. */
int print_links(const looks_t *looks, const space_look_t *space);
int print_engines(const looks_t *looks, const space_look_t *space);

void json_links(json_t *j, const looks_t *looks, const space_look_t *space);
void json_engines(json_t *j, const looks_t *looks, const space_look_t *space);

/* Has the node a connection to a server, or said nothing of one? */
bool ls_is_connected(const space_look_t *space, const ferry_look_node_t *node);

#endif
