/* SPDX-License-Identifier: MIT
 *
 * node/entry.c - see entry.h.
 */
#include "node/entry.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "platform/clock.h"
#include "platform/save.h"
#include "platform/socket.h"

#define FIRST_LINE "ferry-entry 1"
#define TEXT_MAX 1024

/* ---- names ---- */

void fi_entry_name(const fi_entry_t *e, char name[FI_ENTRY_NAME_MAX]) {
    snprintf(name, FI_ENTRY_NAME_MAX, "e-%s:%c%c:%016" PRIx64 ":%" PRIu64 ":%08" PRIx32, e->channel,
             e->is_sender ? 's'
             : e->is_tap  ? 't'
                          : 'r',
             e->kind == FERRY_TOPIC ? 't' : 'q', e->node, e->end, e->digest);
}

static bool is_channel(const char *name) {
    return fi_channel_check(name + fi_channel_is_reserved(name)) == 0;
}

static bool take(const char **at, char c) {
    bool is = **at == c;
    *at += is;
    return is;
}

static bool take_hex(const char **at, unsigned digits, uint64_t *number) {
    *number = 0;
    for (unsigned i = 0; i < digits; i++, ++*at) {
        bool is_letter = **at >= 'a' && **at <= 'f';
        if (!is_letter && (**at < '0' || **at > '9'))
            return false;
        *number = *number << 4 | (uint64_t)(is_letter ? **at - 'a' + 10 : **at - '0');
    }
    return true;
}

static bool take_decimal(const char **at, uint64_t *number) {
    const char *from = *at;
    *number = 0;
    for (; **at >= '0' && **at <= '9'; ++*at) {
        if (__builtin_mul_overflow(*number, 10u, number) ||
            __builtin_add_overflow(*number, (uint64_t)(**at - '0'), number))
            return false;
    }
    return *at - from == 1 || (*at - from > 1 && *from != '0');
}

/*
 * Exactly what fi_entry_name writes: so nothing has two spellings, and an entry that was listed can be opened and
 * removed. By hand, since who opens an end reads the names of all: scanf and printf would take most of that time.
 */
static bool parse_name(const char *name, fi_entry_t *e) {
    fi_entry_t read = {0};
    uint64_t digest = 0;
    const char *at = strchr(name, ':');
    if (strncmp(name, "e-", 2) != 0 || at == NULL || (size_t)(at - (name + 2)) >= sizeof read.channel)
        return false;
    memcpy(read.channel, name + 2, (size_t)(at++ - (name + 2)));
    read.is_sender = take(&at, 's');
    read.is_tap = !read.is_sender && take(&at, 't');
    if (!read.is_sender && !read.is_tap && !take(&at, 'r'))
        return false;
    read.kind = take(&at, 't') ? FERRY_TOPIC : FERRY_QUEUE;
    if (read.kind == FERRY_QUEUE && !take(&at, 'q'))
        return false;
    if (!take(&at, ':') || !take_hex(&at, 16, &read.node) || !take(&at, ':') || !take_decimal(&at, &read.end) ||
        !take(&at, ':') || !take_hex(&at, 8, &digest) || *at != '\0' || read.node == 0 || !is_channel(read.channel))
        return false;
    read.digest = (uint32_t)digest;
    *e = read;
    return true;
}

/* Of a thousand channels most names are others': that is seen without taking them apart. */
static bool may_be_of(const char *name, const char *channel, size_t length) {
    return strncmp(name, "e-", 2) == 0 && strncmp(name + 2, channel, length) == 0 && name[2 + length] == ':';
}

typedef struct walk {
    const char *channel;
    size_t length; /* of that */
    int (*each)(const fi_entry_t *e, void *arg);
    void *arg;
} walk_t;

static int visit_name(const char *name, void *arg) {
    const walk_t *walk = arg;
    fi_entry_t e;
    if (walk->channel != NULL && !may_be_of(name, walk->channel, walk->length))
        return 0;
    if (!parse_name(name, &e) || (walk->channel != NULL && strcmp(e.channel, walk->channel) != 0))
        return 0;
    return walk->each(&e, walk->arg);
}

int fi_entry_each(fi_space_t *s, const char *channel_or_null, int (*each)(const fi_entry_t *e, void *arg), void *arg) {
    walk_t walk = {.channel = channel_or_null,
                   .length = channel_or_null != NULL ? strlen(channel_or_null) : 0,
                   .each = each,
                   .arg = arg};
    return fi_space_each_name(s, visit_name, &walk);
}

/* ---- writing ---- */

static int fail_write(int why, const fi_space_t *s) {
    if (why == EFBIG)
        return fi_fail(-EFBIG,
                       "the entry of an end in \"%s\" is larger than this process may make files; raise ulimit -f",
                       s->path);
    return fi_fail_errno(why, "cannot write the entry of an end in \"%s\"", s->path);
}

static int write_text(int fd, const char *text, size_t len, mode_t mode) {
    if (!fi_may_make_file(len))
        return EFBIG;
    ssize_t n = write(fd, text, len);
    if (n >= 0 && (size_t)n != len)
        return ENOSPC;
    if (n < 0 || fchmod(fd, mode) != 0)
        return errno;
    return 0;
}

/* Members of a group read each other's entries but do not change them. */
static int write_as(fi_space_t *s, const char *unborn, const char *name, const char *text, size_t len) {
    (void)unlinkat(s->dirfd, unborn, 0); /* of an earlier try that died; ours alone, since the name has our node's id */
    int fd = openat(s->dirfd, unborn, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail_write(errno, s);
    int why = write_text(fd, text, len, s->group ? 0640 : 0600);
    close(fd);
    if (why == 0 && renameat(s->dirfd, unborn, s->dirfd, name) != 0)
        why = errno;
    if (why == 0)
        return 0;
    (void)unlinkat(s->dirfd, unborn, 0);
    return fail_write(why, s);
}

/* With the lock held: what is half-made belongs to its holder. */
static int write_entry(fi_space_t *s, fi_entry_t *e, const fi_contract_t *contract) {
    char text[TEXT_MAX], name[FI_ENTRY_NAME_MAX], unborn[FI_ENTRY_NAME_MAX + sizeof FI_UNBORN_PREFIX];
    int n = snprintf(text, sizeof text, FIRST_LINE "\nopened_ns %" PRId64 "\n", fi_now_ns());
    size_t used = (size_t)n;
    if (contract->type_name[0] != '\0')
        used += (size_t)snprintf(text + used, sizeof text - used, "type_name %s\n", contract->type_name);
    used += (size_t)snprintf(
        text + used, sizeof text - used,
        "type_size %" PRIu64 "\nmax_size %" PRIu64 "\nhold %" PRIu32 "\ntimestamps %" PRIu32 "\ndurable %" PRIu32 "\n",
        contract->type_size, contract->max_size, contract->hold, contract->timestamps, contract->durable);
    fi_entry_t written = *e;
    written.digest = fi_contract_digest(contract);
    fi_entry_name(&written, name);
    snprintf(unborn, sizeof unborn, "%s%s", FI_UNBORN_PREFIX, name);
    int rc = write_as(s, unborn, name, text, used);
    if (rc == 0)
        e->digest = written.digest;
    return rc;
}

int fi_entry_write(fi_space_t *s, fi_entry_t *e, const fi_contract_t *contract) {
    int lock = fi_space_lock(s);
    if (lock < 0)
        return lock;
    int rc = write_entry(s, e, contract);
    fi_space_unlock(lock);
    return rc;
}

void fi_entry_remove(fi_space_t *s, const fi_entry_t *e) {
    char name[FI_ENTRY_NAME_MAX];
    fi_entry_name(e, name);
    (void)unlinkat(s->dirfd, name, 0);
}

/* ---- reading ---- */

/* Numbers are plain decimal and at most `max`; anything else is no opinion. */
static uint64_t parse_number(const char *text, uint64_t max) {
    if (text[0] < '0' || text[0] > '9')
        return 0;
    char *end = NULL;
    errno = 0;
    uint64_t n = strtoull(text, &end, 10);
    return errno != 0 || *end != '\0' || n > max ? 0 : n;
}

static void parse_line(char *line, fi_contract_t *c, uint64_t *opened_ns) {
    char *value = strchr(line, ' ');
    if (value == NULL)
        return;
    *value++ = '\0';
    if (strcmp(line, "type_name") == 0 && fi_contract_is_type_name(value))
        snprintf(c->type_name, sizeof c->type_name, "%s", value);
    else if (strcmp(line, "type_size") == 0)
        c->type_size = parse_number(value, UINT64_MAX);
    else if (strcmp(line, "max_size") == 0)
        c->max_size = parse_number(value, UINT64_MAX);
    else if (strcmp(line, "hold") == 0)
        c->hold = (uint32_t)parse_number(value, FERRY_HOLD_NEVER);
    else if (strcmp(line, "timestamps") == 0)
        c->timestamps = (uint32_t)parse_number(value, 1);
    else if (strcmp(line, "durable") == 0)
        c->durable = (uint32_t)parse_number(value, FERRY_DURABLE_NOT);
    else if (strcmp(line, "opened_ns") == 0)
        *opened_ns = parse_number(value, INT64_MAX);
}

/* Reads up to TEXT_MAX - 1 bytes of what should be a plain file; a planted FIFO or link must not block or lead on. */
static int read_text(fi_space_t *s, const char *name, char text[TEXT_MAX]) {
    int fd = openat(s->dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 && errno != ELOOP && errno != ENXIO)
        return fi_fail_errno(errno, "cannot read the entry \"%s\" in \"%s\"", name, s->path);
    struct stat st;
    ssize_t n = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? read(fd, text, TEXT_MAX - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return fi_fail(-EPROTO, "\"%s\" in \"%s\" is not the entry of an end; remove it", name, s->path);
    text[n] = '\0';
    return 0;
}

int fi_entry_read(fi_space_t *s, const fi_entry_t *e, fi_contract_t *contract, uint64_t *opened_ns) {
    char name[FI_ENTRY_NAME_MAX], text[TEXT_MAX], *rest = NULL;
    fi_entry_name(e, name);
    int rc = read_text(s, name, text);
    if (rc != 0)
        return rc;
    char *line = strtok_r(text, "\n", &rest);
    if (line == NULL || strcmp(line, FIRST_LINE) != 0)
        return fi_fail(-EPROTO, "the entry \"%s\" in \"%s\" is not of this version of Ferry", name, s->path);
    fi_contract_t c = {0};
    uint64_t opened = 0;
    while ((line = strtok_r(NULL, "\n", &rest)) != NULL)
        parse_line(line, &c, &opened);
    *contract = c;
    if (opened_ns != NULL)
        *opened_ns = opened;
    return 0;
}

/* ---- agreeing ---- */

#define SEEN_MAX 8

typedef struct publishing {
    fi_space_t *space;
    const fi_entry_t *mine;
    fi_contract_t merged;
    bool (*alive)(uint64_t node, void *arg);
    void *arg;
    uint64_t last_dead;      /**< its names may still be listed for a while after they were removed */
    uint32_t seen[SEEN_MAX]; /**< digests of contracts that were merged and said nothing against us */
    unsigned seen_count;
} publishing_t;

static const char *role_word(const fi_entry_t *e) {
    fi_channel_words_t words = fi_channel_words(e->channel);
    return e->is_sender ? words.sender : words.receiver;
}

static const char *kind_word(const fi_entry_t *e) {
    return e->kind == FERRY_TOPIC ? "topic" : "queue";
}

/* Asked only about entries that matter. Removes what a dead node left behind. */
static bool counts(publishing_t *p, const fi_entry_t *e) {
    if (e->node == p->last_dead)
        return false;
    if (p->alive(e->node, p->arg))
        return true;
    fi_space_remove_node(p->space, e->node);
    p->last_dead = e->node;
    return false;
}

static bool was_seen(const publishing_t *p, uint32_t digest) {
    for (unsigned i = 0; i < p->seen_count; i++)
        if (p->seen[i] == digest)
            return true;
    return digest == 0;
}

static int merge_entry(publishing_t *p, const fi_entry_t *e, const fi_contract_t *theirs) {
    char mine_words[32], their_words[80];
    snprintf(mine_words, sizeof mine_words, "this %s", role_word(p->mine));
    snprintf(their_words, sizeof their_words, "%s %" PRIu64 " of node %016" PRIx64, role_word(e), e->end, e->node);
    fi_contract_t with = p->merged;
    int rc = fi_contract_merge(&with, theirs, e->channel, mine_words, their_words);
    if (rc != 0 || !fi_contract_equal(&with, &p->merged)) {
        if (!counts(p, e))
            return 0;
        if (rc != 0) /* again, for the sentence: finding out whether the other lives may have left its own */
            return fi_contract_merge(&with, theirs, e->channel, mine_words, their_words);
    }
    p->merged = with;
    if (p->seen_count < SEEN_MAX)
        p->seen[p->seen_count++] = e->digest;
    return 0;
}

/* A published region is written by one. */
static bool excludes(const fi_entry_t *a, const fi_entry_t *b) {
    return a->is_sender && b->is_sender && fi_channel_is_published(a->channel);
}

static int compare_entry(const fi_entry_t *e, void *arg) {
    publishing_t *p = arg;
    fi_channel_words_t words = fi_channel_words(e->channel);
    if ((e->node == p->mine->node && e->end == p->mine->end) || e->is_tap || p->mine->is_tap)
        return 0;
    if (excludes(e, p->mine) && counts(p, e))
        return fi_fail(-EEXIST,
                       "%s \"%s\": %s %" PRIu64 " of node %016" PRIx64
                       " has it open already, and there is one at a time: close that one, or use another name",
                       words.kind, words.name, role_word(e), e->end, e->node);
    if (e->kind != p->mine->kind) {
        if (!counts(p, e))
            return 0;
        return fi_fail(-EPROTOTYPE,
                       "%s \"%s\": this %s wants a %s, but %s %" PRIu64 " of node %016" PRIx64
                       " has it open as a %s; use another name or the same kind",
                       words.kind, words.name, role_word(p->mine), kind_word(p->mine), role_word(e), e->end, e->node,
                       kind_word(e));
    }
    if (was_seen(p, e->digest))
        return 0;
    fi_contract_t theirs;
    int rc = fi_entry_read(p->space, e, &theirs, NULL);
    if (rc == -ENOENT || rc == -EACCES || rc == -EPROTO) /* closed meanwhile, or nothing that could be an opinion */
        return 0;
    return rc != 0 ? rc : merge_entry(p, e, &theirs);
}

/* One walk over the directory does two things: sweep what dead makers left half-made, and compare. */
static int visit_under_lock(const char *name, void *arg) {
    publishing_t *p = arg;
    fi_entry_t e;
    if (fi_space_is_unborn(name)) {
        (void)unlinkat(p->space->dirfd, name, 0);
        return 0;
    }
    if (!may_be_of(name, p->mine->channel, strlen(p->mine->channel)) || !parse_name(name, &e))
        return 0;
    return compare_entry(&e, p);
}

int fi_entry_compare(fi_space_t *s, const fi_entry_t *mine, const fi_contract_t *contract,
                     bool (*alive)(uint64_t node, void *arg), void *arg) {
    publishing_t p = {.space = s, .mine = mine, .merged = *contract, .alive = alive, .arg = arg};
    int lock = fi_space_lock(s);
    if (lock < 0)
        return lock;
    int rc = fi_space_each_name(s, visit_under_lock, &p);
    fi_space_unlock(lock);
    return rc;
}

int fi_entry_publish(fi_space_t *s, fi_entry_t *mine, fi_contract_t *contract, bool (*alive)(uint64_t node, void *arg),
                     void *arg) {
    int lock = fi_space_lock(s);
    if (lock < 0)
        return lock;
    publishing_t p = {.space = s, .mine = mine, .merged = *contract, .alive = alive, .arg = arg};
    int rc = fi_space_each_name(s, visit_under_lock, &p);
    if (rc == 0)
        rc = write_entry(s, mine, &p.merged);
    if (rc == 0)
        *contract = p.merged;
    fi_space_unlock(lock);
    return rc;
}
