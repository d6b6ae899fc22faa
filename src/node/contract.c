/* SPDX-License-Identifier: MIT
 *
 * node/contract.c - see contract.h.
 */
#include "node/contract.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

#define CHANNEL_MAX 100

static bool is_name_byte(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
}

int fi_name_check(const char *what, const char *name, size_t max) {
    if (name == NULL || name[0] == '\0')
        return fi_fail(-EINVAL, "the %s's name is empty; give it 1 to %zu of the characters A-Z a-z 0-9 . _ -", what,
                       max);
    if (name[0] == '.')
        return fi_fail(-EINVAL, "the %s's name \"%.100s\" starts with a dot; start it with one of A-Z a-z 0-9 _ -",
                       what, name);
    size_t len = strnlen(name, max + 1);
    if (len > max)
        return fi_fail(-EINVAL, "the %s's name \"%.100s\" is too long; %zu bytes are allowed", what, name, max);
    for (size_t i = 0; i < len; i++)
        if (!is_name_byte(name[i]))
            return fi_fail(-EINVAL,
                           "the %s's name \"%s\" has a character that is not allowed at byte %zu; use only "
                           "A-Z a-z 0-9 . _ -",
                           what, name, i + 1);
    return 0;
}

int fi_channel_check(const char *channel) {
    return fi_name_check("channel", channel, CHANNEL_MAX);
}

fi_channel_words_t fi_channel_words(const char *channel) {
    if (fi_channel_is_published(channel))
        return (fi_channel_words_t){"published region", channel + 1, "writer", "reader", "type", "bytes"};
    if (channel[0] == FI_CALLS)
        return (fi_channel_words_t){"service", channel + 1, "client", "server", "type", "size"};
    if (channel[0] == FI_REPLIES)
        return (fi_channel_words_t){"replies of the service", channel + 1, "server", "client", "type", "size"};
    return (fi_channel_words_t){"channel", channel, "sender", "receiver", "message type", "type_size"};
}

bool fi_contract_is_type_name(const char *name) {
    size_t len = strnlen(name, sizeof((fi_contract_t *)0)->type_name);
    if (len == sizeof((fi_contract_t *)0)->type_name)
        return false;
    for (size_t i = 0; i < len; i++)
        if (name[i] <= ' ' || name[i] > '~')
            return false;
    return true;
}

static int check_enums(const ferry_contract_t *c) {
    if ((unsigned)c->hold > FERRY_HOLD_NEVER)
        return fi_fail(-EINVAL, "the contract's hold is %d; use a FERRY_HOLD_ constant", (int)c->hold);
    if ((unsigned)c->overflow > FERRY_OVERFLOW_FAIL)
        return fi_fail(-EINVAL, "the contract's overflow is %d; use a FERRY_OVERFLOW_ constant", (int)c->overflow);
    if ((unsigned)c->wait > FERRY_WAIT_BLOCK)
        return fi_fail(-EINVAL, "the contract's wait is %d; use a FERRY_WAIT_ constant", (int)c->wait);
    if ((unsigned)c->durable > FERRY_DURABLE_NOT)
        return fi_fail(-EINVAL, "the contract's durable is %d; use a FERRY_DURABLE_ constant", (int)c->durable);
    if (c->timestamps > 1)
        return fi_fail(-EINVAL, "the contract's timestamps is %" PRIu32 "; use 0 or 1", c->timestamps);
    return 0;
}

int fi_contract_from_public(const ferry_contract_t *from, fi_contract_t *to) {
    fi_contract_t mine = {0};
    if (from != NULL) {
        ferry_contract_t c = *from;
        int rc = check_enums(&c);
        if (rc != 0)
            return rc;
        if (c.type_name != NULL && !fi_contract_is_type_name(c.type_name))
            return fi_fail(-EINVAL,
                           "the contract's type name \"%.100s\" is longer than %zu bytes or has spaces or "
                           "characters other than printable ASCII",
                           c.type_name, sizeof mine.type_name - 1);
        if (c.type_size != 0 && c.max_size != 0 && c.type_size > c.max_size)
            return fi_fail(-EINVAL, "the contract's type_size %" PRIu64 " is larger than its max_size %" PRIu64,
                           c.type_size, c.max_size);
        snprintf(mine.type_name, sizeof mine.type_name, "%s", c.type_name == NULL ? "" : c.type_name);
        mine.type_size = c.type_size;
        mine.max_size = c.max_size;
        mine.hold = (uint32_t)c.hold;
        mine.timestamps = c.timestamps;
        mine.durable = (uint32_t)c.durable;
    }
    *to = mine;
    return 0;
}

static const char *hold_word(uint64_t hold) {
    return hold == FERRY_HOLD_BACK ? "hold back" : "never hold";
}

/* What a sentence about a mismatch needs besides the two values. */
typedef struct sides {
    fi_channel_words_t words;
    const char *mine;
    const char *theirs;
} sides_t;

static int merge_number(uint64_t *into, uint64_t other, const char *field, const sides_t *s) {
    if (*into != 0 && other != 0 && *into != other)
        return fi_fail(-EPROTOTYPE,
                       "%s \"%s\": %s says %s %" PRIu64 ", but %s says %s %" PRIu64
                       "; make them equal or leave one at 0",
                       s->words.kind, s->words.name, s->mine, field, *into, s->theirs, field, other);
    if (*into == 0)
        *into = other;
    return 0;
}

static const char *durable_word(uint64_t durable) {
    return durable == FERRY_DURABLE ? "durable" : "not durable";
}

/* Fields of which 0 is no opinion, and each other value has a word. */
static int merge_choice(uint32_t *into, uint32_t other, const char *(*word)(uint64_t), const char *none,
                        const sides_t *s) {
    if (*into != 0 && other != 0 && *into != other)
        return fi_fail(-EPROTOTYPE, "%s \"%s\": %s says \"%s\", but %s says \"%s\"; make them equal or leave one at %s",
                       s->words.kind, s->words.name, s->mine, word(*into), s->theirs, word(other), none);
    if (*into == 0)
        *into = other;
    return 0;
}

static int merge_type(char into[64], const char *other, const sides_t *s) {
    if (into[0] != '\0' && other[0] != '\0' && strcmp(into, other) != 0)
        return fi_fail(-EPROTOTYPE,
                       "%s \"%s\": %s says %s \"%s\", but %s says \"%s\"; make them equal or leave one out",
                       s->words.kind, s->words.name, s->mine, s->words.type, into, s->theirs, other);
    if (into[0] == '\0')
        memcpy(into, other, 64);
    return 0;
}

/* Two opinions that are about different fields may still exclude each other. */
static int check_sizes(const fi_contract_t *merged, const fi_contract_t *mine, const sides_t *s) {
    if (merged->type_size == 0 || merged->max_size == 0 || merged->type_size <= merged->max_size)
        return 0;
    bool exact_is_mine = mine->type_size != 0;
    return fi_fail(-EPROTOTYPE,
                   "%s \"%s\": %s says %s %" PRIu64 ", but %s says max_size %" PRIu64
                   ", which is less; make them agree",
                   s->words.kind, s->words.name, exact_is_mine ? s->mine : s->theirs, s->words.type_size,
                   merged->type_size, exact_is_mine ? s->theirs : s->mine, merged->max_size);
}

int fi_contract_merge(fi_contract_t *into, const fi_contract_t *other, const char *channel, const char *mine,
                      const char *theirs) {
    const sides_t sides = {.words = fi_channel_words(channel), .mine = mine, .theirs = theirs};
    fi_contract_t merged = *into;
    int rc = merge_type(merged.type_name, other->type_name, &sides);
    if (rc == 0)
        rc = merge_number(&merged.type_size, other->type_size, sides.words.type_size, &sides);
    if (rc == 0)
        rc = merge_number(&merged.max_size, other->max_size, "max_size", &sides);
    if (rc == 0)
        rc = merge_choice(&merged.hold, other->hold, hold_word, "FERRY_HOLD_ANY", &sides);
    if (rc == 0)
        rc = merge_choice(&merged.durable, other->durable, durable_word, "FERRY_DURABLE_ANY", &sides);
    if (rc == 0)
        rc = check_sizes(&merged, into, &sides);
    if (rc != 0)
        return rc;
    merged.timestamps |= other->timestamps; /* 1 is its only opinion, so no two can differ */
    *into = merged;
    return 0;
}

bool fi_contract_equal(const fi_contract_t *a, const fi_contract_t *b) {
    return strcmp(a->type_name, b->type_name) == 0 && a->type_size == b->type_size && a->max_size == b->max_size &&
           a->hold == b->hold && a->timestamps == b->timestamps && a->durable == b->durable;
}

/* FNV-1a over the fields, not the struct: bytes behind a string's end do not count. */
static uint32_t hash_bytes(uint32_t hash, const void *data, size_t len) {
    const unsigned char *bytes = data;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * UINT32_C(16777619);
    return hash;
}

uint32_t fi_contract_digest(const fi_contract_t *c) {
    const fi_contract_t nothing = {0};
    if (fi_contract_equal(c, &nothing))
        return 0;
    uint32_t hash = UINT32_C(2166136261);
    hash = hash_bytes(hash, c->type_name, strlen(c->type_name) + 1);
    hash = hash_bytes(hash, &c->type_size, sizeof c->type_size);
    hash = hash_bytes(hash, &c->max_size, sizeof c->max_size);
    hash = hash_bytes(hash, &c->hold, sizeof c->hold);
    hash = hash_bytes(hash, &c->timestamps, sizeof c->timestamps);
    if (c->durable != FERRY_DURABLE_ANY)
        hash = hash_bytes(hash, &c->durable, sizeof c->durable);
    return hash == 0 ? 1 : hash;
}
