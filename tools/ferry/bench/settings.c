/* SPDX-License-Identifier: MIT */
#include "bench/settings.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/heaps.h"
#include "bench/payload.h"
#include "bench/window.h"
#include "options.h"
#include "say.h"
#include "units.h"

#define UNSAID UINT64_MAX
#define UNCHOSEN (-1)

/* What the command line says, before it is checked. */
typedef struct words {
    int between, wait, kind, api, take, touch, pin, work, pattern, peer, scatter, method, peers;
    uint64_t size, senders, receivers, count, depth, processes, threads, writers, live, slots;
    uint64_t outstanding, clients, servers;
    const char *seconds, *dirty;
} words_t;

typedef struct part {
    bench_part_t part;
    const char *name;
    const char *usage;
    const char *text;
    const char *examples;
} part_t;

#define BESIDE_MACHINES "Between machines: through a nats-server of its own, beside the bare libnats and plain TCP."

static const part_t parts[] = {
    {BENCH_LATENCY, "latency", "bench latency [OPTION...]",
     "Round trips of one message over two queues, beside the round trip of a bare cache line (or of a bare futex\n"
     "where sides block or share a core), and the processor time of waiting two seconds for nothing.\n" BESIDE_MACHINES,
     "ferry bench latency\nferry bench latency --between threads --wait spin\nferry bench latency --same-core --json"},
    {BENCH_THROUGHPUT, "throughput", "bench throughput [OPTION...]",
     "Messages per second from all senders to all receivers, beside a bare ring in shared memory. For a topic also\n"
     "the publisher's processor time per message, beside that of a topic with one receiver.\n" BESIDE_MACHINES,
     "ferry bench throughput --size 1024\nferry bench throughput --senders 8 --api claim\n"
     "ferry bench throughput --kind topic --receivers 8\nferry bench throughput --between machines --size 1KiB"},
    {BENCH_LARGE, "large", "bench large [OPTION...]",
     "Messages handed over by pointer: with one line written and read, beside the round trip of a bare cache line;\n"
     "with all bytes written and read, beside the same work on bare shared memory.",
     "ferry bench large\nferry bench large --size 1MiB --touch whole"},
    {BENCH_SENDERS, "senders", "bench senders [OPTION...]",
     "Many senders on one receiver: memory of an idle link, cost per message as their number grows, joining and\n"
     "leaving under load, how soon a death is noticed, opening, and the memory of an idle node.",
     "ferry bench senders\nferry bench senders --count 100"},
    {BENCH_FAIRNESS, "fairness", "bench fairness [OPTION...]",
     "How late a message of a sender of few messages arrives, alone and beside a sender that floods; at most one\n"
     "quantum of the flood may come before it.",
     "ferry bench fairness"},
    {BENCH_LOCK, "lock", "bench lock [OPTION...]",
     "Sides lock a mutex, add one to a counter that nothing else protects, and unlock, as fast as they can, beside\n"
     "the same with a robust process-shared pthread_mutex_t (and a plain one).\n" BESIDE_MACHINES,
     "ferry bench lock --processes 1\nferry bench lock --threads 4 --json"},
    {BENCH_RWLOCK, "rwlock", "bench rwlock [OPTION...]",
     "Readers take a reader-writer lock and compare two words, and writers change both, as fast as they can, beside\n"
     "the same with a process-shared pthread_rwlock_t.",
     "ferry bench rwlock\nferry bench rwlock --processes 2 --writers 1"},
    {BENCH_SEMAPHORE, "semaphore", "bench semaphore [OPTION...]",
     "Round trips of two sides that let each other go on through two semaphores, and sides that acquire and release\n"
     "the only unit of one, beside the same with a process-shared sem_t; round trips also beside that of a bare\n"
     "cache line (or of a bare futex where sides block or share a core).",
     "ferry bench semaphore\nferry bench semaphore --work ping-pong --wait block\nferry bench semaphore --processes 1"},
    {BENCH_EVENT, "event", "bench event [OPTION...]",
     "Round trips of two sides that let each other go on through two auto-reset events, beside the same with a\n"
     "process-shared pthread_cond_t, and beside the round trip of a bare cache line (or of a bare futex where sides\n"
     "block or share a core).",
     "ferry bench event\nferry bench event --threads 2 --wait block"},
    {BENCH_BARRIER, "barrier", "bench barrier [OPTION...]",
     "Sides pass a barrier, round after round, beside the same with a process-shared pthread_barrier_t; two sides\n"
     "also beside the round trip of a bare cache line (or of a bare futex where they block or share a core).",
     "ferry bench barrier\nferry bench barrier --processes 4 --wait block"},
    {BENCH_REGION, "region", "bench region [OPTION...]",
     "Blocks of a shared region are allocated, written whole, checked and freed, beside the same with malloc and\n"
     "free. Between processes malloc is no comparison, since it shares nothing: there beside each side in a region\n"
     "of its own. With --peer boost also beside a managed_shared_memory of Boost.Interprocess.",
     "ferry bench region\nferry bench region --pattern lifo --size 64\nferry bench region --processes 4 --peer boost"},
    {BENCH_CELL, "cell", "bench cell [OPTION...]",
     "A cell's value is got while nobody puts, beside a plain copy; put, and got while another side puts as fast as\n"
     "it can, beside a sequence lock; and put, seen by the other side and answered through a second cell, beside the\n"
     "round trip of a bare cache line.",
     "ferry bench cell --wait spin\nferry bench cell --size 1KiB --between threads --json"},
    {BENCH_BUFFER, "buffer", "bench buffer [OPTION...]",
     "Half of the sides put items into a bounded buffer in a region and the others take them out, beside a ring with\n"
     "a process-shared pthread_mutex_t and two pthread_cond_t.",
     "ferry bench buffer\nferry bench buffer --processes 8 --size 1KiB --slots 64"},
    {BENCH_SNAPSHOT, "snapshot", "bench snapshot [OPTION...]",
     "A writer changes some of a published region in random places, says so, and publishes, while a reader views\n"
     "each version that it gets; beside a memcpy of the whole. `ratio` is memcpy's time over that of a version.",
     "ferry bench snapshot --size 64MiB --dirty 1%\nferry bench snapshot --size 1GiB --dirty 100% --json\n"
     "ferry bench snapshot --dirty 0.5% --scatter item"},
    {BENCH_RPC, "rpc", "bench rpc [OPTION...]",
     "Calls of a procedure on another side, beside two plain messages of the same bytes, there and back. Without\n"
     "options that say which calls: the usual ones, between processes and between threads. One call at a time\n"
     "between processes stands also beside a UNIX socket, and gRPC and Cap'n Proto where those were "
     "built.\n" BESIDE_MACHINES,
     "ferry bench rpc\nferry bench rpc --wait block\nferry bench rpc --outstanding 16 --json\n"
     "ferry bench rpc --method take --size 1MiB --between threads\nferry bench rpc --clients 100 --servers 2"},
    {BENCH_PEERS, "peers", "bench peers [OPTION...]",
     "Messages between two processes, through Ferry and what else carries them: pipes, a UNIX socket, POSIX queues,\n"
     "and ZeroMQ, nng, UCX and iceoryx where they were built. Round trips of 64 bytes, messages per second one way,\n"
     "and the processor time of waiting two seconds; all in turn, in some two minutes.",
     "ferry bench peers\nferry bench peers --seconds 0.3 --json > peers.json"},
    {BENCH_ALL, "all", "bench all [OPTION...]",
     "Everything that has a target, in five minutes, and a table of targets.",
     "ferry bench all\nferry bench all --json > figures.json"},
};

enum { DURABLE = 2 /* of the kinds below */ };
enum { PARTS = sizeof parts / sizeof parts[0] };

static const char *const betweens[] = {"processes", "threads", NULL};
static const char *const all_betweens[] = {"processes", "threads", "machines", NULL};
static const char *const waits[] = {"adaptive", "spin", "block", NULL};
static const char *const kinds[] = {"queue", "topic", "durable", NULL};
static const char *const apis[] = {"send", "claim", NULL};
static const char *const takes[] = {"one", "batch", "copy", NULL};
static const char *const touches[] = {"both", "line", "whole", NULL};
static const char *const works[] = {"both", "ping-pong", "units", NULL};
static const char *const patterns[] = {"both", "lifo", "random", NULL};
static const char *const peers[] = {"none", "boost", NULL};
static const char *const scatters[] = {"page", "item", NULL};
static const char *const methods[] = {"echo", "take", NULL};
static const char *const peer_choices[] = {"installed", "none", NULL};
static const char *const pins[] = {"apart", "same core", "not pinned", NULL};

const char *bench_between_word(bench_between_t between) {
    return all_betweens[between];
}

const char *bench_wait_word(ferry_wait_t wait) {
    return waits[wait];
}

const char *bench_pin_word(bench_pin_t pin) {
    return pins[pin];
}

const char *bench_pattern_word(bench_pattern_t pattern) {
    return patterns[pattern];
}

const char *bench_scatter_word(bench_scatter_t scatter) {
    return scatters[scatter];
}

const char *bench_method_word(bench_method_t method) {
    return methods[method];
}

/* --- the table of options ---------------------------------------------------------------------------------------- */

enum {
    FLOWS = BENCH_LATENCY | BENCH_THROUGHPUT,
    OBJECTS = BENCH_LOCK | BENCH_RWLOCK | BENCH_SEMAPHORE | BENCH_EVENT | BENCH_BARRIER,
    MEMORY = BENCH_REGION | BENCH_CELL | BENCH_BUFFER | BENCH_SNAPSHOT,
    FAR = FLOWS | BENCH_LOCK | BENCH_RPC, /* can be measured between machines */
    MEASURED = FLOWS | BENCH_LARGE | BENCH_SENDERS | BENCH_FAIRNESS | OBJECTS | MEMORY | BENCH_RPC,
    /* parts whose sides are counted, and those of them that measure few sides and then more, when it is not said */
    COUNTED = OBJECTS | BENCH_REGION | BENCH_BUFFER,
    SOME_THEN_MORE = BENCH_RWLOCK | BENCH_REGION | BENCH_BUFFER
};

typedef struct known {
    unsigned parts; /* that know it */
    const char *name;
    const char *value;
    option_kind_t kind;
    size_t at; /* of its word in words_t */
    const char *help;
    const char *const *choices;
    int constant;
} known_t;

static const known_t known[] = {
    {MEASURED & ~(unsigned)FAR, "between", "processes|threads", OPTION_CHOICE, offsetof(words_t, between),
     "what the sides are (default: processes)", betweens, 0},
    {FAR, "between", "processes|threads|machines", OPTION_CHOICE, offsetof(words_t, between),
     "what the sides are, or are on (default: processes)", all_betweens, 0},
    {MEASURED, "wait", "adaptive|spin|block", OPTION_CHOICE, offsetof(words_t, wait),
     "how they wait (default: adaptive)", waits, 0},
    {OBJECTS & ~(unsigned)BENCH_RWLOCK, "processes", "N", OPTION_COUNT, offsetof(words_t, processes),
     "so many sides (default: 2)", NULL, 0},
    {BENCH_REGION, "processes", "N", OPTION_COUNT, offsetof(words_t, processes), "so many sides (default: 1, then 2)",
     NULL, 0},
    {BENCH_BUFFER, "processes", "N", OPTION_COUNT, offsetof(words_t, processes),
     "so many producers and consumers together (default: 2, then 8)", NULL, 0},
    {COUNTED & ~(unsigned)BENCH_RWLOCK, "threads", "N", OPTION_COUNT, offsetof(words_t, threads),
     "so many sides, which are threads", NULL, 0},
    {BENCH_RWLOCK, "processes", "N", OPTION_COUNT, offsetof(words_t, processes), "so many readers (default: 1, then 2)",
     NULL, 0},
    {BENCH_RWLOCK, "threads", "N", OPTION_COUNT, offsetof(words_t, threads), "so many readers, which are threads", NULL,
     0},
    {BENCH_RWLOCK, "writers", "N", OPTION_COUNT, offsetof(words_t, writers), "so many writers besides (default: 0)",
     NULL, 0},
    {BENCH_SEMAPHORE, "work", "both|ping-pong|units", OPTION_CHOICE, offsetof(words_t, work),
     "round trips of two sides, acquiring and releasing, or both (default: both)", works, 0},
    {BENCH_RPC, "size", "SIZE", OPTION_SIZE, offsetof(words_t, size), "bytes of an argument (default: 64)", NULL, 0},
    {BENCH_RPC, "method", "echo|take", OPTION_CHOICE, offsetof(words_t, method),
     "copied and sent back, or handed over by pointer (default: echo)", methods, 0},
    {BENCH_RPC, "outstanding", "N", OPTION_COUNT, offsetof(words_t, outstanding),
     "calls of each calling side under way at once (default: 1)", NULL, 0},
    {BENCH_RPC, "clients", "N", OPTION_COUNT, offsetof(words_t, clients),
     "how many clients, on a side for each processor (default: 1)", NULL, 0},
    {BENCH_RPC, "servers", "N", OPTION_COUNT, offsetof(words_t, servers), "how many serve (default: 1)", NULL, 0},
    {BENCH_RPC, "peers", "installed|none", OPTION_CHOICE, offsetof(words_t, peers),
     "whether to measure others as well (default: installed)", peer_choices, 0},
    {FLOWS | BENCH_LARGE | BENCH_FAIRNESS, "size", "SIZE", OPTION_SIZE, offsetof(words_t, size), "bytes of a message",
     NULL, 0},
    {BENCH_REGION, "size", "SIZE", OPTION_SIZE, offsetof(words_t, size),
     "bytes of every block (default: a mix from 16 to 1024)", NULL, 0},
    {BENCH_CELL | BENCH_BUFFER, "size", "SIZE", OPTION_SIZE, offsetof(words_t, size),
     "bytes of a value or an item (default: 64)", NULL, 0},
    {BENCH_SNAPSHOT, "size", "SIZE", OPTION_SIZE, offsetof(words_t, size),
     "bytes of the region (default: 64MiB, and 1GiB if there is memory for it)", NULL, 0},
    {BENCH_REGION, "pattern", "both|lifo|random", OPTION_CHOICE, offsetof(words_t, pattern),
     "free the block just made, or any that lives (default: both)", patterns, 0},
    {BENCH_REGION, "live", "N", OPTION_COUNT, offsetof(words_t, live),
     "blocks of each side that live meanwhile (default: 1000)", NULL, 0},
    {BENCH_REGION, "peer", "none|boost", OPTION_CHOICE, offsetof(words_t, peer),
     "another library, to measure in turn (default: none)", peers, 0},
    {BENCH_BUFFER, "slots", "N", OPTION_COUNT, offsetof(words_t, slots), "items it has room for (default: 256)", NULL,
     0},
    {BENCH_SNAPSHOT, "dirty", "SHARE", OPTION_TEXT, offsetof(words_t, dirty),
     "of the bytes that each version changes, such as 1% (default: 1%, then 100%)", NULL, 0},
    {BENCH_SNAPSHOT, "scatter", "page|item", OPTION_CHOICE, offsetof(words_t, scatter),
     "change pages of 4 KiB, or items of 64 bytes (default: page)", scatters, 0},
    {BENCH_THROUGHPUT, "senders", "N", OPTION_COUNT, offsetof(words_t, senders), "how many send (default: 1)", NULL, 0},
    {BENCH_THROUGHPUT, "receivers", "N", OPTION_COUNT, offsetof(words_t, receivers), "how many receive (default: 1)",
     NULL, 0},
    {BENCH_THROUGHPUT, "kind", "queue|topic|durable", OPTION_CHOICE, offsetof(words_t, kind),
     "the channel; durable: a queue that a server keeps, between machines (default: queue)", kinds, 0},
    {BENCH_THROUGHPUT, "api", "send|claim", OPTION_CHOICE, offsetof(words_t, api),
     "copy in, or write in place (default: send)", apis, 0},
    {BENCH_THROUGHPUT, "take", "one|batch|copy", OPTION_CHOICE, offsetof(words_t, take),
     "how messages are taken out (default: one)", takes, 0},
    {BENCH_LARGE, "touch", "both|line|whole", OPTION_CHOICE, offsetof(words_t, touch),
     "write and read one line, or everything (default: both)", touches, 0},
    {BENCH_LARGE, "depth", "N", OPTION_COUNT, offsetof(words_t, depth), "messages on their way at once", NULL, 0},
    {BENCH_SENDERS, "count", "N", OPTION_COUNT, offsetof(words_t, count), "up to how many senders (default: 1000)",
     NULL, 0},
    {BENCH_PEERS, "seconds", "N", OPTION_TEXT, offsetof(words_t, seconds),
     "to measure each figure; less than 1: in one round, not in five (default: 1)", NULL, 0},
    {MEASURED, "seconds", "N", OPTION_TEXT, offsetof(words_t, seconds),
     "to measure Ferry; the limit takes as long again (default: 1)", NULL, 0},
    {FLOWS | BENCH_FAIRNESS | COUNTED | BENCH_RPC, "same-core", NULL, OPTION_SET, offsetof(words_t, pin),
     "pin all sides to one core", NULL, BENCH_PIN_TOGETHER},
    {MEASURED | BENCH_PEERS, "no-pin", NULL, OPTION_SET, offsetof(words_t, pin),
     "let the system move sides between processors", NULL, BENCH_PIN_NONE},
};

enum { KNOWN = sizeof known / sizeof known[0] };

/* Gathers the options of `part`; what they say goes to `words`. */
static size_t options_of(bench_part_t part, words_t *words, option_t *options) {
    size_t n = 0;

    for (size_t i = 0; i < KNOWN; i++) {
        if ((known[i].parts & part) == 0)
            continue;
        options[n++] = (option_t){.name = known[i].name,
                                  .value = known[i].value,
                                  .kind = known[i].kind,
                                  .target = (char *)words + known[i].at,
                                  .help = known[i].help,
                                  .choices = known[i].choices,
                                  .constant = known[i].constant};
    }
    return n;
}

/* --- checks ------------------------------------------------------------------------------------------------------ */

static bool in_range(const usage_t *usage, const char *name, uint64_t value, uint64_t least, uint64_t most) {
    if (value >= least && value <= most)
        return true;
    usage_error(usage, "--%s %llu is out of range: it may be from %llu to %llu", name, (unsigned long long)value,
                (unsigned long long)least, (unsigned long long)most);
    return false;
}

/* Plain seconds, or a duration with its unit. */
static bool read_seconds(const usage_t *usage, const char *text, int64_t *ns) {
    char with_unit[40];

    if (text == NULL)
        return true;
    snprintf(with_unit, sizeof with_unit, "%ss", text);
    bool is_time = parse_duration(with_unit, ns) || parse_duration(text, ns);
    if (is_time && *ns >= 10000000 && *ns <= INT64_C(3600000000000))
        return true;
    usage_error(usage, "--seconds '%s' is not a time to measure: give a number of seconds from 0.01 to 3600", text);
    return false;
}

/* How many sides share an object, and what they are: --processes N and --threads N tell both. */
static bool check_parties(const usage_t *usage, bench_part_t part, const words_t *w, bench_settings_t *s) {
    bool as_threads = w->threads != UNSAID;
    bool is_said = as_threads || w->processes != UNSAID;
    uint64_t n = as_threads ? w->threads : is_said ? w->processes : 2;
    uint64_t least = part == BENCH_BARRIER || part == BENCH_BUFFER ? 2 : 1;
    uint64_t most = part == BENCH_RWLOCK ? BENCH_MAX_PARTIES / 2 : BENCH_MAX_PARTIES;

    if (as_threads && w->processes != UNSAID) {
        usage_error(usage, "only one of --processes and --threads can be meant");
        return false;
    }
    if ((w->work == BENCH_WORK_PING_PONG || part == BENCH_EVENT) && n != 2) {
        usage_error(usage, "this is measured between two sides, not %llu", (unsigned long long)n);
        return false;
    }
    if (as_threads)
        s->between = BENCH_THREADS;
    s->parties = (part & SOME_THEN_MORE) != 0 && !is_said ? 0 : (unsigned)n;
    s->writers = (unsigned)w->writers;
    s->work = (bench_work_t)w->work;
    return in_range(usage, as_threads ? "threads" : "processes", n, least, most) &&
           in_range(usage, "writers", w->writers, 0, BENCH_MAX_PARTIES / 2);
}

/* A share of the whole: 1%, 0.5% or 0.005. */
static bool read_share(const usage_t *usage, const char *text, double *share) {
    char *end = NULL;

    if (text == NULL)
        return true;
    double value = strtod(text, &end);
    if (strcmp(end, "%") == 0) {
        value /= 100;
        end++;
    }
    *share = value;
    if (end > text && *end == '\0' && value > 0 && value <= 1)
        return true;
    usage_error(usage, "--dirty '%s' is not a share: give a percentage such as 1%% or 100%%", text);
    return false;
}

/* What messages, blocks, values, items and regions may measure, in bytes. */
static bool check_size(const usage_t *usage, bench_part_t part, uint64_t size) {
    static const struct {
        unsigned parts;
        uint64_t least, most;
    } bounds[] = {
        {BENCH_LARGE, 64, UINT64_C(1) << 30},
        {BENCH_REGION, 16, UINT64_C(16) << 20},
        {BENCH_CELL, BENCH_MIN_PAYLOAD, FERRY_MAX_CELL_BYTES},
        {BENCH_SNAPSHOT, UINT64_C(64) << 10, UINT64_C(16) << 30},
        {~0u, BENCH_MIN_PAYLOAD, UINT64_C(16) << 20},
    };
    size_t i = 0;

    while ((bounds[i].parts & part) == 0)
        i++;
    return size == 0 || in_range(usage, "size", size, bounds[i].least, bounds[i].most);
}

/* Blocks that live, and slots, take memory of each other's size. */
static bool check_memory(const usage_t *usage, const words_t *w, bench_part_t part, bench_settings_t *s) {
    const uint64_t most = UINT64_C(1) << 30;
    uint64_t n = part == BENCH_REGION ? w->live : w->slots;
    const char *name = part == BENCH_REGION ? "live" : "slots";

    if (part == BENCH_CELL || part == BENCH_BUFFER)
        s->size = w->size != 0 ? (size_t)w->size : 64;
    s->live = (unsigned)w->live;
    s->slots = (unsigned)w->slots;
    if (part != BENCH_REGION && part != BENCH_BUFFER)
        return true;
    if (!in_range(usage, name, n, 1, 1000000))
        return false;
    if (n * (s->size != 0 ? s->size : 1024) <= most)
        return true;
    usage_error(usage, "--%s %llu are more than 1 GiB", name, (unsigned long long)n);
    return false;
}

/* What makes a call. When nothing of it is said, the usual set is meant, and `outstanding` stays 0. */
static bool check_calls(const usage_t *usage, bench_part_t part, const words_t *w, bench_settings_t *s) {
    bool is_said = w->wait != UNCHOSEN || w->size != 0 || w->method != 0 || w->outstanding != UNSAID ||
                   w->clients != UNSAID || w->servers != UNSAID;

    s->method = (bench_method_t)w->method;
    s->peers = w->peers == 0;
    s->between = w->between == UNCHOSEN ? BENCH_PROCESSES : (bench_between_t)w->between;
    s->both_betweens = w->between == UNCHOSEN && !is_said;
    s->wait = w->wait == UNCHOSEN ? FERRY_WAIT_ADAPTIVE : (ferry_wait_t)w->wait;
    if (part != BENCH_RPC || !is_said)
        return true;
    s->outstanding = w->outstanding == UNSAID ? 1 : (unsigned)w->outstanding;
    s->clients = w->clients == UNSAID ? 1 : (unsigned)w->clients;
    s->servers = w->servers == UNSAID ? 1 : (unsigned)w->servers;
    s->size = w->size != 0 ? (size_t)w->size : 64;
    return (w->outstanding == UNSAID || in_range(usage, "outstanding", w->outstanding, 1, BENCH_MAX_OUTSTANDING)) &&
           (w->clients == UNSAID || in_range(usage, "clients", w->clients, 1, BENCH_MAX_CLIENTS)) &&
           (w->servers == UNSAID || in_range(usage, "servers", w->servers, 1, BENCH_MAX_SERVERS));
}

/* Between machines there are two sides, of which each is as it is. */
static bool check_machines(const usage_t *usage, const words_t *w) {
    const struct {
        bool is_said;
        const char *option;
    } others[] = {
        {w->senders != 1, "senders"},
        {w->receivers != 1, "receivers"},
        {w->kind == 1, "kind topic"},
        {w->api != 0, "api"},
        {w->take != 0, "take"},
        {w->method != 0, "method"},
        {w->outstanding != UNSAID, "outstanding"},
        {w->clients != UNSAID, "clients"},
        {w->servers != UNSAID, "servers"},
        {w->processes != UNSAID, "processes"},
        {w->threads != UNSAID, "threads"},
        {w->peers != 0, "peers"},
        {w->pin == BENCH_PIN_TOGETHER, "same-core"},
    };

    for (size_t i = 0; w->between == BENCH_MACHINES && i < sizeof others / sizeof others[0]; i++) {
        if (others[i].is_said) {
            usage_error(usage, "--%s has no meaning between machines", others[i].option);
            return false;
        }
    }
    if (w->between != BENCH_MACHINES && w->kind == DURABLE) {
        usage_error(usage, "--kind durable has a meaning only with --between machines: a server keeps such a queue");
        return false;
    }
    return w->between != BENCH_MACHINES || w->size == 0 || in_range(usage, "size", w->size, BENCH_MIN_PAYLOAD, 8000000);
}

static bool check(const usage_t *usage, bench_part_t part, const words_t *w, bench_settings_t *s) {
    *s = (bench_settings_t){.kind = w->kind == DURABLE ? FERRY_QUEUE : (ferry_kind_t)(w->kind + FERRY_QUEUE),
                            .durable = w->kind == DURABLE,
                            .api = (bench_api_t)w->api,
                            .take = (bench_take_t)w->take,
                            .touch = (bench_touch_t)w->touch,
                            .pin = (bench_pin_t)w->pin,
                            .pattern = (bench_pattern_t)w->pattern,
                            .peer = (bench_peer_of_t)w->peer,
                            .scatter = (bench_scatter_t)w->scatter,
                            .size = (size_t)w->size,
                            .measure_ns = 1000000000};
    bool good = check_size(usage, part, w->size) && in_range(usage, "senders", w->senders, 1, BENCH_MAX_SENDERS) &&
                in_range(usage, "receivers", w->receivers, 1, BENCH_MAX_RECEIVERS) &&
                in_range(usage, "count", w->count, 1, BENCH_MAX_COUNT) &&
                (w->depth == 0 || in_range(usage, "depth", w->depth, 1, 1024)) && check_machines(usage, w) &&
                check_calls(usage, part, w, s) && check_parties(usage, part, w, s) && check_memory(usage, w, part, s) &&
                read_share(usage, w->dirty, &s->dirty) && read_seconds(usage, w->seconds, &s->measure_ns);
    s->senders = (unsigned)w->senders;
    s->receivers = (unsigned)w->receivers;
    s->count = (unsigned)w->count;
    s->depth = (unsigned)w->depth;
    return good;
}

/* A space of one's own is the point; what names another one would have no effect. */
static bool check_common(const usage_t *usage, const common_t *common, bench_settings_t *s) {
    if (common->space != NULL || common->group != NULL) {
        usage_error(usage, "--%s has no meaning here: benchmarks use a space of their own",
                    common->space != NULL ? "space" : "group");
        return false;
    }
    s->directory = common->directory;
    s->quiet = common->quiet;
    s->json = common->json;
    return true;
}

/* --- the command line -------------------------------------------------------------------------------------------- */

static const part_t *find_part(const char *word) {
    for (size_t i = 0; i < PARTS; i++) {
        if (strcmp(parts[i].name, word) == 0)
            return &parts[i];
    }
    return NULL;
}

#define LIST                                                                                                           \
    "latency, throughput, large, senders, fairness, lock, rwlock, semaphore, event, barrier, region, cell, buffer, "   \
    "snapshot, rpc, peers"

static const usage_t general = {
    .command = "bench",
    .synopsis = "bench latency|throughput|large|senders|fairness [OPTION...]\n"
                "bench lock|rwlock|semaphore|event|barrier [OPTION...]\n"
                "bench region|cell|buffer|snapshot [OPTION...]\n"
                "bench rpc|peers [OPTION...]\n"
                "bench all [OPTION...]",
    .text = "Measures how fast messages, locks, shared memory and calls are on this machine, each figure beside the "
            "limit that\n"
            "the bare hardware sets (or the C library's counterpart), taken alternately with it in the same run.\n"
            "`ferry bench PART --help` tells a part's options.",
    .examples = "ferry bench all\nferry bench latency --wait spin\nferry bench throughput --senders 4 --json",
    .json = true,
};

/* No part was named: --help, or a wrong line. */
static int without_part(int argc, char **argv) {
    const char *names[PARTS];
    common_t common = {0};
    operands_t operands;
    int status;

    if (!options_parse(&general, argc, argv, &common, &operands, &status))
        return status;
    if (operands.n == 0)
        return usage_error(&general, "what to measure is missing: " LIST " or all");
    for (size_t i = 0; i < PARTS; i++)
        names[i] = parts[i].name;
    const char *meant = nearest_word(operands.items[0], names, PARTS);
    if (meant != NULL)
        return usage_error(&general, "there is no benchmark '%s'; did you mean '%s'?", operands.items[0], meant);
    return usage_error(&general, "there is no benchmark '%s': there are " LIST " and all", operands.items[0]);
}

bool bench_settings_read(int argc, char **argv, bench_settings_t *settings, bench_part_t *part, int *status) {
    const part_t *named = argc > 1 ? find_part(argv[1]) : NULL;
    words_t words = {.senders = 1,
                     .receivers = 1,
                     .count = 1000,
                     .between = UNCHOSEN,
                     .wait = UNCHOSEN,
                     .outstanding = UNSAID,
                     .clients = UNSAID,
                     .servers = UNSAID,
                     .processes = UNSAID,
                     .threads = UNSAID,
                     .live = 1000,
                     .slots = 256};
    option_t options[KNOWN];
    common_t common = {0};
    operands_t operands;

    if (named == NULL) {
        *status = without_part(argc, argv);
        return false;
    }
    usage_t usage = {.command = "bench",
                     .synopsis = named->usage,
                     .text = named->text,
                     .examples = named->examples,
                     .options = options,
                     .json = true};
    usage.n_options = options_of(named->part, &words, options);
    if (!options_parse(&usage, argc - 1, argv + 1, &common, &operands, status))
        return false;
    *status = STATUS_USAGE;
    if (operands.n > 0) {
        usage_error(&usage, "'%s' is one word too many", operands.items[0]);
        return false;
    }
    *part = named->part;
    if (!check(&usage, named->part, &words, settings) || !check_common(&usage, &common, settings))
        return false;
    *status = STATUS_NO;
    return settings->peer == BENCH_PEER_NONE || bench_peer_load();
}
