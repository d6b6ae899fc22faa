/* SPDX-License-Identifier: MIT
 *
 * ring_copy.h - copying bytes that the other side may touch at the same time.
 *
 * A reader that may be overtaken copies first and asks afterwards whether what it copied was still whole.  That race is
 * the point, so ThreadSanitizer must not look at it (Boehm, "Can seqlocks get along with programming language memory
 * models?", 2012).
 */
#ifndef FI_RING_COPY_H
#define FI_RING_COPY_H

#include <stddef.h>
#include <stdint.h>

void fi_copy_racing(unsigned char *to, const unsigned char *from, size_t n);

#endif
