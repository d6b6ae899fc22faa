/* SPDX-License-Identifier: MIT
 *
 * client.c - `key-value`: the service on the command line.
 */
#include "key_value.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND ((int64_t)1000 * 1000 * 1000)

/** Exit status: 1 is an answer, 3 is none. */
enum { DONE, NO, MISUSE, FAILED };

static bool one_way; /**< --one-way */
static bool by_line; /**< commands come from standard input */

static void print_usage(FILE *out) {
    fputs("Usage: key-value [OPTION]... put KEY VALUE           store a value; prints its version\n"
          "       key-value [OPTION]... put-if VERSION KEY VALUE  the same if the key has this version (0: no value)\n"
          "       key-value [OPTION]... get KEY                  print the value\n"
          "       key-value [OPTION]... version KEY              print its version\n"
          "       key-value [OPTION]... remove KEY\n"
          "       key-value [OPTION]... list [PREFIX]            print the keys\n"
          "       key-value [OPTION]...                          obey lines of standard input, each as above; also\n"
          "                                                      timeout SECONDS, for those that follow\n"
          "\n"
          "  --timeout SECONDS  until when a call must have been answered (10)\n"
          "  --one-way          put: do not ask for an answer\n"
          "  --help             print this\n"
          "\n"
          "A VALUE of - is read from standard input. Status: 0 done, 1 no such key or another version, 2 misuse,\n"
          "3 the call was not answered.\n",
          out);
}

static int failed(int r) {
    fprintf(stderr, "key-value: %s\n", r == -EPROTO ? "the answer makes no sense" : ferry_last_error());
    return FAILED;
}

/** All of standard input; NULL on failure. */
static char *read_all(size_t *size) {
    char *text = NULL;
    FILE *all = open_memstream(&text, size);
    char piece[65536];
    size_t n;
    while (all != NULL && (n = fread(piece, 1, sizeof(piece), stdin)) > 0) {
        fwrite(piece, 1, n, all);
    }
    return all != NULL && fclose(all) == 0 && !ferror(stdin) ? text : NULL;
}

static int send_value(key_value_t *kv, const char *key, const char *value, size_t size, uint64_t expected) {
    void *to;
    ferry_msg_t *m;
    uint64_t version = 0;
    int r = key_value_new(kv, key, expected, size, &to, &m);
    if (r == 0) {
        memcpy(to, value, size);
        r = key_value_put(kv, m, &version);
    }
    if (r == FERRY_CALL_FAILED) {
        fprintf(stderr, "key-value: %s has version %" PRIu64 "\n", key, version);
        return NO;
    }
    if (r == 0) {
        printf("%" PRIu64 "\n", version);
    }
    return r == 0 ? DONE : failed(r);
}

static int put(key_value_t *kv, const char *key, const char *value, uint64_t expected) {
    size_t size = strlen(value);
    bool is_input = !by_line && strcmp(value, "-") == 0;
    char *input = is_input ? read_all(&size) : NULL;
    if (is_input && input == NULL) {
        fprintf(stderr, "key-value: reading standard input: %s\n", strerror(errno));
        return FAILED;
    }
    value = input != NULL ? input : value;
    int status;
    if (one_way) {
        int r = key_value_put_one_way(kv, key, value, size);
        status = r == 0 ? DONE : failed(r);
    } else {
        status = send_value(kv, key, value, size, expected);
    }
    free(input);
    return status;
}

static int no_such_key(const char *key) {
    fprintf(stderr, "key-value: there is no key \"%s\"\n", key);
    return NO;
}

static int get(key_value_t *kv, const char *key, bool wants_version) {
    got_t got;
    int r = key_value_get(kv, key, &got);
    if (r != 0) {
        return r == FERRY_CALL_FAILED ? no_such_key(key) : failed(r);
    }
    if (wants_version) {
        printf("%" PRIu64 "\n", got.version);
    } else {
        fwrite(got.value, 1, got.size, stdout);
        fputs(by_line ? "\n" : "", stdout);
    }
    ferry_msg_release(got.m);
    return DONE;
}

static int remove_key(key_value_t *kv, const char *key) {
    int r = key_value_remove(kv, key);
    return r == 0 ? DONE : r == FERRY_CALL_FAILED ? no_such_key(key) : failed(r);
}

static int print_key(const char *key, size_t size, void *arg) {
    (void)arg;
    printf("%.*s\n", (int)size, key);
    return 0;
}

/** Seconds as nanoseconds; 0: that is no time. */
static int64_t time_from(const char *seconds) {
    double n = strtod(seconds, NULL);
    return n > 0 && n < 1e6 ? (int64_t)(n * (double)SECOND) : 0;
}

/** Does what the words say. */
static int obey(key_value_t *kv, int words, char **word) {
    const char *what = word[0];
    if (strcmp(what, "put") == 0 && words == 3) {
        return put(kv, word[1], word[2], ANY_VERSION);
    }
    if (strcmp(what, "put-if") == 0 && words == 4 && !one_way) {
        return put(kv, word[2], word[3], strtoull(word[1], NULL, 10));
    }
    if ((strcmp(what, "get") == 0 || strcmp(what, "version") == 0) && words == 2) {
        return get(kv, word[1], what[0] == 'v');
    }
    if (strcmp(what, "remove") == 0 && words == 2) {
        return remove_key(kv, word[1]);
    }
    if (strcmp(what, "list") == 0 && words <= 2) {
        int r = key_value_list(kv, words == 2 ? word[1] : "", print_key, NULL);
        return r == 0 ? DONE : failed(r);
    }
    if (strcmp(what, "timeout") == 0 && words == 2 && time_from(word[1]) > 0) {
        kv->timeout = time_from(word[1]);
        return DONE;
    }
    print_usage(stderr);
    return MISUSE;
}

/** Obeys line after line. Returns the status of the last one that was not done. */
static int obey_lines(key_value_t *kv) {
    char *line = NULL;
    size_t room = 0;
    int status = DONE;
    while (getline(&line, &room, stdin) > 0) {
        char *word[4], *rest = line;
        int words = 0;
        while (words < 4 && (word[words] = strtok_r(rest, " \n", &rest)) != NULL) {
            words++;
        }
        int r = words > 0 ? obey(kv, words, word) : DONE;
        status = r != DONE ? r : status;
        fflush(stdout);
    }
    free(line);
    return status;
}

static int run(int64_t timeout, int words, char **word) {
    ferry_t *node;
    key_value_t kv = {.timeout = timeout};
    if (ferry_open(KEY_VALUE, NULL, &node) < 0) {
        return failed(0);
    }
    int status = FAILED;
    if (ferry_client_open(node, KEY_VALUE, NULL, &kv.client) < 0) {
        failed(0);
    } else {
        status = by_line ? obey_lines(&kv) : obey(&kv, words, word);
        uint64_t undone = 0; /* of one-way calls: closing waits for them */
        ferry_client_close(kv.client, timeout, &undone);
        if (undone > 0) {
            fprintf(stderr, "key-value: nobody has done it in time\n");
            status = FAILED;
        }
    }
    ferry_close(node);
    return status;
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"timeout", required_argument, NULL, 't'},
        {"one-way", no_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int64_t timeout = 10 * SECOND;
    int c;
    while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        switch (c) {
        case 't':
            timeout = time_from(optarg);
            break;
        case 'o':
            one_way = true;
            break;
        case 'h':
            print_usage(stdout);
            return DONE;
        default:
            print_usage(stderr);
            return MISUSE;
        }
    }
    if (timeout == 0) {
        print_usage(stderr);
        return MISUSE;
    }
    by_line = optind == argc;
    return run(timeout, argc - optind, argv + optind);
}
