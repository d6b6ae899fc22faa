/* SPDX-License-Identifier: MIT
 *
 * host/profile.h - what this host's operations cost: as text, within bounds, and as this process uses it.
 *
 * A profile's text is lines of a name and a number; all names must be there, once, in any order; '#' begins a comment:
 *
 *     # ferry host profile
 *     wake_ns 24000
 *     line_ns 62
 *     page_ns 310
 *     copy_256_mbps 21000        and copy_4096_mbps, copy_65536_mbps, copy_1048576_mbps
 *
 * Whoever wrote it, nothing beyond the bounds below is believed: they keep what is chosen from it harmless.
 */
#ifndef FI_HOST_PROFILE_H
#define FI_HOST_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ferry/route.h"

#define FI_PROFILE_MAX 4096u /* bytes of text, at most */

/** Bytes whose copying `copy_mbps[i]` is about. */
extern const uint32_t fi_host_copy_bytes[FERRY_HOST_COPIES];

/** "assumed", "measured" or "given". */
const char *fi_host_source_word(const ferry_host_t *h);

/** What is usual: used until something better is known. */
ferry_host_t fi_host_assumed(void);

/** Reads a profile's text, which need not end in 0. 0, or -EINVAL with a sentence that names `what` and the line. */
int fi_host_parse(const char *text, size_t len, const char *what, ferry_host_t *host);

/** Writes it as text; returns its length, 0 if it does not fit. */
size_t fi_host_print(const ferry_host_t *host, char *text, size_t cap);

#endif
