/* SPDX-License-Identifier: MIT */
#define FERRY_TESTS_SHORT_FORMS
#include "cells.h"

#include <poll.h>

ferry_cell_t *open_cell(ferry_t *node, const char *name, const ferry_cell_options_t *options) {
    ferry_cell_t *cell = NULL;
    check_is(ferry_cell_open(node, name, options, &cell), 0);
    return cell;
}

ferry_cell_t *open_cells(ferry_t *node, const char *name, uint32_t count) {
    ferry_cell_options_t options = {.max_bytes = sizeof(uint64_t), .count = count};
    return open_cell(node, name, &options);
}

void close_cell(ferry_cell_t *cell) {
    check_is(ferry_cell_close(cell), 0);
}

uint64_t put_number(ferry_cell_t *cell, uint32_t index, uint64_t number) {
    uint64_t version = 0;
    check_is(ferry_cell_put_at(cell, index, &number, sizeof number, &version), 0);
    check(version != 0);
    return version;
}

uint64_t get_number(ferry_cell_t *cell, uint32_t index, uint64_t *version) {
    uint64_t number = 0;
    size_t len = 0;
    check_is(ferry_cell_get_at(cell, index, &number, sizeof number, &len, version), 0);
    check_is(len, sizeof number);
    return number;
}

uint64_t version_of(ferry_cell_t *cell, uint32_t index) {
    uint64_t version = 0;
    check_is(ferry_cell_version(cell, index, &version), 0);
    return version;
}

bool is_readable(int fd, int timeout_ms) {
    struct pollfd item = {.fd = fd, .events = POLLIN};
    int ready = poll(&item, 1, timeout_ms);
    check(ready >= 0);
    return ready == 1 && (item.revents & POLLIN);
}
