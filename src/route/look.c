/* SPDX-License-Identifier: MIT
 *
 * route/look.c - see look.h.
 */
#include "route/look.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/error.h"
#include "host/choose.h"
#include "node/address.h"
#include "node/ask.h"
#include "node/links.h"
#include "node/space.h"
#include "route/route.h"
#include "route/ways.h"

#define ANSWER_NS 1000000000ll   /* a node that takes longer is stopped or overloaded */
#define MAX_LINKS 1000000u       /* more is nonsense */
#define MOST (UINT64_C(1) << 53) /* no figure is larger */

static int no_memory(void) {
    return fi_fail(-ENOMEM, "no memory to list the links of a channel");
}

/* --- asking ------------------------------------------------------------------------------------------------------ */

struct asking {
    ferry_route_t *route;
    fi_space_t space;
    fi_frame_t question;
    fi_route_node_t *node;
    size_t senders, receivers;
};

static void keep_link(ferry_route_t *r, uint64_t node, const fi_frame_t *f) {
    bool taken = (f->flags & FI_LINK_RECEIVER) != 0;
    fi_frame_t **list = taken ? &r->taken : &r->sent;
    size_t *count = taken ? &r->taken_count : &r->sent_count;

    if (*count >= MAX_LINKS || !fi_grow((void **)list, *count, sizeof **list)) {
        r->short_of_memory = true;
        return;
    }
    fi_frame_t *kept = &(*list)[(*count)++];
    *kept = *f;
    kept->b = node;
    for (unsigned i = 0; i < sizeof f->figures / sizeof f->figures[0]; i++) {
        kept->figures[i] = fi_min(f->figures[i], MOST);
    }
}

static bool hear(const fi_frame_t *f, void *arg) {
    struct asking *a = arg;

    if (f->type == FI_LOOK_NODE) {
        a->node->name = fi_picture_keep(&a->route->texts, f->text);
        fi_host_from_frame(&a->node->host, f);
    } else if (f->type == FI_LOOK_END) {
        a->senders += f->tx != 0;
        a->receivers += f->tx == 0;
    } else if (f->type == FI_LOOK_LINK) {
        keep_link(a->route, a->node->id, f);
    }
    return f->type != FI_LOOK_DONE;
}

static int ask_node(uint64_t id, void *arg) {
    struct asking *a = arg;
    ferry_route_t *r = a->route;
    pid_t pid = 0;
    uid_t uid = 0;

    if (!fi_grow((void **)&r->nodes, r->node_count, sizeof *r->nodes)) {
        return no_memory();
    }
    a->node = &r->nodes[r->node_count];
    *a->node = (fi_route_node_t){.id = id, .name = ""};
    a->senders = a->receivers = 0;
    int got = fi_ask(a->space.dirfd, id, &a->question, ANSWER_NS, &pid, &uid, hear, a);
    if (got < 0) { /* else: dead, or not ours to ask */
        return fi_ask_is_our_fault(got) ? fi_fail_errno(-got, "cannot ask a node what it exchanges") : 0;
    }
    a->node->pid = pid;
    a->node->answered = got == 1;
    r->node_count++;
    r->senders += a->senders;
    r->receivers += a->receivers;
    r->silent += got != 1;
    return 0;
}

/* --- putting together -------------------------------------------------------------------------------------------- */

static const fi_route_node_t *find_node(const ferry_route_t *r, uint64_t id) {
    for (size_t i = 0; i < r->node_count; i++) {
        if (r->nodes[i].id == id) {
            return &r->nodes[i];
        }
    }
    return NULL;
}

static ferry_route_end_t end_of(const ferry_route_t *r, uint64_t node, uint64_t end, bool told) {
    const fi_route_node_t *n = find_node(r, node);

    return (ferry_route_end_t){
        .node = node, .end = end, .name = n ? n->name : "", .host = "", .pid = n ? n->pid : 0, .told = told};
}

static const fi_frame_t *other_half(const ferry_route_t *r, const fi_frame_t *sent) {
    for (size_t i = 0; i < r->taken_count; i++) {
        const fi_frame_t *t = &r->taken[i];
        if (t->tx == sent->tx && t->rx == sent->rx && t->a == sent->b && t->b == sent->a) {
            return t;
        }
    }
    return NULL;
}

static ferry_host_t host_of(const ferry_route_t *r, uint64_t node) {
    const fi_route_node_t *n = find_node(r, node);
    ferry_host_t none = {0};

    return n ? n->host : none;
}

static ferry_way_t way_of(const fi_frame_t *f) {
    if (f->flags & FI_LINK_FAR) {
        return FERRY_WAY_NATS;
    }
    return f->flags & FI_LINK_THREAD ? FERRY_WAY_THREAD : FERRY_WAY_SHM;
}

void fi_route_tell_ways(const ferry_route_t *r, ferry_route_link_t *l) {
    const ferry_route_end_t *far = l->receiver.host[0] ? &l->receiver : &l->sender;
    char here[65] = "";
    fi_way_facts_t facts = {.way = l->way,
                            .one_process = l->sender.pid != 0 && l->sender.pid == l->receiver.pid,
                            .networked = r->networked,
                            .directory = r->directory,
                            .far = far->host,
                            .durable = l->durable != 0};

    (void)gethostname(here, sizeof here - 1);
    facts.same_machine = far->host[0] && strcmp(far->host, here) == 0;
    fi_tell_ways(&facts, l->ways);
}

/* The least expected completion of another link of the same sender. */
static void look_at_others(const ferry_route_t *r, const fi_frame_t *mine, fi_turn_facts_t *facts) {
    for (size_t i = 0; i < r->sent_count; i++) {
        const fi_frame_t *f = &r->sent[i];
        if (f == mine || f->b != mine->b || f->tx != mine->tx || f->flags & FI_LINK_TAP) {
            continue;
        }
        uint64_t ns = fi_expected_completion(f->figures[FI_SENT_WAITING], f->figures[FI_SENT_SERVICE]);
        facts->other_ns = facts->has_other ? fi_min(facts->other_ns, ns) : ns;
        facts->has_other = true;
    }
}

static fi_spinning_t spinning_of(const fi_frame_t *f, unsigned spin, uint64_t wake_ns, bool on_link) {
    /* Where the figures of spinning stand, the two that belong to it follow. */
    return (fi_spinning_t){.full_ns = f->figures[spin],
                           .wake_ns = wake_ns,
                           .on_link = on_link,
                           .policy = (uint32_t)f->figures[spin + 2],
                           .in_vain = (uint32_t)f->figures[spin + 1],
                           .crowded = (f->figures[spin + 1] & FI_CROWDED) != 0};
}

static void tell_sent(const ferry_route_t *r, const fi_frame_t *f, ferry_route_link_t *l) {
    ferry_host_t host = host_of(r, f->b);
    fi_spinning_t spin = spinning_of(f, FI_SENT_SPIN, host.wake_ns, false);
    fi_turn_facts_t turn = {.waiting = f->figures[FI_SENT_WAITING],
                            .service_ns = f->figures[FI_SENT_SERVICE],
                            .links = f->figures[FI_SENT_LINKS],
                            .most = f->figures[FI_SENT_MOST],
                            .left = f->figures[FI_SENT_LEFT],
                            .is_queue = f->kind == FERRY_QUEUE,
                            .only_looks = (f->flags & FI_LINK_TAP) != 0};

    l->messages_per_s = f->figures[FI_SENT_PER_S];
    l->message_size = f->figures[FI_SENT_SIZE];
    if (__builtin_mul_overflow(l->messages_per_s, l->message_size, &l->bytes_per_s)) {
        l->bytes_per_s = 0;
    }
    l->service_ns = f->figures[FI_SENT_SERVICE];
    l->waiting = f->figures[FI_SENT_WAITING];
    l->ready_at_most = f->figures[FI_SENT_MOST];
    l->undealt = f->figures[FI_SENT_LEFT];
    look_at_others(r, f, &turn);
    fi_tell_inline(&host, f->figures[FI_SENT_INLINE], &l->inline_max);
    fi_tell_spin(&host, &spin, &l->room_spin_ns);
    fi_tell_turn(&turn, &l->completion_ns);
}

static void tell_taken(const ferry_route_t *r, const fi_frame_t *f, ferry_route_link_t *l) {
    ferry_host_t host = host_of(r, f->b);
    bool own = (f->flags & FI_LINK_OWN_SPIN) != 0;
    fi_spinning_t spin =
        spinning_of(f, FI_TAKEN_SPIN, own && f->figures[FI_TAKEN_WAKE] ? f->figures[FI_TAKEN_WAKE] : host.wake_ns, own);

    l->latency_ns = f->figures[FI_TAKEN_MEAN];
    l->least_latency_ns = f->figures[FI_TAKEN_LEAST];
    l->latency_samples = f->figures[FI_TAKEN_COUNT];
    l->wake_ns = f->figures[FI_TAKEN_WAKE];
    l->wake_samples = f->figures[FI_TAKEN_WAKES];
    fi_tell_spin(&host, &spin, &l->spin_ns);
}

/* `sent` or `taken` may be missing: then that end is elsewhere, or did not answer. */
static void add_link(ferry_route_t *r, const fi_frame_t *sent, const fi_frame_t *taken) {
    const fi_frame_t *one = sent ? sent : taken;

    if (!fi_grow((void **)&r->links, r->link_count, sizeof *r->links)) {
        r->short_of_memory = true;
        return;
    }
    ferry_route_link_t *l = &r->links[r->link_count++];
    *l = (ferry_route_link_t){.channel = fi_picture_keep(&r->texts, one->text),
                              .kind = (ferry_kind_t)one->kind,
                              .way = way_of(one),
                              .durable = (one->flags & FI_LINK_DURABLE) != 0,
                              .sender = end_of(r, sent ? one->b : one->a, one->tx, sent != NULL),
                              .receiver = end_of(r, sent ? one->a : one->b, one->rx, taken != NULL)};
    if (sent && l->way == FERRY_WAY_NATS) {
        /* The end that takes it there is nobody's concern. */
        l->receiver = (ferry_route_end_t){.node = sent->a, .name = "", .host = ""};
    }
    if (sent) {
        tell_sent(r, sent, l);
    }
    if (taken) {
        tell_taken(r, taken, l);
    }
    fi_route_tell_ways(r, l);
}

static void put_together(ferry_route_t *r) {
    for (size_t i = 0; i < r->sent_count; i++) {
        const fi_frame_t *other = other_half(r, &r->sent[i]);
        add_link(r, &r->sent[i], other);
        if (other) {
            r->taken[other - r->taken].type = FI_LOOK_DONE; /* it has its place */
        }
    }
    for (size_t i = 0; i < r->taken_count; i++) {
        if (r->taken[i].type == FI_LOOK_LINK) {
            add_link(r, NULL, &r->taken[i]);
        }
    }
}

/* --- all of it --------------------------------------------------------------------------------------------------- */

static int ask_all(ferry_route_t *r, const char *space, const char *channel, const ferry_options_t *o) {
    struct asking a = {.route = r, .question = fi_frame(FI_LOOK, 0, 0)};

    a.question.flags = FI_LOOK_LINKS;
    memcpy(a.question.text, channel, strlen(channel));
    int got = fi_space_open(space, o, false, &a.space);
    if (got == -ENOENT) {
        return fi_fail(got, "nobody on this machine has a queue or topic '%s' open: %s", channel, fi_error_text());
    }
    if (got < 0) {
        return got;
    }
    r->directory = strdup(a.space.path);
    got = r->directory ? fi_space_each_node(&a.space, ask_node, &a) : no_memory();
    fi_space_close(&a.space); /* an empty directory of dead nodes goes too */
    return got;
}

int fi_route_look(const char *space, const char *channel, const ferry_options_t *o, ferry_route_t **out) {
    ferry_route_t *r = calloc(1, sizeof *r);
    fi_address_t address;

    if (!r) {
        return no_memory();
    }
    int got = fi_address_parse(space, &address);
    r->networked = got == 0 && address.networked;
    got = got == 0 ? ask_all(r, space, channel, o) : got;
    if (got == 0) {
        put_together(r);
    }
    if (got == 0 && (r->short_of_memory || r->texts.short_of_memory)) {
        got = no_memory();
    }
    if (got == 0 && r->senders + r->receivers == 0 && r->silent == 0) {
        got = fi_fail(-ENOENT, "nobody on this machine has a queue or topic '%s' open in the space %s", channel, space);
    }
    if (got < 0) {
        fi_route_close(r);
        return got;
    }
    *out = r;
    return 0;
}

void fi_route_close(ferry_route_t *r) {
    if (r) {
        fi_picture_free(&r->texts);
        free(r->directory);
        free(r->nodes);
        free(r->sent);
        free(r->taken);
        free(r->links);
    }
    free(r);
}

size_t fi_route_links(const ferry_route_t *r) {
    return r->link_count;
}

const ferry_route_link_t *fi_route_link(const ferry_route_t *r, size_t i) {
    return i < r->link_count ? &r->links[i] : NULL;
}

size_t fi_route_senders(const ferry_route_t *r) {
    return r->senders;
}

size_t fi_route_receivers(const ferry_route_t *r) {
    return r->receivers;
}

size_t fi_route_silent(const ferry_route_t *r) {
    return r->silent;
}
