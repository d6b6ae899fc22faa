/* SPDX-License-Identifier: MIT
 *
 * philosophers.c - lays the table, and tells how the evening went.
 *
 * When everybody takes his left fork first, all can sit there with one fork each and wait for the next one for ever.
 * Ferry finds this circle and tells one of them, who gives way.  With --order nobody has to: if everybody takes the
 * fork with the lower number first, whoever has the highest of those that are taken can go on.
 */
#include "philosophers.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** Who has been hungry for so long has starved. Most meals are a matter of milliseconds. */
#define STARVED ((int64_t)5 * 1000 * 1000 * 1000)

static void print_usage(FILE *out) {
    fputs("Usage: philosophers [OPTION]...\n"
          "Philosophers share forks, which are mutexes, with their neighbours; deadlocks are found and resolved.\n"
          "\n"
          "  --philosophers N          2 to 64 (5)\n"
          "  --with threads|processes  what they are (processes)\n"
          "  --order                   everybody takes the fork with the lower number first: there is no deadlock\n"
          "  --milliseconds N          how long they dine, 1 to 60000 (1000)\n"
          "  --help                    print this\n"
          "\n"
          "Ends with status 0 when nobody starved and no two neighbours ate at the same time.\n",
          out);
}

/** Of his process. */
static const char *name_of(unsigned number) {
    static char name[32];
    snprintf(name, sizeof(name), "philosopher-%u", number);
    return name;
}

static bool are_threads(const char *name) {
    if (strcmp(name, "threads") != 0 && strcmp(name, "processes") != 0) {
        fprintf(stderr, "philosophers: --with is \"%s\", but must be threads or processes\n", name);
        exit(2);
    }
    return strcmp(name, "threads") == 0;
}

static void read_options(int argc, char **argv, table_t *t, crew_t *crew) {
    static const struct option options[] = {
        {"philosophers", required_argument, NULL, 'p'},
        {"with", required_argument, NULL, 'w'},
        {"order", no_argument, NULL, 'o'},
        {"milliseconds", required_argument, NULL, 'm'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'p':
            t->seats = crew_number("philosophers", optarg, 2, CREW_MOST);
            break;
        case 'w':
            crew->threads = are_threads(optarg);
            break;
        case 'o':
            t->ordered = true;
            break;
        case 'm':
            t->duration = (int64_t)crew_number("milliseconds", optarg, 1, 60000) * 1000000;
            break;
        default:
            print_usage(c == 'h' ? stdout : stderr);
            exit(c == 'h' ? 0 : 2);
        }
    }
    if (optind != argc) {
        print_usage(stderr);
        exit(2);
    }
}

/** Prints a line for each philosopher. Returns the longest time that one of them was hungry. */
static int64_t print_seats(const table_t *t) {
    int64_t hungriest = 0;
    puts("philosopher    meals  deadlocks found  longest hunger");
    for (unsigned i = 0; i < t->seats; i++) {
        const seat_t *s = &t->seat[i];
        printf("%11u %8u %16u %12.1f ms\n", i, s->meals, s->deadlocks, (double)s->hungriest / 1e6);
        hungriest = s->hungriest > hungriest ? s->hungriest : hungriest;
    }
    return hungriest;
}

/** Prints how the evening went. 0 when it went well. */
static int report(const table_t *t) {
    int64_t hungriest = print_seats(t);
    printf("\ndeadlocks found and resolved: %u\n", t->told);
    printf("nobody starved: %s\n", hungriest < STARVED ? "yes" : "NO");
    printf("no two neighbours ate at the same time: %s\n", t->clashes == 0 ? "yes" : "NO");
    if (t->told > 0) {
        printf("\nThe first circle, in Ferry's words:\n%s\n", t->first_circle);
    } else if (!t->ordered) {
        puts("\nThere was no deadlock this time. That proves nothing: try again.");
    }
    return hungriest < STARVED && t->clashes == 0 && (!t->ordered || t->told == 0) ? 0 : -1;
}

int main(int argc, char **argv) {
    table_t *t = crew_memory(sizeof(*t));
    t->seats = 5;
    t->duration = 1000000000;
    crew_t crew = {.work = philosopher, .job = t, .name = name_of};
    read_options(argc, argv, t, &crew);
    crew.members = t->seats;
    printf("%u philosophers (%s), who take %s fork first.\n\n", t->seats, crew.threads ? "threads" : "processes",
           t->ordered ? "the lower-numbered" : "their left");
    return crew_run(&crew) == 0 && report(t) == 0 ? 0 : 1;
}
