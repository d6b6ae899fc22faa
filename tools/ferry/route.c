/* SPDX-License-Identifier: MIT
 *
 * route.c - `ferry route`: which way messages go, what that costs, and why.
 */
#include "route.h"

#include <errno.h>
#include <stdio.h>

#include "options.h"
#include "say.h"
#include "tool.h"

static const char text[] =
    "Shows for every live link of CHANNEL which way messages go (thread, shm, nats), why, and why\n"
    "no other way; what was measured on it; and what was chosen from that, with the reasons.\n"
    "Without CHANNEL: what this host's operations cost, and what follows. That is measured once\n"
    "for each start of the system, in some milliseconds, and kept in the base directory.";

static const char examples[] = "ferry route\n"
                               "ferry route frames\n"
                               "ferry route --json frames | jq '.links[].latency_ns'\n"
                               "ferry route --profile >fast.profile; FERRY_HOST_PROFILE=fast.profile ./program";

typedef struct settings {
    bool measure;
    bool profile;
} settings_t;

static int show_host(const common_t *common, const settings_t *s) {
    ferry_options_t options = common_options(common, NULL);
    ferry_host_choices_t choices;
    ferry_host_t host;
    char profile[512];

    int result = ferry_host(&options, s->measure ? FERRY_HOST_MEASURE_ANEW : FERRY_HOST_MEASURE, &host, &choices);
    if (result == 0 && s->profile)
        result = ferry_host_text(&host, profile, sizeof profile);
    if (result < 0)
        return library_failed(result);
    if (s->profile)
        fputs(profile, stdout);
    else if (common->json)
        route_json_host(&host, &choices);
    else
        route_print_host(&host, &choices);
    return finish_output(STATUS_OK);
}

static int show_links(const common_t *common, const char *channel) {
    ferry_options_t options = common_options(common, NULL);
    ferry_route_t *route;

    int result = ferry_route(common_space(common), channel, &options, &route);
    if (result == -ENOENT) {
        say("%s", ferry_last_error());
        return STATUS_NO;
    }
    if (result < 0)
        return library_failed(result);
    if (common->json)
        route_json_links(channel, route);
    else
        route_print_links(channel, route);
    int status = ferry_route_links(route) > 0 ? STATUS_OK : STATUS_NO;
    ferry_route_close(route);
    return finish_output(status);
}

int command_route(int argc, char **argv) {
    common_t common = {0};
    settings_t settings = {0};
    operands_t operands;
    int status;
    const option_t options[] = {
        {.name = "measure", .kind = OPTION_FLAG, .target = &settings.measure, .help = "measure this host anew"},
        {.name = "profile",
         .kind = OPTION_FLAG,
         .target = &settings.profile,
         .help = "write what was measured as a file for $FERRY_HOST_PROFILE"},
    };
    const usage_t usage = {.command = "route",
                           .synopsis = "route [OPTION...] [CHANNEL]",
                           .text = text,
                           .examples = examples,
                           .options = options,
                           .n_options = sizeof options / sizeof options[0],
                           .json = true};

    if (!options_parse(&usage, argc, argv, &common, &operands, &status))
        return status;
    if (operands.n > 1)
        return usage_error(&usage, "it shows one channel, but '%s' was given too", operands.items[1]);
    if (operands.n == 1 && (settings.measure || settings.profile))
        return usage_error(&usage, "--measure and --profile are about this host: give them without a channel");
    if (settings.profile && common.json)
        return usage_error(&usage, "--profile writes a profile, not JSON: give one of the two");
    return operands.n == 1 ? show_links(&common, operands.items[0]) : show_host(&common, &settings);
}
