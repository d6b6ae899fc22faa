/* SPDX-License-Identifier: MIT
 *
 * say.h - everything the tool tells people, on standard error. A passing line (progress) is redrawn in place and
 * wiped before anything else is written, so that sentences never run into it.
 */
#ifndef FERRY_TOOL_SAY_H
#define FERRY_TOOL_SAY_H

/* From now on sentences begin with "ferry NAME: ". */
void say_as(const char *name);

/* Writes one sentence and a newline. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Draws `text` as the passing line, in place of the one before. */
void say_passing(const char *text);

/* Wipes the passing line; cheap when there is none. */
void say_wipe(void);

/* Programs choose their names; what a terminal would obey in them becomes a question mark. */
void make_plain(char *text);

#endif
