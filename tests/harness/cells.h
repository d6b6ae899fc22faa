/* SPDX-License-Identifier: MIT
 *
 * cells.h - cells as tests need them: short forms that fail when the call fails.
 */
#ifndef FERRY_TESTS_CELLS_H
#define FERRY_TESTS_CELLS_H

#include "harness.h"

ferry_cell_t *open_cell(ferry_t *node, const char *name, const ferry_cell_options_t *options);
/** `count` cells, each for a number. */
ferry_cell_t *open_cells(ferry_t *node, const char *name, uint32_t count);
void close_cell(ferry_cell_t *cell);
/** Puts 8 bytes; the version that they became. */
uint64_t put_number(ferry_cell_t *cell, uint32_t index, uint64_t number);
/** Gets 8 bytes. `version` may be NULL. */
uint64_t get_number(ferry_cell_t *cell, uint32_t index, uint64_t *version);
uint64_t version_of(ferry_cell_t *cell, uint32_t index);
/** Becomes the descriptor readable within that time? */
bool is_readable(int fd, int timeout_ms);

#ifndef FERRY_TESTS_SHORT_FORMS
#define open_cell(node, name, options) (called_from(__FILE__, __LINE__), open_cell(node, name, options))
#define open_cells(node, name, count) (called_from(__FILE__, __LINE__), open_cells(node, name, count))
#define close_cell(cell) (called_from(__FILE__, __LINE__), close_cell(cell))
#define put_number(cell, index, number) (called_from(__FILE__, __LINE__), put_number(cell, index, number))
#define get_number(cell, index, version) (called_from(__FILE__, __LINE__), get_number(cell, index, version))
#define version_of(cell, index) (called_from(__FILE__, __LINE__), version_of(cell, index))
#endif

#endif
