/* SPDX-License-Identifier: MIT */
#include "say.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *command = "";
static char drawn[512]; /* the passing line, "" when there is none */

void say_as(const char *name) {
    command = name;
}

void say_wipe(void) {
    if (drawn[0] == '\0')
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    drawn[0] = '\0';
}

void say(const char *format, ...) {
    va_list args;

    say_wipe();
    /* One write for the whole sentence: several commands often share a terminal. */
    char text[2048];
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "ferry%s%s: %s\n", command[0] ? " " : "", command, text);
    fflush(stderr);
}

void say_passing(const char *text) {
    if (strcmp(text, drawn) == 0)
        return;
    snprintf(drawn, sizeof drawn, "%s", text);
    fprintf(stderr, "\r%s\033[K", drawn);
    fflush(stderr);
}

void make_plain(char *text) {
    for (; *text != '\0'; text++) {
        if (iscntrl((unsigned char)*text))
            *text = '?';
    }
}
