/* SPDX-License-Identifier: MIT
 *
 * ferry/look.h - looking at spaces from outside: what `ferry ls` shows.
 */
#ifndef FERRY_LOOK_H
#define FERRY_LOOK_H

#include "channel.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A picture of one space at one moment. Not shared between threads. */
typedef struct ferry_look ferry_look_t;

/** One node of the picture. Strings belong to the picture. */
typedef struct ferry_look_node {
    uint64_t id;
    const char *name;
    int32_t pid; /**< as this process sees it; 0 when it lives in a PID namespace that is not visible from here */
    uint32_t uid;
    uint32_t peers;    /**< nodes it is connected with */
    uint32_t answered; /**< 0: it did not answer in time (stopped?); its ends then show no figures */
} ferry_look_node_t;

/** One open end of the picture. */
typedef struct ferry_look_end {
    uint64_t node; /**< id of its node */
    uint64_t end;  /**< its number within the node */
    const char *channel;
    ferry_kind_t kind;
    uint32_t is_sender;
    const char *type_name; /**< "" when the channel has none */
    uint64_t type_size;
    uint64_t messages; /**< sent or received since it was opened */
    uint64_t bytes;
    uint64_t copies_made;
    uint64_t copies_avoided;
    uint64_t depth;  /**< sender: messages waiting in its memory, unreleased; receiver: taken and held */
    uint64_t lost;   /**< receiver: messages lost */
    uint64_t memory; /**< sender: bytes charged to its quota */
    uint64_t quota;
    uint64_t age_ns; /**< since it was opened */
    uint32_t links;
    uint32_t reserved;
} ferry_look_end_t;

/**
 * Looks at the space `space`, without joining it. Sweeps what dead nodes left behind. `options` as for ferry_open.
 * Errors: -ENOENT no such space; -EINVAL; -EPERM; -EACCES; -EMFILE; -ENOMEM.
 */
FERRY_API int ferry_look(const char *space, const ferry_options_t *options, ferry_look_t **look);
FERRY_API size_t ferry_look_nodes(const ferry_look_t *look);
FERRY_API const ferry_look_node_t *ferry_look_node(const ferry_look_t *look, size_t i);
FERRY_API size_t ferry_look_ends(const ferry_look_t *look);
FERRY_API const ferry_look_end_t *ferry_look_end(const ferry_look_t *look, size_t i);
/** Frees the picture; NULL is allowed. */
FERRY_API void ferry_look_close(ferry_look_t *look);

/**
 * Calls `each(name, arg)` for every space under the base directory, sorted by name. Returns how many, or what `each`
 * returned when that is negative. A base directory that does not exist has none. Errors: -EPERM, -EACCES, -ENOMEM.
 */
FERRY_API int ferry_spaces(const ferry_options_t *options, int (*each)(const char *name, void *arg), void *arg);

/** Writes the base directory that `options` lead to into `buf`. Errors: -ERANGE it does not fit; -ENOENT no such group. */
FERRY_API int ferry_base_directory(const ferry_options_t *options, char *buf, size_t cap);

#ifdef __cplusplus
}
#endif
#endif
