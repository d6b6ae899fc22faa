/* SPDX-License-Identifier: MIT
 *
 * short.c - Ferry's calls as most tests need them: failing when the call fails.
 */
#define FERRY_TESTS_SHORT_FORMS
#include "harness.h"

#include <string.h>

ferry_t *open_node(const char *space) {
    ferry_t *node = NULL;
    check_is(ferry_open(space, NULL, &node), 0);
    check(node != NULL);
    return node;
}

void close_node(ferry_t *node) {
    check_is(ferry_close(node), 0);
}

ferry_sender_t *open_sender(ferry_t *node, const char *channel, ferry_kind_t kind, const ferry_contract_t *contract) {
    ferry_sender_t *tx = NULL;
    check_is(ferry_sender_open(node, channel, kind, contract, &tx), 0);
    check(tx != NULL);
    return tx;
}

ferry_receiver_t *open_receiver(ferry_t *node, const char *channel, ferry_kind_t kind,
                                const ferry_receiver_options_t *options) {
    ferry_receiver_t *rx = NULL;
    check_is(ferry_receiver_open(node, channel, kind, options, &rx), 0);
    check(rx != NULL);
    return rx;
}

void close_sender(ferry_sender_t *tx) {
    uint64_t undelivered = 1;
    check_is(ferry_sender_close(tx, PATIENCE, &undelivered), 0);
    check_is(undelivered, 0);
}

uint64_t drop_sender(ferry_sender_t *tx) {
    uint64_t undelivered = 0;
    check_is(ferry_sender_close(tx, FERRY_NOW, &undelivered), 0);
    return undelivered;
}

void close_receiver(ferry_receiver_t *rx) {
    check_is(ferry_receiver_close(rx), 0);
}

void send_number(ferry_sender_t *tx, uint64_t number) {
    check_is(ferry_send(tx, &number, sizeof number, PATIENCE), 0);
}

uint64_t receive_number(ferry_receiver_t *rx) {
    ferry_msg_t *m = receive(rx);
    uint64_t number = number_in(m);
    release(m);
    return number;
}

ferry_msg_t *receive(ferry_receiver_t *rx) {
    ferry_msg_t *m = NULL;
    check_is(ferry_recv(rx, PATIENCE, &m), 0);
    check(m != NULL);
    return m;
}

ferry_msg_t *receive_once_linked(ferry_receiver_t *rx) {
    ferry_msg_t *m = NULL;
    int answer;
    while ((answer = ferry_recv(rx, PATIENCE, &m)) == -EPIPE)
        nap(5 * MILLISECOND);
    check_is(answer, 0);
    return m;
}

void release(ferry_msg_t *m) {
    check_is(ferry_msg_release(m), 0);
}

uint64_t number_in(const ferry_msg_t *m) {
    uint64_t number;
    check_is(ferry_msg_size(m), sizeof number);
    memcpy(&number, ferry_msg_data(m), sizeof number);
    return number;
}

ferry_msg_info_t info_of(const ferry_msg_t *m) {
    ferry_msg_info_t info = {.size = sizeof info};
    check_is(ferry_msg_info(m, &info), 0);
    return info;
}

ferry_sender_stats_t sender_stats(ferry_sender_t *tx) {
    ferry_sender_stats_t stats = {.size = sizeof stats};
    check_is(ferry_sender_stats(tx, &stats), 0);
    return stats;
}

ferry_receiver_stats_t receiver_stats(ferry_receiver_t *rx) {
    ferry_receiver_stats_t stats = {.size = sizeof stats};
    check_is(ferry_receiver_stats(rx, &stats), 0);
    return stats;
}
