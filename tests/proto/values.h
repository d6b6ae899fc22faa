/* SPDX-License-Identifier: MIT
 *
 * values.h - messages with everything in them: nothing, the smallest and the largest of each type, and odd things.
 */
#ifndef FERRY_TESTS_PROTO_VALUES_H
#define FERRY_TESTS_PROTO_VALUES_H

#include "broad.pb-c.h"

#include <stdbool.h>

/** The values that there are. */
typedef enum value { EMPTY, SMALLEST, LARGEST, ODD, MANY } value_t;
#define VALUES (MANY + 1)

/** Fills in the message. It owns nothing: what it points to lasts as long as the program. */
void everything_fill(Test__Broad__Everything *e, value_t value);
/** Fails unless the message has that value, field by field. */
void everything_check(const Test__Broad__Everything *e, value_t value);

void ancient_fill(Test__Ancient__Ancient *a);
void ancient_check(const Test__Ancient__Ancient *a);

#endif
