/* SPDX-License-Identifier: MIT */
#include "actions.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "options.h"
#include "say.h"

enum { MAX_ACTIONS = 16 };

static int show_actions(const actions_t *a) {
    usage_t usage = {.command = a->command, .text = a->text, .examples = a->examples};
    char synopsis[80];

    snprintf(synopsis, sizeof synopsis, "%s ACTION [OPTION...] [ARGUMENT...]", a->command);
    usage.synopsis = synopsis;
    help_head(&usage);
    printf("\nActions, each with its own --help:\n");
    for (size_t i = 0; i < a->n; i++)
        printf("  %-8s %s\n", a->items[i].name, a->items[i].summary);
    help_foot(&usage);
    return finish_output(STATUS_OK);
}

static int unknown_action(const actions_t *a, const usage_t *usage, const char *word) {
    const char *names[MAX_ACTIONS];
    char all[160] = "";
    size_t used = 0;

    for (size_t i = 0; i < a->n && i < MAX_ACTIONS; i++) {
        names[i] = a->items[i].name;
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    if (word == NULL)
        return usage_error(usage, "what to do is missing: give one of %s", all);
    const char *meant = nearest_word(word, names, a->n);
    if (meant != NULL)
        return usage_error(usage, "there is no action '%s'; did you mean '%s'?", word, meant);
    return usage_error(usage, "there is no action '%s': give one of %s", word, all);
}

int actions_run(const actions_t *a, int argc, char **argv) {
    const usage_t usage = {.command = a->command};
    bool takes_value;
    int at = 1;

    say_as(a->command);
    for (; at < argc && argv[at][0] == '-'; at++) {
        if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0)
            return show_actions(a);
        if (!option_is_common(argv[at], &takes_value))
            return usage_error(&usage, "there is no option %s before what to do", argv[at]);
        at += takes_value;
    }
    if (at >= argc)
        return unknown_action(a, &usage, NULL);
    for (size_t i = 0; i < a->n; i++) {
        if (strcmp(a->items[i].name, argv[at]) != 0)
            continue;
        /* The options before it move behind it: the action parses one line. */
        char *name = argv[at];
        memmove(argv + 1, argv, (size_t)at * sizeof *argv);
        argv[1] = name;
        return a->items[i].run(argc - 1, argv + 1);
    }
    return unknown_action(a, &usage, argv[at]);
}
