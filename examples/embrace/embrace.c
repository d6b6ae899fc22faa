/* SPDX-License-Identifier: MIT
 *
 * embrace.c - the deadly embrace: anna has the pen and wants the paper, bert has the paper and wants the pen.
 *
 * Neither can go on, and neither will let go: this is a circle, and time does not help.  Ferry finds it and ends one of
 * the two waits with -EDEADLK.  Whoever is told so gives back what it holds, so that the other one can go on, and
 * begins anew.  With --order both take the pen first: then there is never a circle, and nothing to find.
 */
#include "crew.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { PEN, PAPER, THINGS };

static const char *const things[THINGS] = {"pen", "paper"};

static const char *name_of(unsigned number) {
    return number == 0 ? "anna" : "bert";
}

/** What both processes see. */
typedef struct desk {
    bool order; /**< both take the pen first */
    atomic_uint at_work, letters, deadlocks, faults;
} desk_t;

typedef struct writer {
    ferry_t *node;
    desk_t *desk;
    const char *name;
    ferry_mutex_t *thing[THINGS];
    unsigned first, second; /**< the order in which the things are taken */
    bool met;               /**< have both writers met? */
} writer_t;

/** Prints a line as a whole, so that those of two processes do not mix. */
__attribute__((format(printf, 2, 3))) static void say(const writer_t *w, const char *sentence, ...) {
    char line[2048];
    va_list args;
    va_start(args, sentence);
    vsnprintf(line, sizeof(line), sentence, args);
    va_end(args);
    printf("%s %s\n", w->name, line);
    fflush(stdout);
}

static int meet(writer_t *w) {
    w->met = true;
    return crew_meet(w->node, 2);
}

/** Writes a letter, with both things in hand. */
static int write_letter(writer_t *w) {
    say(w, "has both, and writes");
    if (atomic_fetch_add(&w->desk->at_work, 1) != 0) {
        atomic_fetch_add(&w->desk->faults, 1); /* the other one writes with the same pen */
    }
    crew_nap(10 * 1000 * 1000);
    atomic_fetch_sub(&w->desk->at_work, 1);
    atomic_fetch_add(&w->desk->letters, 1);
    say(w, "gives both back");
    if (ferry_mutex_unlock(w->thing[w->second]) < 0 || ferry_mutex_unlock(w->thing[w->first]) < 0) {
        return crew_failed(w->name);
    }
    return 0;
}

/** The wait for the second thing was ended. Gives the first one back. */
static int begin_anew(writer_t *w) {
    say(w, "is told: %s", ferry_last_error());
    say(w, "gives the %s back, and begins anew", things[w->first]);
    atomic_fetch_add(&w->desk->deadlocks, 1);
    return ferry_mutex_unlock(w->thing[w->first]) < 0 ? crew_failed(w->name) : 0;
}

/** 0: the letter is written; 1: this attempt was given up, and nothing is held; -1. */
static int try_to_write(writer_t *w) {
    if (crew_lock(w->thing[w->first], w->name) != 0) {
        return -1;
    }
    say(w, "has the %s", things[w->first]);
    if (!w->met && meet(w) < 0) { /* the other one has its first thing, too */
        return -1;
    }
    say(w, "asks for the %s", things[w->second]);
    int r = crew_lock(w->thing[w->second], w->name);
    if (r == -EDEADLK) {
        return begin_anew(w) < 0 ? -1 : 1;
    }
    return r == 0 ? write_letter(w) : -1;
}

static int writer(ferry_t *node, unsigned number, void *desk) {
    writer_t w = {.node = node, .desk = desk, .name = name_of(number)};
    w.first = w.desk->order || number == 0 ? PEN : PAPER;
    w.second = w.first == PEN ? PAPER : PEN;
    if (ferry_mutex_open(node, "pen", NULL, &w.thing[PEN]) < 0 ||
        ferry_mutex_open(node, "paper", NULL, &w.thing[PAPER]) < 0) {
        return crew_failed(w.name);
    }
    /* In order: met now, for who waits for the pen cannot come to a meeting that is held with the pen in hand. */
    int r = w.desk->order ? meet(&w) : 0;
    if (r == 0) {
        do {
            r = try_to_write(&w);
        } while (r == 1);
    }
    if (r == 0 && (ferry_mutex_close(w.thing[PEN]) < 0 || ferry_mutex_close(w.thing[PAPER]) < 0)) {
        r = crew_failed(w.name);
    }
    return r;
}

static void print_usage(FILE *out) {
    fputs("Usage: embrace [OPTION]\n"
          "Two processes take two mutexes in opposite order; the deadlock is found and resolved.\n"
          "\n"
          "  --order   both take them in the same order: there is no deadlock\n"
          "  --help    print this\n"
          "\n"
          "Ends with status 0 when both were able to write, and one deadlock (with --order: none) was found.\n",
          out);
}

/** Is --order given? Ends the program for --help, and for what is not understood. */
static bool read_options(int argc, char **argv) {
    static const struct option options[] = {{"order", no_argument, NULL, 'o'}, {"help", no_argument, NULL, 'h'}, {0}};
    bool order = false;
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c != 'o') {
            print_usage(c == 'h' ? stdout : stderr);
            exit(c == 'h' ? 0 : 2);
        }
        order = true;
    }
    if (optind != argc) {
        print_usage(stderr);
        exit(2);
    }
    return order;
}

int main(int argc, char **argv) {
    desk_t *desk = crew_memory(sizeof(*desk));
    desk->order = read_options(argc, argv);
    crew_t crew = {.work = writer, .job = desk, .members = 2, .name = name_of};
    if (crew_run(&crew) < 0) {
        return 1;
    }
    /* Who gives its first thing back may, seldom, be quicker to take it again than the other one. */
    bool as_expected = desk->order ? desk->deadlocks == 0 : desk->deadlocks > 0;
    printf("\nletters written: %u; deadlocks found and resolved: %u, expected: %s; both had the same thing: %u times\n",
           desk->letters, desk->deadlocks, desk->order ? "none" : "one, seldom more", desk->faults);
    return desk->letters == 2 && as_expected && desk->faults == 0 ? 0 : 1;
}
