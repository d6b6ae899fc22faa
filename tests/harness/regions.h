/* SPDX-License-Identifier: MIT
 *
 * regions.h - regions as tests need them: short forms that fail when the call fails.
 */
#ifndef FERRY_TESTS_REGIONS_H
#define FERRY_TESTS_REGIONS_H

#include "harness.h"

#define KIB ((uint64_t)1024)
#define MIB (1024 * KIB)

ferry_region_t *open_region(ferry_t *node, const char *name, uint64_t bytes, const ferry_region_options_t *options);
/** With a root object of this size. */
ferry_region_t *open_region_with_root(ferry_t *node, const char *name, uint64_t bytes, uint64_t root);
void close_region(ferry_region_t *region);
ferry_ref_t allocate(ferry_region_t *region, uint64_t bytes);
void free_block(ferry_region_t *region, ferry_ref_t ref);
ferry_region_info_t info_of_region(ferry_region_t *region);

#ifndef FERRY_TESTS_SHORT_FORMS
#define open_region(node, name, bytes, options)                                                                        \
    (called_from(__FILE__, __LINE__), open_region(node, name, bytes, options))
#define open_region_with_root(node, name, bytes, root)                                                                 \
    (called_from(__FILE__, __LINE__), open_region_with_root(node, name, bytes, root))
#define close_region(region) (called_from(__FILE__, __LINE__), close_region(region))
#define allocate(region, bytes) (called_from(__FILE__, __LINE__), allocate(region, bytes))
#define free_block(region, ref) (called_from(__FILE__, __LINE__), free_block(region, ref))
#define info_of_region(region) (called_from(__FILE__, __LINE__), info_of_region(region))
#endif

#endif
