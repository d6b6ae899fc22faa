/* SPDX-License-Identifier: MIT
 *
 * json_look.h - what `ferry ls` and `ferry why` write of a picture in the same way.
 */
#ifndef FERRY_TOOL_JSON_LOOK_H
#define FERRY_TOOL_JSON_LOOK_H

#include <stdbool.h>
#include <stdint.h>

#include <ferry/ferry.h>

#include "json.h"

/* Ids go out as text: most readers of JSON keep only 53 bits of a number. */
void json_id(json_t *j, const char *key, uint64_t id);

/* "NAME", or "NAME@HOST" of one on another machine. Returns `text`. */
const char *node_text(const ferry_look_node_t *node, char *text, size_t cap);

/* What is wrong with one that is `starved`. */
#define TOO_FEW_DESCRIPTORS "too few descriptors left; see its ulimit -n"
/* It exchanges nothing with programs of this version, and tells this one nothing of itself. */
#define OTHER_VERSION "another version of Ferry"

/* Why a node does not answer, as far as that is known: one of these two, or a guess. */
const char *silence(bool starved, bool other_version);

/* process 1234 does not answer (stopped?) */
void silent_text(const ferry_look_node_t *node, char *text, size_t cap);

void json_node(json_t *j, const ferry_look_node_t *node);

#endif
