/* SPDX-License-Identifier: MIT
 *
 * actions.h - commands that do one of several things, each with options of its own: `ferry cell put`, `ferry region
 * ls`.
 */
#ifndef FERRY_TOOL_ACTIONS_H
#define FERRY_TOOL_ACTIONS_H

#include <stddef.h>

typedef struct action {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the name */
    const char *summary;
} action_t;

typedef struct actions {
    const char *command;
    const char *text; /* what they are about */
    const char *examples;
    const action_t *items;
    size_t n;
} actions_t;

/* Finds the action among the words, hands it the others, and returns the exit status. Without one, or with --help
 * before it, shows which there are. */
int actions_run(const actions_t *actions, int argc, char **argv);

#endif
