/* SPDX-License-Identifier: MIT
 *
 * base/json.h - the one thing about JSON that is easily done wrong.
 */
#ifndef FI_BASE_JSON_H
#define FI_BASE_JSON_H

#include <stdio.h>

/* Writes text as a string, in quotes. What is no UTF-8 is written as U+FFFD, byte by byte. */
void fi_json_text(FILE *f, const char *text);

#endif
