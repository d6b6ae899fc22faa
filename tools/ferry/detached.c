/* SPDX-License-Identifier: MIT
 *
 * detached.c - `ferry send --detach`: a keeper has the records until they are received, so that who sends them may
 * leave before anybody comes.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "keeper.h"
#include "say.h"
#include "sending.h"
#include "units.h"

enum { RECORDS, PROCESS };

/* In the keeper, while it is still part of the job: it reads all there is. */
static int take_all(void *arg, ferry_t *node, uint64_t *figures) {
    sending_t *s = arg;

    s->node = node;
    int status = sending_open(s);
    if (status == 0)
        status = sending_feed(s);
    if (status != 0)
        return sending_close(s, status);
    figures[RECORDS] = s->records;
    figures[PROCESS] = (uint64_t)getpid();
    return 0;
}

/* What is said from now on nobody reads on a terminal. */
static void log_to(const char *name) {
    int fd = name != NULL ? open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;

    if (fd >= 0) {
        (void)dup2(fd, STDERR_FILENO);
        close(fd);
    }
}

/* In the background. */
static int keep_all(void *arg) {
    sending_t *s = arg;

    s->progress = (progress_t){.verb = "sent"};
    s->timeout = FERRY_FOREVER;
    s->linger = s->detach_for;
    log_to(s->detach_log);
    sending_set_slice(s);
    int status = sending_linger(s);
    if (s->detach_log != NULL)
        say("kept %" PRIu64 " record%s for '%s' (process %ld)", s->records, s->records == 1 ? "" : "s", s->channel,
            (long)getpid());
    return sending_close(s, status);
}

/* In the process that was started. */
static int tell(void *arg, const uint64_t *figures) {
    const sending_t *s = arg;
    char count[UNITS_TEXT];
    char time[UNITS_TEXT];

    if (!s->common.quiet)
        say("%s record%s kept by process %" PRIu64 " for at most %s", show_count(figures[RECORDS], count),
            figures[RECORDS] == 1 ? " is" : "s are", figures[PROCESS], show_duration((double)s->detach_for, time));
    return STATUS_OK;
}

/* The keeper works in another directory; and who cannot be told what becomes of the records is to know it now. */
static int check_log(sending_t *s, char *path, size_t cap) {
    char here[4096] = "";
    int fd = open(s->detach_log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (fd < 0) {
        say("cannot write to '%s': %s", s->detach_log, strerror(errno));
        return STATUS_FAILED;
    }
    close(fd);
    if (s->detach_log[0] != '/' && getcwd(here, sizeof here) == NULL) {
        say("the current directory is unknown, so name the log with its whole path: %s", strerror(errno));
        return STATUS_FAILED;
    }
    snprintf(path, cap, "%s%s%s", here, here[0] != '\0' ? "/" : "", s->detach_log);
    s->detach_log = path;
    return 0;
}

int sending_detach(sending_t *s) {
    char path[8192];
    const keeping_t k = {.detach = true,
                         .common = &s->common,
                         .kind = "queue",
                         .name = s->channel,
                         .prepare = take_all,
                         .tell = tell,
                         .stay = keep_all,
                         .arg = s};
    int status = s->detach_log != NULL ? check_log(s, path, sizeof path) : 0;

    return status != 0 ? status : keeper_run(&k);
}
