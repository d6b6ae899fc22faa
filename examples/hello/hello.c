/* SPDX-License-Identifier: MIT
 *
 * hello.c - one message. In two terminals:  hello recv   and   hello send "Good morning"
 *
 * It does not matter which one comes first.  Both could as well be threads of one process, with not a word changed:
 * `hello` alone plays both roles.
 */
#include <ferry/ferry.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static const int64_t minute = (int64_t)60 * 1000 * 1000 * 1000;

static int failed(void) {
    fprintf(stderr, "hello: %s\n", ferry_last_error());
    return 1;
}

static int send_text(ferry_t *node, const char *text) {
    ferry_sender_t *tx;
    uint64_t lost = 0;
    if (ferry_sender_open(node, "hello", FERRY_QUEUE, NULL, &tx) < 0 ||
        ferry_send(tx, text, strlen(text), minute) < 0 ||
        ferry_sender_close(tx, minute, &lost) < 0) { /* waits until somebody has received it */
        return failed();
    }
    return lost == 0 ? 0 : 1;
}

static int recv_text(ferry_t *node) {
    ferry_receiver_t *rx;
    ferry_msg_t *m;
    if (ferry_receiver_open(node, "hello", FERRY_QUEUE, NULL, &rx) < 0 || ferry_recv(rx, minute, &m) < 0) {
        return failed();
    }
    printf("%.*s\n", (int)ferry_msg_size(m), (const char *)ferry_msg_data(m)); /* read where the sender wrote it */
    ferry_msg_release(m);
    return ferry_receiver_close(rx) == 0 ? 0 : 1;
}

static void *receiving_thread(void *node) {
    return recv_text(node) == 0 ? node : NULL;
}

static int both(ferry_t *node) {
    pthread_t thread;
    void *done = NULL;
    if (pthread_create(&thread, NULL, receiving_thread, node) != 0) {
        return 1;
    }
    int status = send_text(node, "Hello from another thread");
    pthread_join(thread, &done);
    return done != NULL ? status : 1;
}

int main(int argc, char **argv) {
    ferry_t *node;
    if (ferry_open("demo", NULL, &node) < 0) {
        return failed();
    }
    int status;
    if (argc == 3 && strcmp(argv[1], "send") == 0) {
        status = send_text(node, argv[2]);
    } else if (argc == 2 && strcmp(argv[1], "recv") == 0) {
        status = recv_text(node);
    } else {
        status = both(node);
    }
    ferry_close(node);
    return status;
}
