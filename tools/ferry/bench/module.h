/* SPDX-License-Identifier: MIT
 *
 * module.h - finds and loads what was built of bench-peers/: it lies in a folder of that name beside the command.
 */
#ifndef FERRY_BENCH_MODULE_H
#define FERRY_BENCH_MODULE_H

#include <stdbool.h>
#include <stddef.h>

enum { BENCH_MODULE_PATH = 4200 };

/* Tells where the module is, or would be; false: it was not built. */
bool bench_module_find(const char *file, char *path, size_t cap) __attribute__((nonnull));

/* What the module has under that name; NULL: it cannot be loaded (said). */
const void *bench_module_load(const char *path, const char *symbol);

#endif
