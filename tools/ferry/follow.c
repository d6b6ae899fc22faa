/* SPDX-License-Identifier: MIT */
#include "follow.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "json.h"
#include "json_look.h"
#include "say.h"
#include "stop.h"

static const char *event_word(ferry_change_t what) {
    switch (what) {
    case FERRY_NODE_JOINED:
        return "joined";
    case FERRY_NODE_LEFT:
        return "left";
    case FERRY_NODE_DIED:
        return "died";
    case FERRY_NODE_EXPELLED:
        return "expelled";
    default:
        return "?";
    }
}

static void print_json(const ferry_watch_event_t *e) {
    json_t j = {.out = stdout};

    json_open(&j, NULL, '{');
    json_text(&j, "event", event_word(e->what));
    json_bool(&j, "was_there", e->was_there != 0);
    json_id(&j, "node", e->node);
    json_text(&j, "name", e->name);
    json_signed(&j, "pid", e->pid);
    if (e->host[0] == '\0')
        json_count(&j, "uid", e->uid);
    else
        json_text(&j, "host", e->host);
    json_close(&j, '}');
    printf("\n");
}

static void print_text(const ferry_watch_event_t *e) {
    char name[sizeof e->name];
    char host[sizeof e->host];

    snprintf(name, sizeof name, "%s", e->name);
    snprintf(host, sizeof host, "%s", e->host);
    make_plain(name);
    make_plain(host);
    printf("%-8s  %016" PRIx64 "  %s (process %" PRId32 "%s%s)\n", e->was_there ? "is here" : event_word(e->what),
           e->node, name, e->pid, host[0] != '\0' ? "@" : "", host);
}

/* The output is watched for errors only: who has seen enough need not wait for the next event. */
static int follow(ferry_watch_t *w, const common_t *common) {
    for (;;) {
        ferry_watch_event_t e = {.size = sizeof e};
        ferry_pollitem_t items[2] = {{.fd = ferry_watch_fd(w), .events = FERRY_POLL_IN}, {.fd = STDOUT_FILENO}};
        int result;

        while ((result = ferry_watch_next(w, FERRY_NOW, &e)) == 0) {
            if (common->json)
                print_json(&e);
            else
                print_text(&e);
        }
        if (stop_signal() != 0 || fflush(stdout) != 0)
            return finish_output(STATUS_OK);
        if (result != -EAGAIN && result != -EINTR)
            return library_failed(result);
        result = ferry_poll(items, 2, FERRY_FOREVER);
        if (result > 0 && (items[1].revents & (FERRY_POLL_ERR | FERRY_POLL_END)) != 0)
            return finish_output(STATUS_OK);
    }
}

int follow_run(const common_t *common) {
    ferry_watch_t *w = NULL;
    ferry_t *node;
    int status;

    signal(SIGPIPE, SIG_IGN);
    if (!common_open(common, "ferry-ls", &node, &status))
        return status;
    int result = ferry_watch_open(node, &w);
    status = result < 0 ? library_failed(result) : follow(w, common);
    ferry_watch_close(w);
    stop_forget_node();
    ferry_close(node);
    return stop_or(status);
}
