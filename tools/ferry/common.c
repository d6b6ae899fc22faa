/* SPDX-License-Identifier: MIT
 *
 * common.c - what every command does the same way: opening a node, and ending with the right status.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "say.h"
#include "stop.h"
#include "tool.h"

const char *common_space(const common_t *common) {
    const char *named = common->space != NULL ? common->space : getenv("FERRY_SPACE");
    return named != NULL && named[0] != '\0' ? named : "default";
}

bool spans_machines(const char *space) {
    return strncmp(space, "nats://", 7) == 0 || strncmp(space, "nats+tls://", 11) == 0;
}

bool space_is_far(const common_t *common) {
    return spans_machines(common_space(common));
}

ferry_options_t common_options(const common_t *common, const char *name) {
    return (ferry_options_t){
        .size = sizeof(ferry_options_t), .directory = common->directory, .name = name, .group = common->group};
}

int library_failed(int error) {
    const char *sentence = ferry_last_error();

    say("%s", sentence[0] != '\0' ? sentence : strerror(-error));
    /* What the library calls invalid came from the command line: names, and nothing else goes in unchecked. */
    return error == -EINVAL ? STATUS_USAGE : STATUS_FAILED;
}

bool lost_one_sender(int error) {
    bool one = error == -EPROTO || error == -EMFILE || error == -ENFILE;

    if (one)
        say("%s", ferry_last_error());
    return one;
}

/* Once in a process, however many spaces it opens. */
void common_warn(const common_t *common, const ferry_t *node) {
    static char said[64];
    const char *warning = ferry_warning(node);

    if (warning[0] == '\0' || strncmp(warning, said, sizeof said - 1) == 0)
        return;
    snprintf(said, sizeof said, "%s", warning);
    if (!common->quiet)
        say("%s", warning);
}

void raise_descriptor_limit(void) {
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* without it, fewer channels can be met: the library tells */
    }
}

bool common_open(const common_t *common, const char *name, ferry_t **node, int *status) {
    ferry_options_t options = common_options(common, name);
    int result = ferry_open(common_space(common), &options, node);

    if (result < 0) {
        *status = library_failed(result);
        return false;
    }
    common_warn(common, *node);
    stop_watch(*node);
    return true;
}

int finish_output(int status) {
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    if (errno == EPIPE) /* where that is no death: who has seen enough does no harm */
        return status;
    say("cannot write to standard output: %s", strerror(errno));
    return STATUS_FAILED;
}
