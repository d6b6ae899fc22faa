/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "say.h"
#include "units.h"

enum { MAX_OPTIONS = 40, MAX_COMMON = 8 };

/* One run of the parser: the command's own options, then the common ones. */
typedef struct parser {
    const usage_t *usage;
    option_t options[MAX_OPTIONS];
    size_t n_own, n;
    bool help;
    int argc;
    char **argv;
    int at; /* the next word */
} parser_t;

static void add_common(parser_t *p, common_t *common) {
    const option_t always[] = {
        {.name = "space",
         .value = "NAME",
         .kind = OPTION_TEXT,
         .target = &common->space,
         .help = "the space to meet in (else $FERRY_SPACE, else default)"},
        {.name = "directory",
         .value = "DIR",
         .kind = OPTION_TEXT,
         .target = &common->directory,
         .help = "base directory of the spaces (else $FERRY_DIR)"},
        {.name = "group",
         .value = "GROUP",
         .kind = OPTION_TEXT,
         .target = &common->group,
         .help = "a space that this group's members may enter"},
        {.letter = 'q',
         .name = "quiet",
         .kind = OPTION_FLAG,
         .target = &common->quiet,
         .help = "say only what went wrong"},
        {.letter = 'h', .name = "help", .kind = OPTION_FLAG, .target = &p->help, .help = "show this help"},
    };
    const option_t json = {
        .name = "json", .kind = OPTION_FLAG, .target = &common->json, .help = "write JSON, for scripts"};
    const option_t progress[] = {
        {.name = "progress",
         .kind = OPTION_SET,
         .constant = PROGRESS_YES,
         .target = &common->progress,
         .help = "show progress (default: if it goes to a terminal)"},
        {.name = "no-progress",
         .kind = OPTION_SET,
         .constant = PROGRESS_NO,
         .target = &common->progress,
         .help = "show no progress"},
    };

    if (p->usage->json)
        p->options[p->n++] = json;
    for (size_t i = 0; p->usage->progress && i < 2; i++)
        p->options[p->n++] = progress[i];
    for (size_t i = 0; i < sizeof always / sizeof always[0]; i++)
        p->options[p->n++] = always[i];
}

bool option_is_common(const char *word, bool *takes_value) {
    static const char *const valued[] = {"--space", "--directory", "--group"};
    static const char *const plain[] = {"-q", "--quiet", "--json", "--progress", "--no-progress"};

    for (size_t i = 0; i < sizeof valued / sizeof valued[0]; i++) {
        size_t len = strlen(valued[i]);
        if (strncmp(word, valued[i], len) == 0 && (word[len] == '\0' || word[len] == '=')) {
            *takes_value = word[len] == '\0';
            return true;
        }
    }
    *takes_value = false;
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        if (strcmp(word, plain[i]) == 0)
            return true;
    }
    return false;
}

option_t option_verbose(bool *target) {
    return (option_t){.letter = 'v',
                      .name = "verbose",
                      .kind = OPTION_FLAG,
                      .target = target,
                      .help = "tell on standard output what was done"};
}

int usage_error(const usage_t *usage, const char *format, ...) {
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    say("%s; see `ferry %s --help`", text, usage->command);
    return STATUS_USAGE;
}

/* --- values ------------------------------------------------------------------------------------------------------ */

static bool set_choice(const option_t *option, const char *value) {
    for (int i = 0; option->choices[i] != NULL; i++) {
        if (strcmp(option->choices[i], value) == 0) {
            *(int *)option->target = i;
            return true;
        }
    }
    return false;
}

static bool set_list(const option_t *option, const char *value) {
    list_t *list = option->target;
    const char **items = realloc(list->items, (list->n + 1) * sizeof *items);

    if (items == NULL)
        return false;
    items[list->n++] = value;
    list->items = items;
    return true;
}

static bool set_value(const option_t *option, const char *value) {
    switch (option->kind) {
    case OPTION_FLAG:
        *(bool *)option->target = true;
        return true;
    case OPTION_SET:
        *(int *)option->target = option->constant;
        return true;
    case OPTION_TEXT:
        *(const char **)option->target = value;
        return true;
    case OPTION_DURATION:
        return parse_duration(value, option->target);
    case OPTION_SIZE:
        return parse_size(value, option->target);
    case OPTION_COUNT:
        return parse_count(value, option->target);
    case OPTION_CHOICE:
        return set_choice(option, value);
    case OPTION_LIST:
        return set_list(option, value);
    }
    return false;
}

/* What a value of this kind looks like, to end "'5' is not ...". */
static void expected(const option_t *option, char *text, size_t cap) {
    switch (option->kind) {
    case OPTION_DURATION:
        snprintf(text, cap, "a duration: give a number with its unit, such as 300ms, 1.5s or 2m, of 292 years at most");
        break;
    case OPTION_SIZE:
        snprintf(text, cap,
                 "a size: give a number of bytes, or one with a unit, such as 64KiB or 10M, less than 8 EiB");
        break;
    case OPTION_COUNT:
        snprintf(text, cap, "a count: give a whole number");
        break;
    case OPTION_CHOICE:
        snprintf(text, cap, "one of its values (%s)", option->value);
        break;
    default:
        snprintf(text, cap, "usable here");
        break;
    }
}

static bool takes_value(const option_t *option) {
    return option->kind != OPTION_FLAG && option->kind != OPTION_SET;
}

/* Applies an option; `attached` is a value that stood in the same word, or NULL. */
static int apply(parser_t *p, const option_t *option, const char *shown, const char *attached) {
    const char *value = attached;

    if (!takes_value(option)) {
        if (attached != NULL)
            return usage_error(p->usage, "the option %s takes no value, but '%s' was given", shown, attached);
    } else if (value == NULL) {
        if (p->at >= p->argc)
            return usage_error(p->usage, "the option %s needs a value (%s)", shown, option->value);
        value = p->argv[p->at++];
    }
    if (set_value(option, value))
        return 0;
    char wanted[160];
    expected(option, wanted, sizeof wanted);
    return usage_error(p->usage, "the value '%s' of %s is not %s", value, shown, wanted);
}

/* --- words ------------------------------------------------------------------------------------------------------- */

static int unknown_option(parser_t *p, const char *name) {
    const char *names[MAX_OPTIONS];

    for (size_t i = 0; i < p->n; i++)
        names[i] = p->options[i].name;
    const char *meant = nearest_word(name, names, p->n);
    if (meant != NULL)
        return usage_error(p->usage, "there is no option --%s; did you mean --%s?", name, meant);
    return usage_error(p->usage, "there is no option --%s", name);
}

static int parse_long(parser_t *p, char *word) {
    char name[64];
    char shown[80];
    size_t len = strcspn(word + 2, "=");
    const char *attached = word[2 + len] == '=' ? word + 2 + len + 1 : NULL;

    snprintf(name, sizeof name, "%.*s", (int)len, word + 2);
    snprintf(shown, sizeof shown, "--%s", name);
    for (size_t i = 0; i < p->n; i++) {
        if (strcmp(p->options[i].name, name) == 0)
            return apply(p, &p->options[i], shown, attached);
    }
    return unknown_option(p, name);
}

static int parse_letters(parser_t *p, char *word) {
    for (char *c = word + 1; *c != '\0'; c++) {
        const option_t *option = NULL;
        for (size_t i = 0; i < p->n && option == NULL; i++) {
            if (p->options[i].letter == *c)
                option = &p->options[i];
        }
        if (option == NULL)
            return usage_error(p->usage, "there is no option -%c", *c);
        char shown[3] = {'-', *c, '\0'};
        bool rest_is_value = takes_value(option) && c[1] != '\0';
        int status = apply(p, option, shown, rest_is_value ? c + 1 : NULL);
        if (status != 0 || rest_is_value)
            return status;
    }
    return 0;
}

/* --- help -------------------------------------------------------------------------------------------------------- */

/* "-f, --file FILE"; returns its length. */
static int help_left(const option_t *option, char *text, size_t cap) {
    char letter[5] = "    ";

    if (option->letter != 0)
        snprintf(letter, sizeof letter, "-%c, ", option->letter);
    return snprintf(text, cap, "%s--%s%s%s", letter, option->name, option->value != NULL ? " " : "",
                    option->value != NULL ? option->value : "");
}

static void help_options(const option_t *options, size_t n, int width) {
    char left[64];

    for (size_t i = 0; i < n; i++) {
        help_left(&options[i], left, sizeof left);
        printf("  %-*s  %s\n", width, left, options[i].help);
    }
}

static void help_lines(const char *lines, const char *first, const char *other) {
    const char *lead = first;

    while (*lines != '\0') {
        size_t len = strcspn(lines, "\n");
        printf("%s%.*s\n", lead, (int)len, lines);
        lines += len + (lines[len] == '\n');
        lead = other;
    }
}

void help_head(const usage_t *usage) {
    help_lines(usage->synopsis, "Usage: ferry ", "       ferry ");
    printf("\n%s\n", usage->text);
}

void help_foot(const usage_t *usage) {
    int page = (int)strcspn(usage->command, " "); /* the actions of a command share one */

    printf("\nExamples:\n");
    help_lines(usage->examples, "  ", "  ");
    printf("\nDurations need a unit (300ms, 1.5s, 2m); sizes may have one (64KiB). More: man ferry-%.*s\n", page,
           usage->command);
}

static int show_help(const parser_t *p) {
    char left[64];
    int width = 0;

    for (size_t i = 0; i < p->n; i++) {
        int len = help_left(&p->options[i], left, sizeof left);
        width = len > width ? len : width;
    }
    help_head(p->usage);
    printf("\nOptions:\n");
    help_options(p->options, p->n_own, width);
    if (p->n_own > 0)
        printf("\n");
    help_options(p->options + p->n_own, p->n - p->n_own, width);
    help_foot(p->usage);
    return finish_output(STATUS_OK);
}

/* --- the whole line ---------------------------------------------------------------------------------------------- */

static int parse_words(parser_t *p, operands_t *operands) {
    bool options_ended = false;

    while (p->at < p->argc) {
        char *word = p->argv[p->at++];
        if (options_ended || word[0] != '-' || word[1] == '\0') {
            operands->items[operands->n++] = word; /* never ahead of p->at: the words are moved forward in place */
            continue;
        }
        if (strcmp(word, "--") == 0) {
            options_ended = true;
            operands->n_before = operands->n;
            continue;
        }
        int status = word[1] == '-' ? parse_long(p, word) : parse_letters(p, word);
        if (status != 0)
            return status;
    }
    operands->n_before = options_ended ? operands->n_before : operands->n;
    operands->items[operands->n] = NULL;
    return 0;
}

bool options_parse(const usage_t *usage, int argc, char **argv, common_t *common, operands_t *operands, int *status) {
    parser_t p = {.usage = usage, .argc = argc, .argv = argv, .at = 1};

    say_as(usage->command);
    for (size_t i = 0; i < usage->n_options && i < MAX_OPTIONS - MAX_COMMON; i++)
        p.options[p.n++] = usage->options[i];
    p.n_own = p.n;
    add_common(&p, common);
    operands->items = argv + 1;
    operands->n = 0;
    int wrong = parse_words(&p, operands);
    if (wrong == 0 && !p.help)
        return true;
    *status = wrong != 0 ? wrong : show_help(&p);
    return false;
}

/* --- near misses ------------------------------------------------------------------------------------------------- */

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Number of letters to insert, drop, change or swap to make one word of the other (optimal string alignment). */
static size_t distance(const char *a, const char *b) {
    enum { LONGEST = 24 };
    size_t cost[LONGEST + 1][LONGEST + 1];
    size_t na = strlen(a);
    size_t nb = strlen(b);

    if (na > LONGEST || nb > LONGEST)
        return SIZE_MAX;
    for (size_t i = 0; i <= na; i++) {
        for (size_t j = 0; j <= nb; j++) {
            if (i == 0 || j == 0) {
                cost[i][j] = i + j;
                continue;
            }
            size_t change = cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            cost[i][j] = least(change, least(cost[i - 1][j], cost[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                cost[i][j] = least(cost[i][j], cost[i - 2][j - 2] + 1);
        }
    }
    return cost[na][nb];
}

const char *nearest_word(const char *word, const char *const *words, size_t n) {
    const char *best = NULL;
    size_t best_distance = strlen(word) < 4 ? 2 : 3; /* a shorter word resembles too much */

    for (size_t i = 0; i < n; i++) {
        size_t d = distance(word, words[i]);
        if (d < best_distance) {
            best = words[i];
            best_distance = d;
        }
    }
    return best;
}
