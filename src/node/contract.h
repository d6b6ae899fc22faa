/* SPDX-License-Identifier: MIT
 *
 * node/contract.h - what all ends of a channel must agree on.
 *
 * Zero means no opinion; the first open end to state a field fixes it for as long as it is open.
 */
#ifndef FI_NODE_CONTRACT_H
#define FI_NODE_CONTRACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ferry/channel.h>

typedef struct fi_contract {
    char type_name[64]; /**< "" for no opinion */
    uint64_t type_size;
    uint64_t max_size;
    uint32_t hold; /**< a ferry_hold_t */
    uint32_t timestamps;
    uint32_t durable; /**< a ferry_durable_t */
    uint32_t reserved;
} fi_contract_t;

/**
 * Names of spaces and channels: 1 to `max` of the characters A-Z a-z 0-9 . _ -, not starting with a dot.
 * 0, or -EINVAL with a sentence about the `what` ("channel") that has this name.
 */
int fi_name_check(const char *what, const char *name, size_t max);

/** Channel names: see ferry_sender_open. 0, or -EINVAL with a sentence. */
int fi_channel_check(const char *channel);

/**
 * Channels that carry something else than a user's messages have names that begin with one of these bytes.  No channel
 * of a user's does, so the names never meet.
 */
#define FI_PUBLISHED '@' /* a topic: the versions of a published region */
#define FI_CALLS '+'     /* a queue: calls of a service */
#define FI_REPLIES '~'   /* a queue: replies to one client */

static inline bool fi_channel_is_reserved(const char *channel) {
    return channel[0] == FI_PUBLISHED || channel[0] == FI_CALLS || channel[0] == FI_REPLIES;
}

static inline bool fi_channel_is_published(const char *channel) {
    return channel[0] == FI_PUBLISHED;
}

/** What sentences call a channel, its ends and what they agree on. */
typedef struct fi_channel_words {
    const char *kind; /**< "channel" or "published region" */
    const char *name;
    const char *sender;
    const char *receiver;
    const char *type;      /**< of what type_name is the name */
    const char *type_size; /**< the field */
} fi_channel_words_t;

fi_channel_words_t fi_channel_words(const char *channel);

/**
 * Takes the shared fields of a user's contract; NULL has no opinion. Reads the sender's own fields only to check them.
 * Errors: -EINVAL, with a sentence that names the field.
 */
int fi_contract_from_public(const ferry_contract_t *from, fi_contract_t *to);

/**
 * Adds the opinions of `other` to `into`. `mine` and `theirs` say in the sentence whose contracts these are ("this
 * sender", "the receiver 3 of node 00c0ffee..."). Error: -EPROTOTYPE, `*into` untouched; the sentence shows the field
 * and both sides.
 */
int fi_contract_merge(fi_contract_t *into, const fi_contract_t *other, const char *channel, const char *mine,
                      const char *theirs);

/** Could this be a message type's name: up to 63 bytes of printable ASCII without spaces ("" is no opinion)? */
bool fi_contract_is_type_name(const char *name);

/** Do both say the same? */
bool fi_contract_equal(const fi_contract_t *a, const fi_contract_t *b);

/** A number that equal contracts share, and different ones with a chance of 1 in 2^32; 0 exactly for no opinion. */
uint32_t fi_contract_digest(const fi_contract_t *c);

#endif
