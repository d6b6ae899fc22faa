/* SPDX-License-Identifier: MIT
 *
 * ls_services.h - `ferry ls`: the threads that serve, and the clients.
 */
#ifndef FERRY_TOOL_LS_SERVICES_H
#define FERRY_TOOL_LS_SERVICES_H

#include "json_look.h"
#include "looks.h"

/* A table, if there are any. 0, or -1 without memory. */
int print_services(const looks_t *looks, const space_look_t *space);

/* The member "services". */
void json_services(json_t *j, const looks_t *looks, const space_look_t *space);

#endif
