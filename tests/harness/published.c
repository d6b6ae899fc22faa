/* SPDX-License-Identifier: MIT
 *
 * published.c - see published.h.
 */
#define FERRY_TESTS_SHORT_FORMS
#include "published.h"

#include <string.h>

ferry_region_writer_t *open_writer(ferry_t *node, const char *name, uint64_t bytes,
                                   const ferry_region_writer_options_t *options) {
    ferry_region_writer_t *writer = NULL;
    check_is(ferry_region_writer_open(node, name, bytes, options, &writer), 0);
    check(writer != NULL);
    return writer;
}

ferry_region_reader_t *open_reader(ferry_t *node, const char *name, const ferry_region_reader_options_t *options) {
    ferry_region_reader_t *reader = NULL;
    check_is(ferry_region_reader_open(node, name, options, &reader), 0);
    check(reader != NULL);
    return reader;
}

void close_writer(ferry_region_writer_t *writer) {
    check_is(ferry_region_writer_close(writer), 0);
}

void close_reader(ferry_region_reader_t *reader) {
    check_is(ferry_region_reader_close(reader), 0);
}

uint64_t publish(ferry_region_writer_t *writer) {
    uint64_t version = 0;
    check_is(ferry_region_publish(writer, PATIENCE, &version), 0);
    check(version > 0);
    return version;
}

ferry_region_view_t *view_newest(ferry_region_reader_t *reader) {
    ferry_region_view_t *view = NULL;
    check_is(ferry_region_view(reader, PATIENCE, &view), 0);
    check(view != NULL && ferry_view_data(view) != NULL && ferry_view_version(view) > 0);
    return view;
}

void stop_viewing(ferry_region_view_t *view) {
    check_is(ferry_view_release(view), 0);
}

ferry_region_writer_stats_t writer_stats(ferry_region_writer_t *writer) {
    ferry_region_writer_stats_t stats = {.size = sizeof stats};
    check_is(ferry_region_writer_stats(writer, &stats), 0);
    return stats;
}

void stamp(ferry_region_writer_t *writer, uint64_t bytes, uint64_t number) {
    char *data = ferry_region_writer_data(writer);
    for (uint64_t at = 0; at + sizeof number <= bytes; at += GRANULE)
        memcpy(data + at, &number, sizeof number);
    check_is(ferry_region_touch(writer, data, bytes), 0);
}

bool stamped(const ferry_region_view_t *view, uint64_t number) {
    const char *data = ferry_view_data(view);
    uint64_t found = number;
    for (uint64_t at = 0; found == number && at + sizeof found <= ferry_view_size(view); at += GRANULE)
        memcpy(&found, data + at, sizeof found);
    return found == number;
}

bool is_whole(const ferry_region_view_t *view) {
    return stamped(view, ferry_view_version(view));
}
