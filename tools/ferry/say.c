/* SPDX-License-Identifier: MIT */
#include "say.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

static const char *command = "";
static bool line_is_drawn;

void say_as(const char *name) {
    command = name;
}

void say_wipe(void) {
    if (!line_is_drawn)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    line_is_drawn = false;
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
    fprintf(stderr, "\r%s\033[K", text);
    fflush(stderr);
    line_is_drawn = true;
}
