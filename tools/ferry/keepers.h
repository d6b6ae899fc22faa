/* SPDX-License-Identifier: MIT
 *
 * keepers.h - finding the keepers (keeper.h) of a cell or a region, and ending them.
 */
#ifndef FERRY_TOOL_KEEPERS_H
#define FERRY_TOOL_KEEPERS_H

#include <stdbool.h>

#include "tool.h"

/* Whether `name` has a keeper now. */
bool keepers_has(const common_t *common, const char *kind, const char *name);

/*
 * Ends all keepers of `name` that are this user's, and waits until they have gone. Returns STATUS_OK if then nobody has
 * it open any more, or another exit status, all said.
 */
int keepers_end(const common_t *common, const char *kind, const char *name);

#endif
