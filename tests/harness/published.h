/* SPDX-License-Identifier: MIT
 *
 * published.h - published regions as tests need them: short forms that fail when the call fails, and contents that show
 * which version they are of.
 */
#ifndef FERRY_TESTS_PUBLISHED_H
#define FERRY_TESTS_PUBLISHED_H

#include "harness.h"

/** Bytes that are copied together: what is touched counts as whole ones. */
#define GRANULE 64u

ferry_region_writer_t *open_writer(ferry_t *node, const char *name, uint64_t bytes,
                                   const ferry_region_writer_options_t *options);
ferry_region_reader_t *open_reader(ferry_t *node, const char *name, const ferry_region_reader_options_t *options);
void close_writer(ferry_region_writer_t *writer);
void close_reader(ferry_region_reader_t *reader);
/** Waits for room up to PATIENCE; returns the version. */
uint64_t publish(ferry_region_writer_t *writer);
/** Waits for a version up to PATIENCE. */
ferry_region_view_t *view_newest(ferry_region_reader_t *reader);
void stop_viewing(ferry_region_view_t *view);
ferry_region_writer_stats_t writer_stats(ferry_region_writer_t *writer);

/** Writes `number` into each granule of the region, and says that all of it has changed. */
void stamp(ferry_region_writer_t *writer, uint64_t bytes, uint64_t number);
/** Has each granule of the view this number? */
bool stamped(const ferry_region_view_t *view, uint64_t number);
/** Does the view have its own version in each granule? */
bool is_whole(const ferry_region_view_t *view);

#ifndef FERRY_TESTS_SHORT_FORMS
#define open_writer(node, name, bytes, options)                                                                        \
    (called_from(__FILE__, __LINE__), open_writer(node, name, bytes, options))
#define open_reader(node, name, options) (called_from(__FILE__, __LINE__), open_reader(node, name, options))
#define close_writer(writer) (called_from(__FILE__, __LINE__), close_writer(writer))
#define close_reader(reader) (called_from(__FILE__, __LINE__), close_reader(reader))
#define publish(writer) (called_from(__FILE__, __LINE__), publish(writer))
#define view_newest(reader) (called_from(__FILE__, __LINE__), view_newest(reader))
#define stop_viewing(view) (called_from(__FILE__, __LINE__), stop_viewing(view))
#define writer_stats(writer) (called_from(__FILE__, __LINE__), writer_stats(writer))
#define stamp(writer, bytes, number) (called_from(__FILE__, __LINE__), stamp(writer, bytes, number))
#endif

#endif
