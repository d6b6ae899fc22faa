/* SPDX-License-Identifier: MIT
 *
 * options.h - command lines: a table of options per command, from which both the parser and --help work.
 *
 * Options and operands may be mixed; "--" ends the options; letters may be joined (-0q) and a value may follow its
 * option directly (-fFILE, --file=FILE). A wrong command line is answered with one sentence.
 */
#ifndef FERRY_TOOL_OPTIONS_H
#define FERRY_TOOL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "tool.h"

typedef enum option_kind {
    OPTION_FLAG,     /* bool: set */
    OPTION_TEXT,     /* const char * */
    OPTION_DURATION, /* int64_t, nanoseconds */
    OPTION_SIZE,     /* uint64_t, bytes */
    OPTION_COUNT,    /* uint64_t */
    OPTION_CHOICE,   /* int: index into `choices` */
    OPTION_SET,      /* int: set to `constant` */
    OPTION_LIST      /* list_t: every value is added */
} option_kind_t;

typedef struct list {
    const char **items;
    size_t n;
} list_t;

typedef struct option {
    char letter; /* 0: none */
    const char *name;
    const char *value; /* what --help calls the value */
    option_kind_t kind;
    void *target;
    const char *help;
    const char *const *choices; /* NULL-terminated */
    int constant;
} option_t;

/* What a command's line looks like. */
typedef struct usage {
    const char *command;  /* "lock"; "cell put" */
    const char *synopsis; /* one or more lines, without "ferry " */
    const char *text;     /* what it does */
    const char *examples;
    const option_t *options;
    size_t n_options;
    bool json;     /* knows --json */
    bool progress; /* knows --progress and --no-progress */
} usage_t;

/* What parsing leaves: the words that are no options, in their order, and a NULL after them. */
typedef struct operands {
    char **items;
    size_t n;
    size_t n_before; /* of them stood before "--"; n: there was none */
} operands_t;

/*
 * Parses argv[1] and what follows, filling the targets, `*common` and `*operands` (which points into argv).
 * True: go on. False: the command is over with exit status `*status` (help was shown, or the line was wrong).
 */
bool options_parse(const usage_t *usage, int argc, char **argv, common_t *common, operands_t *operands, int *status);

/* Says what is wrong with the command line and points to --help; returns STATUS_USAGE. */
int usage_error(const usage_t *usage, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* -v, --verbose: tell what was done. */
option_t option_verbose(bool *target);

/* What stands in --help before and after the options. */
void help_head(const usage_t *usage);
void help_foot(const usage_t *usage);

/* Whether `word` is an option of every command; then `*takes_value` tells whether the next word belongs to it. */
bool option_is_common(const char *word, bool *takes_value);

/* The one of `words` (n of them) that `word` was probably meant to be, or NULL. */
const char *nearest_word(const char *word, const char *const *words, size_t n);

#endif
