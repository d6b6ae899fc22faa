/* SPDX-License-Identifier: MIT
 *
 * crowd.c - `key-value-crowd`: one server and many clients, as processes or as threads; every value is checked.
 *
 * Each client puts values of its own, small ones and large ones, gets them back, removes some; and all of them count up
 * one number together, by compare-and-set.  When all are done, one of them looks at everything once more.
 */
#include "crew.h"
#include "key_value.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LARGE ((size_t)200 * 1000) /**< bytes of the largest value */

typedef struct crowd {
    bool threads;
    unsigned clients;
    unsigned servers;                /**< threads that serve */
    unsigned values;                 /**< that each client puts */
    unsigned counts;                 /**< how often each client counts up */
    atomic_uint checked, lost_races; /**< for main() to tell */
} crowd_t;

/* ---- values that can be recomputed ---- */

static void key_of(char key[64], unsigned client, unsigned i) {
    snprintf(key, 64, "client-%02u/%05u", client, i);
}

/** Every fourth one is large; every third one is removed in the end. */
static size_t size_of(unsigned client, unsigned i) {
    return i % 4 == 3 ? LARGE - client * 1000 - i : 1 + (client * 31 + i * 7) % 500;
}

static bool stays(unsigned i) {
    return i % 3 != 2;
}

static char byte_of(unsigned client, unsigned i, size_t at) {
    return (char)(client * 7 + i * 13 + at + at / 251);
}

static void fill(char *value, size_t size, unsigned client, unsigned i) {
    for (size_t at = 0; at < size; at++) {
        value[at] = byte_of(client, i, at);
    }
}

static bool is_right(const got_t *got, unsigned client, unsigned i) {
    bool right = got->size == size_of(client, i);
    for (size_t at = 0; right && at < got->size; at++) {
        right = got->value[at] == byte_of(client, i, at);
    }
    return right;
}

/* ---- a client ---- */

static int wrong(const char *key, const char *what) {
    fprintf(stderr, "key-value-crowd: %s: %s\n", key, what);
    return -1;
}

/** Small values that nobody waits for go one way. */
static int put_value(key_value_t *kv, unsigned client, unsigned i) {
    char key[64], small[500];
    size_t size = size_of(client, i);
    void *to = small;
    ferry_msg_t *m;
    uint64_t version;
    key_of(key, client, i);
    bool one_way = i % 4 == 1;
    if (!one_way && key_value_new(kv, key, 0, size, &to, &m) < 0) { /* 0: it must be a new key */
        return crew_failed(key);
    }
    fill(to, size, client, i);
    int r = one_way ? key_value_put_one_way(kv, key, small, size) : key_value_put(kv, m, &version);
    return r == FERRY_CALL_FAILED ? wrong(key, "it is there already") : r < 0 ? crew_failed(key) : 0;
}

static int check_value(key_value_t *kv, crowd_t *crowd, unsigned client, unsigned i) {
    char key[64];
    got_t got;
    key_of(key, client, i);
    int r = key_value_get(kv, key, &got);
    if (r != 0) {
        return r < 0 ? crew_failed(key) : wrong(key, "it is not there");
    }
    bool right = is_right(&got, client, i);
    ferry_msg_release(got.m);
    atomic_fetch_add(&crowd->checked, 1);
    return right ? 0 : wrong(key, "it has another value");
}

static int remove_value(key_value_t *kv, unsigned client, unsigned i) {
    char key[64];
    got_t got;
    key_of(key, client, i);
    if (key_value_remove(kv, key) != 0) {
        return crew_failed(key);
    }
    return key_value_get(kv, key, &got) == FERRY_CALL_FAILED ? 0 : wrong(key, "it was removed, and is there");
}

/** Adds one to the number under "sum": looks, and puts the next one if nobody else has done so meanwhile. */
static int count_up(key_value_t *kv, crowd_t *crowd) {
    for (;;) {
        got_t got = {0};
        void *to;
        ferry_msg_t *m;
        uint64_t number = 0;
        int r = key_value_get(kv, "sum", &got);
        if (r < 0) {
            return crew_failed("sum");
        }
        if (r == 0) {
            memcpy(&number, got.value, got.size == sizeof(number) ? sizeof(number) : 0);
            ferry_msg_release(got.m);
        }
        if (key_value_new(kv, "sum", got.version, sizeof(number), &to, &m) < 0) {
            return crew_failed("sum");
        }
        number++;
        memcpy(to, &number, sizeof(number));
        r = key_value_put(kv, m, &got.version);
        if (r <= 0) {
            return r < 0 ? crew_failed("sum") : 0;
        }
        atomic_fetch_add(&crowd->lost_races, 1);
    }
}

/** A one-way call may still be on its way when its sender goes on; with the client's closing it is done. */
static int put_all(ferry_t *node, const crowd_t *crowd, unsigned client) {
    key_value_t kv = {.timeout = CREW_PATIENCE};
    uint64_t undone = 0;
    int r = ferry_client_open(node, KEY_VALUE, NULL, &kv.client) < 0 ? crew_failed("opening a client") : 0;
    for (unsigned i = 0; r == 0 && i < crowd->values; i++) {
        r = put_value(&kv, client, i);
    }
    if (ferry_client_close(kv.client, CREW_PATIENCE, &undone) < 0 || undone != 0) {
        return crew_failed("waiting for its one-way calls");
    }
    return r;
}

static int use_all(key_value_t *kv, crowd_t *crowd, unsigned client) {
    int r = 0;
    for (unsigned i = 0; r == 0 && i < crowd->values; i++) {
        r = check_value(kv, crowd, client, i);
        r = r == 0 && !stays(i) ? remove_value(kv, client, i) : r;
    }
    for (unsigned i = 0; r == 0 && i < crowd->counts; i++) {
        r = count_up(kv, crowd);
    }
    return r;
}

/* ---- everything once more ---- */

typedef struct roll {
    const crowd_t *crowd;
    unsigned client, i; /**< of the key that must come next */
} roll_t;

static int tick_off(const char *key, size_t size, void *arg) {
    roll_t *roll = arg;
    char next[64];
    key_of(next, roll->client, roll->i);
    if (size != strlen(next) || memcmp(key, next, size) != 0) {
        return wrong(next, "the list does not have it where it belongs");
    }
    do {
        roll->i++;
    } while (roll->i < roll->crowd->values && !stays(roll->i));
    if (roll->i == roll->crowd->values) {
        roll->client++;
        roll->i = 0;
    }
    return 0;
}

static int check_everything(key_value_t *kv, crowd_t *crowd) {
    roll_t roll = {.crowd = crowd, .client = 1};
    got_t sum;
    uint64_t number = 0;
    int r = key_value_list(kv, "client-", tick_off, &roll);
    if (r != 0 || roll.client != crowd->clients + 1) {
        return r == -1 ? r : wrong("list", r == 0 ? "it has too few keys" : ferry_last_error());
    }
    for (unsigned client = 1; client <= crowd->clients; client++) {
        for (unsigned i = 0; i < crowd->values; i++) {
            if (stays(i) && check_value(kv, crowd, client, i) < 0) {
                return -1;
            }
        }
    }
    if (key_value_get(kv, "sum", &sum) != 0) {
        return crew_failed("sum");
    }
    memcpy(&number, sum.value, sum.size == sizeof(number) ? sizeof(number) : 0);
    ferry_msg_release(sum.m);
    return number == (uint64_t)crowd->clients * crowd->counts ? 0 : wrong("sum", "somebody's counting was lost");
}

/* ---- the members ---- */

/** All meet three times: when the server serves, when all clients have done their work, when all was checked. */
static int client(ferry_t *node, unsigned number, crowd_t *crowd) {
    key_value_t kv = {.timeout = CREW_PATIENCE};
    unsigned all = crowd->clients + 1;
    if (crew_meet(node, all) < 0 || put_all(node, crowd, number) < 0) {
        return -1;
    }
    if (ferry_client_open(node, KEY_VALUE, NULL, &kv.client) < 0) {
        return crew_failed("opening a client");
    }
    if (use_all(&kv, crowd, number) < 0 || crew_meet(node, all) < 0 ||
        (number == 1 && check_everything(&kv, crowd) < 0) || crew_meet(node, all) < 0) {
        return -1;
    }
    return ferry_client_close(kv.client, CREW_PATIENCE, NULL) < 0 ? crew_failed("closing its client") : 0;
}

static int server(ferry_t *node, const crowd_t *crowd) {
    ferry_service_t *service;
    store_t *store = store_new();
    unsigned all = crowd->clients + 1;
    if (store == NULL || key_value_open(node, store, &service) < 0 ||
        ferry_service_start(service, crowd->servers) < 0) {
        return crew_failed("serving");
    }
    if (crew_meet(node, all) < 0 || crew_meet(node, all) < 0 || crew_meet(node, all) < 0) {
        return -1;
    }
    if (ferry_service_close(service, CREW_PATIENCE) < 0) {
        return crew_failed("closing the service");
    }
    store_free(store); /* only now: no handler runs any more */
    return 0;
}

static int member(ferry_t *node, unsigned number, void *crowd) {
    return number == 0 ? server(node, crowd) : client(node, number, crowd);
}

/* ---- the program ---- */

static void print_usage(FILE *out) {
    fputs("Usage: key-value-crowd [OPTION]...\n"
          "One server and many clients of the key-value service; every value is checked.\n"
          "\n"
          "  --threads       threads of one process; else each of them is a process\n"
          "  --clients N     1 to 63 (16)\n"
          "  --servers N     threads that serve, 1 to 16 (4)\n"
          "  --help          print this\n"
          "\n"
          "Ends with status 0 when every value was right.\n",
          out);
}

static void read_options(int argc, char **argv, crowd_t *crowd) {
    static const struct option options[] = {
        {"threads", no_argument, NULL, 't'},
        {"clients", required_argument, NULL, 'c'},
        {"servers", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 't':
            crowd->threads = true;
            break;
        case 'c':
            crowd->clients = crew_number("clients", optarg, 1, CREW_MOST - 1);
            break;
        case 's':
            crowd->servers = crew_number("servers", optarg, 1, 16);
            break;
        case 'h':
            print_usage(stdout);
            exit(0);
        default:
            print_usage(stderr);
            exit(2);
        }
    }
    if (optind != argc) {
        print_usage(stderr);
        exit(2);
    }
}

int main(int argc, char **argv) {
    crowd_t *crowd = crew_memory(sizeof(*crowd));
    *crowd = (crowd_t){.clients = 16, .servers = 4, .values = 60, .counts = 50};
    read_options(argc, argv, crowd);
    crew_t crew = {.work = member, .job = crowd, .members = crowd->clients + 1, .threads = crowd->threads};
    int64_t began = crew_now();
    if (crew_run(&crew) < 0) {
        return 1;
    }
    printf("%u clients, %s, and a server of %u threads: %u values were right, of up to %zu bytes;\n"
           "the sum is %u, where %u times somebody else was quicker. %.2f s\n",
           crowd->clients, crowd->threads ? "threads" : "processes", crowd->servers, crowd->checked, LARGE,
           crowd->clients * crowd->counts, crowd->lost_races, (double)(crew_now() - began) / 1e9);
    return 0;
}
