/* SPDX-License-Identifier: MIT
 *
 * doctor.c - `ferry doctor`: runs every check and shows what it found.
 */
#include "doctor.h"

#include <stdarg.h>
#include <stdio.h>

#include "json.h"
#include "options.h"

static const char text[] = "Checks what Ferry needs of this machine, mostly by trying it, and says what to do where\n"
                           "something is missing. Each line is ok, warn (it works, but slower or with less room) or\n"
                           "fail. The exit status is 1 when anything fails. If the space spans machines (--space\n"
                           "nats://HOST/NAME), also its server, and what it permits.";

static const char examples[] = "ferry doctor\n"
                               "ferry doctor --json | jq '.checks[] | select(.verdict != \"ok\")'\n"
                               "ferry doctor --group render    the space that this group shares\n"
                               "ferry doctor --space nats://hub/demo";

static const struct {
    const char *name;
    check_t *check;
} checks[] = {
    {"kernel", check_kernel},
    {"/proc", check_proc},
    {"sealed memory", check_memory_files},
    {"process handles", check_pidfd},
    {"memory barrier", check_barrier},
    {"page population", check_populate},
    {"descriptors", check_descriptors},
    {"file size limit", check_file_size},
    {"memory", check_memory},
    {"cores", check_cores},
    {"huge pages", check_huge_pages},
    {"inotify", check_inotify},
    {"directory", check_directory},
    {"room", check_room},
    {"leftovers", check_leftovers},
    {"versions", check_versions},
    {"a message", check_message},
    {"server", check_server},
    {"encryption", check_encryption},
    {"joining", check_login},
    {"connection", check_connection},
    {"channels", check_channels},
    {"calls", check_calls},
    {"locks, cells", check_storage},
};

/* The last ones are made only where the space spans machines. */
enum { CHECKS = sizeof checks / sizeof checks[0], FAR = CHECKS - 7 };

static const char *const words[] = {"ok", "warn", "fail"};

void find(finding_t *finding, verdict_t verdict, const char *format, ...) {
    va_list args;

    finding->verdict = verdict;
    va_start(args, format);
    vsnprintf(finding->found, sizeof finding->found, format, args);
    va_end(args);
}

void advise(finding_t *finding, const char *format, ...) {
    va_list args;

    va_start(args, format);
    vsnprintf(finding->advice, sizeof finding->advice, format, args);
    va_end(args);
}

static void print_text(const finding_t *findings, bool quiet) {
    for (size_t i = 0; i < CHECKS; i++) {
        const finding_t *f = &findings[i];
        if (!f->made || (quiet && f->verdict == VERDICT_OK))
            continue;
        printf("%-4s  %-15s  %s\n", words[f->verdict], checks[i].name, f->found);
        if (f->advice[0] != '\0')
            printf("%-23s-> %s\n", "", f->advice);
    }
}

static void print_json(const finding_t *findings, const size_t *counts) {
    json_t j = {.out = stdout};

    json_open(&j, NULL, '{');
    for (size_t v = 0; v < 3; v++)
        json_count(&j, words[v], counts[v]);
    json_open(&j, "checks", '[');
    for (size_t i = 0; i < CHECKS; i++) {
        if (!findings[i].made)
            continue;
        json_open(&j, NULL, '{');
        json_text(&j, "name", checks[i].name);
        json_text(&j, "verdict", words[findings[i].verdict]);
        json_text(&j, "found", findings[i].found);
        json_text(&j, "advice", findings[i].advice);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_close(&j, '}');
    printf("\n");
}

int command_doctor(int argc, char **argv) {
    common_t common = {0};
    operands_t operands;
    finding_t findings[CHECKS] = {0};
    size_t counts[3] = {0};
    int status;
    const usage_t usage = {
        .command = "doctor", .synopsis = "doctor [OPTION...]", .text = text, .examples = examples, .json = true};

    if (!options_parse(&usage, argc, argv, &common, &operands, &status))
        return status;
    if (operands.n > 0)
        return usage_error(&usage, "the doctor takes no argument, but '%s' was given", operands.items[0]);
    for (size_t i = 0; i < CHECKS; i++) {
        findings[i].made = i < FAR || space_is_far(&common);
        if (!findings[i].made)
            continue;
        checks[i].check(&common, &findings[i]);
        counts[findings[i].verdict]++;
    }
    doctor_net_done();
    if (common.json)
        print_json(findings, counts);
    else
        print_text(findings, common.quiet);
    return finish_output(counts[VERDICT_FAIL] > 0 ? STATUS_NO : STATUS_OK);
}
