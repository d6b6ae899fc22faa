/* SPDX-License-Identifier: MIT
 *
 * why.c - `ferry why`: who waits for whom.
 */
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "options.h"
#include "say.h"
#include "units.h"
#include "why.h"

enum { LOOKS_AGAIN = 3, LOOK_AGAIN_NS = 20000000 };

static const char text[] =
    "Shows who waits for whom in a space: a tree for each thread that waits, with those that hold\n"
    "what it waits for below it. Circles, which nobody can leave, are marked. With PID: what that\n"
    "process takes part in. With NAME, which may be a pattern ('acc*'): what is about that mutex,\n"
    "rwlock, semaphore, barrier, event, cell, region, channel or service.";

static const char examples[] = "ferry why\n"
                               "ferry why 1234\n"
                               "ferry why ledger\n"
                               "ferry why --check >/dev/null || echo 'some wait for each other for good'\n"
                               "ferry why --dot | dot -Tsvg >why.svg";

typedef struct settings {
    const common_t *common;
    const char *space;
    const char *word; /* PID or NAME, or NULL */
    bool check;
    bool dot;
} settings_t;

/* --- what was asked for ------------------------------------------------------------------------------------------ */

static bool process_is_there(const ferry_look_t *look, int32_t pid) {
    for (size_t i = 0; i < ferry_look_nodes(look); i++) {
        if (ferry_look_node(look, i)->pid == pid)
            return true;
    }
    for (size_t i = 0; i < ferry_look_waits(look); i++) {
        if (ferry_look_wait(look, i)->pid == pid)
            return true;
    }
    return false;
}

static bool name_is_waited_for(const ferry_look_t *look, const char *name) {
    for (size_t i = 0; i < ferry_look_waits(look); i++) {
        if (why_has_name(ferry_look_wait(look, i), name))
            return true;
    }
    return false;
}

static bool channel_is_open(const ferry_look_t *look, const char *name) {
    for (size_t i = 0; i < ferry_look_ends(look); i++) {
        if (fnmatch(name, ferry_look_end(look, i)->channel, 0) == 0)
            return true;
    }
    return false;
}

static bool service_is_open(const ferry_look_t *look, const char *name) {
    for (size_t i = 0; i < ferry_look_services(look); i++) {
        if (fnmatch(name, ferry_look_service(look, i)->name, 0) == 0)
            return true;
    }
    return false;
}

/* A number is a process, unless only an object is called so. */
static why_asked_t understand(const settings_t *s, const ferry_look_t *look) {
    uint64_t number;
    bool is_pid = s->word != NULL && parse_count(s->word, &number) && number > 0 && number <= INT32_MAX;

    if (is_pid && (process_is_there(look, (int32_t)number) || !name_is_waited_for(look, s->word)))
        return (why_asked_t){.pid = (int32_t)number};
    return (why_asked_t){.name = s->word};
}

/* --- when nothing is shown --------------------------------------------------------------------------------------- */

/* Whether the process, or any one if `pid` is 0, did not answer. */
static bool is_silent(const ferry_look_t *look, int32_t pid) {
    for (size_t i = 0; i < ferry_look_nodes(look); i++) {
        const ferry_look_node_t *node = ferry_look_node(look, i);
        if (node->answered == 0 && (pid == 0 || node->pid == pid))
            return true;
    }
    return false;
}

/* Says why no tree is shown; returns the exit status that this has without --check. */
static int nothing_to_show(const settings_t *s, const ferry_look_t *look, const why_asked_t *asked) {
    if (asked->pid != 0 && !process_is_there(look, asked->pid)) {
        say("process %s is not in space '%s'", s->word, s->space);
        return STATUS_NO;
    }
    bool service = asked->name != NULL && service_is_open(look, asked->name);
    if (asked->name != NULL && !service && !channel_is_open(look, asked->name)) {
        say("no channel or service in space '%s' is called '%s', and nobody waits for an object of that name", s->space,
            asked->name);
        return STATUS_NO;
    }
    if (s->common->quiet || (asked->pid != 0 && is_silent(look, asked->pid)))
        return STATUS_OK;
    if (asked->pid != 0)
        say("process %s does not wait, and nobody waits for it", s->word);
    else if (service)
        say("nobody has waited for long for an answer of service '%s'", asked->name);
    else if (asked->name != NULL)
        say("nobody waits for room in channel '%s'", asked->name);
    else
        say("nobody%s has waited for longer than its `deadlock_after` in space '%s'",
            is_silent(look, 0) ? " that answered" : "", s->space);
    return STATUS_OK;
}

/* `nobody`: the library's words for that, which know more of a space that spans machines. */
static int nothing_is_open(const settings_t *s, const char *base, const char *nobody) {
    bool says = !s->common->quiet || s->word != NULL;

    if (says && space_is_far(s->common))
        say("%s", nobody);
    else if (says)
        say("nothing is open in space '%s' (base directory %s)", s->space, base);
    return s->word != NULL ? STATUS_NO : STATUS_OK;
}

/* --- the command ------------------------------------------------------------------------------------------------- */

static bool wants_colour(void) {
    const char *no_color = getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) && (no_color == NULL || no_color[0] == '\0');
}

static bool print(const settings_t *s, const why_t *why, const char *base) {
    if (s->common->json) {
        why_print_json(why, base, s->space);
        return true;
    }
    return s->dot ? why_print_dot(why, s->space) : why_print_trees(why, wants_colour());
}

static int show(const settings_t *s, why_t *why, const char *base, const char *nobody) {
    const why_asked_t asked = understand(s, why->look);
    int status = STATUS_OK;

    if (!why_choose(why, &asked) || !print(s, why, base)) {
        say("no memory to show who waits");
        return STATUS_FAILED;
    }
    if (ferry_look_nodes(why->look) == 0)
        status = nothing_is_open(s, base, nobody);
    else if (why->n_roots == 0)
        status = nothing_to_show(s, why->look, &asked);
    if (!s->check)
        return status;
    return why_last_circle(why) > 0 ? STATUS_NO : STATUS_OK;
}

static bool may_hide_a_circle(const ferry_look_t *look) {
    size_t waits = ferry_look_waits(look);

    for (size_t i = 0; i < waits; i++)
        if (ferry_look_wait(look, i)->circle != 0)
            return false;
    return waits > 1;
}

/* Who waits wakes up now and then to see what others wait for, and counts as free to go on in that moment; on a busy
 * machine it may be a long one. So a picture that has waits but no circle is not believed at once. */
static int look_well(const settings_t *s, const ferry_options_t *options, ferry_look_t **look) {
    int result = ferry_look(s->space, options, look);

    for (int again = 0; again < LOOKS_AGAIN && result == 0 && may_hide_a_circle(*look); again++) {
        const struct timespec pause = {.tv_nsec = LOOK_AGAIN_NS};
        nanosleep(&pause, NULL);
        ferry_look_close(*look);
        *look = NULL;
        result = ferry_look(s->space, options, look);
    }
    return result;
}

static int run(const settings_t *s) {
    ferry_options_t options = common_options(s->common, "ferry-why");
    char base[4096];
    why_t why = {0};
    int result = ferry_base_directory(&options, base, sizeof base);

    if (result < 0)
        return library_failed(result);
    result = look_well(s, &options, &why.look);
    if (result < 0 && result != -ENOENT) /* a space that is gone is one in which nobody waits */
        return library_failed(result);
    char nobody[400];
    snprintf(nobody, sizeof nobody, "%s", result < 0 ? ferry_last_error() : "");
    int status = show(s, &why, base, nobody);
    why_done(&why);
    return finish_output(status);
}

int command_why(int argc, char **argv) {
    common_t common = {0};
    settings_t settings = {.common = &common};
    operands_t operands;
    int status;
    const option_t options[] = {
        {.name = "check",
         .kind = OPTION_FLAG,
         .target = &settings.check,
         .help = "exit status 1 if there is a circle, else 0"},
        {.name = "dot", .kind = OPTION_FLAG, .target = &settings.dot, .help = "write a graph for Graphviz"},
    };
    const usage_t usage = {.command = "why",
                           .synopsis = "why [OPTION...] [PID|NAME]",
                           .text = text,
                           .examples = examples,
                           .options = options,
                           .n_options = 2,
                           .json = true};

    if (!options_parse(&usage, argc, argv, &common, &operands, &status))
        return status;
    if (operands.n > 1)
        return usage_error(&usage, "one process or name is enough, but '%s' was given too", operands.items[1]);
    if (common.json && settings.dot)
        return usage_error(&usage, "--json and --dot are two forms of output: give one of them");
    settings.space = common_space(&common);
    settings.word = operands.n > 0 ? operands.items[0] : NULL;
    return run(&settings);
}
