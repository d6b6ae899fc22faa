/* SPDX-License-Identifier: MIT
 *
 * follow.h - `ferry ls --follow`: who comes and goes, as it happens.
 */
#ifndef FERRY_TOOL_FOLLOW_H
#define FERRY_TOOL_FOLLOW_H

#include "tool.h"

/* Until a signal ends it, or nobody reads the output any more. Returns the exit status. */
int follow_run(const common_t *common);

#endif
