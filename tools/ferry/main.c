/* SPDX-License-Identifier: MIT
 *
 * main.c - `ferry`: finds the command and hands it the rest of the line.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "options.h"
#include "say.h"
#include "signals.h"

static int command_help(int argc, char **argv);

typedef struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} command_t;

static const command_t commands[] = {
    {"send", command_send, "put records into a queue; each goes to one receiver"},
    {"recv", command_recv, "receive records from a queue"},
    {"pub", command_pub, "publish records on a topic; each goes to every subscriber"},
    {"sub", command_sub, "subscribe to a topic"},
    {"tap", command_tap, "look at what flows through a channel, without taking part"},
    {"purge", command_purge, "drop what waits in a channel"},
    {"kick", command_kick, "expel a program from a space"},
    {"lock", command_lock, "run a command while holding locks"},
    {"sem", command_sem, "run a command, at most so many at once"},
    {"barrier", command_barrier, "wait until so many have come"},
    {"event", command_event, "wait until something has happened, or tell that it has"},
    {"cell", command_cell, "put, get and watch named values"},
    {"region", command_region, "make, fill and read shared memory; list it"},
    {"work", command_work, "run a command for each record of a queue, and try again what fails"},
    {"call", command_call, "call a procedure of a service, or list those it has"},
    {"serve", command_serve, "answer calls with the output of a command"},
    {"ls", command_ls, "list spaces, nodes, channels and their ends, services"},
    {"why", command_why, "show who waits for whom, and for good"},
    {"route", command_route, "show which way messages go, what it costs, and why"},
    {"doctor", command_doctor, "check this machine, and say what to do"},
    {"engine", command_engine, "start a NATS server, for spaces that span machines"},
    {"bench", ferry_tool_bench, "measure this machine"},
    {"help", command_help, "show this, or how to use a command"},
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

static const command_t *find_command(const char *name) {
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

static void show_usage(FILE *out) {
    fputs("Usage: ferry [OPTION...] COMMAND [ARGUMENT...]\n\n"
          "Ferry lets threads and processes exchange messages. They meet in a space, by the name\n"
          "of a channel; nothing needs to be set up, and no daemon runs.\n\n"
          "Commands:\n",
          out);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].summary);
    fputs("\nOptions of every command, before or after it:\n"
          "  --space NAME     the space to meet in (else $FERRY_SPACE, else default)\n"
          "  --directory DIR  base directory of the spaces (else $FERRY_DIR)\n"
          "  --group GROUP    a space that this group's members may enter\n"
          "  -q, --quiet      say only what went wrong\n"
          "  -h, --help       show the command's help\n"
          "  --version        show the version (without a command)\n\n"
          "Try, in two terminals:\n"
          "  ferry recv jobs\n"
          "  ferry send jobs 'hello' 'world'\n",
          out);
}

static int unknown_command(const char *name) {
    const char *names[COMMANDS];

    for (size_t i = 0; i < COMMANDS; i++)
        names[i] = commands[i].name;
    const char *meant = nearest_word(name, names, COMMANDS);
    if (meant != NULL)
        say("there is no command '%s'; did you mean '%s'? `ferry --help` lists them", name, meant);
    else
        say("there is no command '%s'; `ferry --help` lists them", name);
    return STATUS_USAGE;
}

static int command_help(int argc, char **argv) {
    if (argc < 2 || argv[1][0] == '-') {
        show_usage(stdout);
        return finish_output(STATUS_OK);
    }
    const command_t *command = find_command(argv[1]);
    if (command == NULL)
        return unknown_command(argv[1]);
    if (command->run == command_help)
        return command_help(1, argv);
    /* What follows stays: `ferry help cell put` is `ferry cell put --help`. */
    char help[] = "--help";
    memmove(argv, argv + 1, (size_t)(argc - 1) * sizeof *argv);
    argv[argc - 1] = help;
    return command->run(argc, argv);
}

static int show_version(void) {
    printf("ferry %d.%d.%d (library %s)\n", FERRY_VERSION_MAJOR, FERRY_VERSION_MINOR, FERRY_VERSION_PATCH,
           ferry_version());
    return finish_output(STATUS_OK);
}

/*
 * Runs the command at argv[at]. The options before it move behind it, so that each command parses one line:
 * `ferry --space a send x` becomes `send --space a x`. `bench` has subcommands, which must come first.
 */
static int dispatch(const command_t *command, int argc, char **argv, int at) {
    int before = at - 1;
    int after = argc - at - 1;
    char **words = calloc((size_t)argc + 1, sizeof *words);

    if (words == NULL) {
        say("no memory for the command line");
        return STATUS_FAILED;
    }
    bool options_last = command->run == ferry_tool_bench || command->run == command_help;
    words[0] = argv[at];
    memcpy(words + 1 + (options_last ? after : 0), argv + 1, (size_t)before * sizeof *words);
    memcpy(words + 1 + (options_last ? 0 : before), argv + at + 1, (size_t)after * sizeof *words);
    int status = command->run(before + after + 1, words);
    free(words);
    return status;
}

/* A closed standard descriptor would be taken by the first file opened, and records would be written there. */
static void keep_standard_descriptors(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        /* Opened the wrong way round, so that using it is an error, as if it were closed; a command that we run gets it
         * closed, as we did. */
        if (open("/dev/null", (fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) | O_CLOEXEC) != fd)
            _exit(STATUS_FAILED);
    }
}

static int wrong_option(const char *word) {
    say("there is no option %s before a command; see `ferry --help`", word);
    return STATUS_USAGE;
}

int main(int argc, char **argv) {
    int at = 1;
    bool takes_value;

    keep_standard_descriptors();
    signals_note();
    signal(SIGXFSZ, SIG_IGN); /* a limit on file size shall be an error with a sentence, not a death */
    for (; at < argc && argv[at][0] == '-'; at++) {
        if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0)
            return command_help(1, argv);
        if (strcmp(argv[at], "--version") == 0)
            return show_version();
        if (!option_is_common(argv[at], &takes_value))
            return wrong_option(argv[at]);
        at += takes_value;
    }
    if (at > argc) {
        say("the option %s needs a value; see `ferry --help`", argv[argc - 1]);
        return STATUS_USAGE;
    }
    if (at == argc) {
        say("a command is missing");
        show_usage(stderr);
        return STATUS_USAGE;
    }
    const command_t *command = find_command(argv[at]);
    return command != NULL ? dispatch(command, argc, argv, at) : unknown_command(argv[at]);
}
