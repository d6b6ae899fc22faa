/* SPDX-License-Identifier: MIT
 *
 * purge.c - `ferry purge`: drops what waits in a channel, and says whose it was.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cell.h"
#include "json.h"
#include "json_look.h"
#include "say.h"
#include "stop.h"
#include "target.h"
#include "units.h"

static const char text[] =
    "Drops what waits in CHANNEL: the messages of a queue that no receiver has taken, and what a\n"
    "topic keeps for subscribers that come late. Says how many, and whose they were. A sender\n"
    "counts them as purged, not as delivered, and waits for them no longer. Of a durable\n"
    "queue or topic also what the server keeps.";

static const char examples[] = "ferry purge jobs\n"
                               "ferry purge --sender 4711 jobs      only what this process has sent\n"
                               "ferry purge --remove jobs           a durable channel, and all that is in it\n"
                               "ferry purge --json jobs | jq '.senders[].messages'";

typedef struct purging {
    bool json, quiet, remove, only_senders;
    bool durable;  /* the server keeps the channel */
    uint64_t kept; /* and has kept so many */
    json_t j;
    uint64_t messages, pending;
    uint64_t senders, silent;
} purging_t;

static void print_json(purging_t *p, const ferry_purged_t *s) {
    json_open(&p->j, NULL, '{');
    json_id(&p->j, "node", s->node);
    json_count(&p->j, "end", s->end);
    json_text(&p->j, "name", s->name);
    json_signed(&p->j, "pid", s->pid);
    if (s->host == NULL)
        json_count(&p->j, "uid", s->uid);
    else
        json_text(&p->j, "host", s->host);
    json_count(&p->j, "messages", s->messages);
    json_count(&p->j, "pending", s->pending);
    json_bool(&p->j, "answered", s->answered != 0);
    json_bool(&p->j, "starved", s->starved != 0);
    json_bool(&p->j, "other_version", s->other_version != 0);
    json_close(&p->j, '}');
}

static void print_text(const ferry_purged_t *s) {
    char name[104];
    char where[88];
    char count[UNITS_TEXT];

    snprintf(name, sizeof name, "%s", s->name);
    make_plain(name);
    snprintf(where, sizeof where, "%" PRId32 "%s%s", s->pid, s->host != NULL ? "@" : "",
             s->host != NULL ? s->host : "");
    make_plain(where);
    if (s->answered)
        printf("%s message%s %s %s (process %s)\n", show_count(s->messages, count), s->messages == 1 ? "" : "s",
               s->end == 0 ? "from other machines, waiting at" : "of", name, where);
    if (!s->answered)
        say("process %s does not answer (%s), so nothing that it sends was dropped", where,
            silence(s->starved, s->other_version));
    if (s->pending > 0)
        say("%s message%s of %s may be with a receiver that does not answer (stopped?): it drops what it has not taken "
            "when it goes on; `ferry kick` expels it",
            show_count(s->pending, count), s->pending == 1 ? "" : "s", name);
}

static void each(const ferry_purged_t *s, void *arg) {
    purging_t *p = arg;

    p->senders += s->end != 0 || !s->answered;
    p->messages += s->messages;
    p->pending += s->pending;
    p->silent += s->answered == 0;
    if (p->json)
        print_json(p, s);
    else if (!p->quiet || !s->answered || s->pending > 0)
        print_text(s);
}

/* What the server keeps, where there is one. Senders come first: what they still had does not go there any more. */
static int purge_kept(purging_t *p, const common_t *common, const char *channel) {
    ferry_t *node;
    int status = STATUS_OK;

    if (p->only_senders || !space_is_far(common))
        return STATUS_OK;
    if (!common_open(common, "ferry-purge", &node, &status))
        return status;
    int result = ferry_durable_purge(node, channel, p->remove, &p->kept);
    p->durable = result == 0;
    if (result < 0 && result != -ENOENT && result != -ENOTSUP)
        status = library_failed(result);
    stop_forget_node();
    ferry_close(node);
    return status;
}

static int purge(purging_t *p, const common_t *common, const char *channel, const target_t *target) {
    ferry_options_t options = common_options(common, NULL);
    int result = 0;

    for (size_t i = 0; i < target->n && result >= 0; i++)
        result = ferry_purge(common_space(common), &options, channel, target->ids[i], each, p);
    if (result < 0 && result != -ENOENT) /* that space: nobody is in it */
        return library_failed(result);
    int status = purge_kept(p, common, channel);
    if (status != STATUS_OK)
        return status;
    if (p->durable) {
        char count[UNITS_TEXT];
        if (!p->json && !common->quiet)
            printf("%s message%s that the server kept%s\n", show_count(p->kept, count), p->kept == 1 ? "" : "s",
                   p->remove ? "; the channel is removed" : "");
        return p->pending > 0 || p->silent > 0 ? STATUS_NO : STATUS_OK;
    }
    if (p->remove)
        say("'%s' is no durable queue or topic of the space %s: there is nothing to remove", channel,
            common_space(common));
    if (p->senders == 0 && !common->quiet && !p->remove)
        say("no sender has '%s' open in the space %s", channel, common_space(common));
    return p->senders == 0 || p->remove || p->pending > 0 || p->silent > 0 ? STATUS_NO : STATUS_OK;
}

static int run(const common_t *common, const char *channel, const target_t *target, bool remove) {
    purging_t p = {.json = common->json,
                   .quiet = common->quiet,
                   .remove = remove,
                   .only_senders = target->n != 1 || target->ids[0] != 0,
                   .j = {.out = stdout}};

    if (p.json) {
        json_open(&p.j, NULL, '{');
        json_text(&p.j, "channel", channel);
        json_open(&p.j, "senders", '[');
    }
    int status = purge(&p, common, channel, target);
    if (p.json) {
        json_close(&p.j, ']');
        json_count(&p.j, "messages", p.messages);
        json_count(&p.j, "pending", p.pending);
        json_bool(&p.j, "durable", p.durable);
        if (p.durable)
            json_count(&p.j, "kept", p.kept);
        json_close(&p.j, '}');
        printf("\n");
    }
    return finish_output(status);
}

int command_purge(int argc, char **argv) {
    common_t common = {0};
    const char *sender = NULL;
    bool remove = false;
    const option_t options[] = {
        {.name = "remove",
         .kind = OPTION_FLAG,
         .target = &remove,
         .help = "a durable queue or topic: remove it, with all that the server keeps"},
        {.name = "sender",
         .value = "PID|NAME|NODE",
         .kind = OPTION_TEXT,
         .target = &sender,
         .help = "only what this process, or node, has sent"},
    };
    const usage_t usage = {.command = "purge",
                           .synopsis = "purge [OPTION...] CHANNEL",
                           .text = text,
                           .examples = examples,
                           .options = options,
                           .n_options = 2,
                           .json = true};
    target_t target = {.n = 1}; /* 0: all */
    operands_t operands;
    int status;

    if (!options_parse(&usage, argc, argv, &common, &operands, &status))
        return status;
    if (operands.n == 0)
        return usage_error(&usage, "the name of the channel is missing");
    if (operands.n > 1)
        return usage_error(&usage, "one name is enough, but '%s' was given too", operands.items[1]);
    if (sender != NULL && remove)
        return usage_error(&usage,
                           "--remove concerns the whole channel, --sender only what one has sent; give one of them");
    status = sender != NULL ? target_find(&common, sender, &target) : 0;
    return status != 0 ? status : run(&common, operands.items[0], &target, remove);
}
