/* SPDX-License-Identifier: MIT
 *
 * kick.c - `ferry kick`: expels a program from a space, without ending it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "json.h"
#include "json_look.h"
#include "say.h"
#include "target.h"

static const char text[] =
    "Expels a node from the space: a program that is stopped or misbehaves shall not keep others. Its\n"
    "peers give up their links to it, what it holds of a queue goes to others, and it is told. Its\n"
    "process is not ended; locks that it holds stay held until it ends (kill PID).";

static const char examples[] = "ferry kick 4711                  all nodes of this process in the space\n"
                               "ferry kick viewer                the one that is called so\n"
                               "ferry kick --space demo 9f3a61c2d05b7e88\n"
                               "ferry kick --json 4711 | jq '.expelled[].peers'";

static void print_json(json_t *j, uint64_t id, const ferry_kicked_t *k) {
    json_open(j, NULL, '{');
    json_id(j, "node", id);
    json_signed(j, "pid", k->pid);
    json_count(j, "uid", k->uid);
    json_count(j, "peers", k->peers);
    json_count(j, "silent", k->silent);
    json_bool(j, "told", k->told != 0);
    json_bool(j, "starved", k->starved != 0);
    json_bool(j, "other_version", k->other_version != 0);
    json_close(j, '}');
}

static void print_text(uint64_t id, const ferry_kicked_t *k) {
    printf("expelled node %016" PRIx64 " (process %" PRId32 "): %" PRIu32 " node%s given it up\n", id, k->pid, k->peers,
           k->peers == 1 ? " has" : "s have");
    if (!k->told)
        say("process %" PRId32 " does not answer (%s): %s", k->pid, silence(k->starved, k->other_version),
            k->other_version ? "whether it learns it is not known" : "it learns it when it goes on");
    if (k->silent > 0)
        say("%" PRIu32 " other node%s not answer (%s), and may keep a link to it", k->silent,
            k->silent == 1 ? " does" : "s do", k->other_version ? OTHER_VERSION ", or stopped" : silence(false, false));
}

static int run(const common_t *common, const target_t *target) {
    ferry_options_t options = common_options(common, NULL);
    json_t j = {.out = stdout};
    int status = STATUS_OK;

    if (common->json) {
        json_open(&j, NULL, '{');
        json_open(&j, "expelled", '[');
    }
    for (size_t i = 0; i < target->n && status == STATUS_OK; i++) {
        ferry_kicked_t kicked = {.size = sizeof kicked};
        int result = ferry_kick(common_space(common), &options, target->ids[i], &kicked);
        if (result < 0)
            status = library_failed(result);
        else if (common->json)
            print_json(&j, target->ids[i], &kicked);
        else if (!common->quiet)
            print_text(target->ids[i], &kicked);
    }
    if (common->json) {
        json_close(&j, ']');
        json_close(&j, '}');
        printf("\n");
    }
    return finish_output(status);
}

int command_kick(int argc, char **argv) {
    common_t common = {0};
    const usage_t usage = {.command = "kick",
                           .synopsis = "kick [OPTION...] PID|NAME|NODE",
                           .text = text,
                           .examples = examples,
                           .json = true};
    operands_t operands;
    target_t target;
    int status;

    if (!options_parse(&usage, argc, argv, &common, &operands, &status))
        return status;
    if (operands.n == 0)
        return usage_error(&usage, "whom to expel is missing: a process id, or the name or id of a node");
    if (operands.n > 1)
        return usage_error(&usage, "one at a time, but '%s' was given too", operands.items[1]);
    status = target_find(&common, operands.items[0], &target);
    if (status != 0)
        return status;
    make_plain(target.host);
    if (target.host[0] != '\0') {
        say("node %s is on the machine %s, whose kernel must say who asks: run `ferry kick %s` there",
            operands.items[0], target.host, operands.items[0]);
        return STATUS_FAILED;
    }
    return run(&common, &target);
}
