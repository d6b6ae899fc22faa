/* SPDX-License-Identifier: MIT
 *
 * plain.h - text from another process, before it is shown to people: what it calls itself could be anything.
 */
#ifndef FI_PLAIN_H
#define FI_PLAIN_H

#include <stddef.h>

/* Ends it, and makes control characters, ends of lines and escape sequences among them, question marks. */
static inline void fi_make_plain(char *text, size_t cap) {
    text[cap - 1] = '\0';
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            *text = '?';
        }
    }
}

#endif
