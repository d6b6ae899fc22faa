/* SPDX-License-Identifier: MIT
 *
 * report.h - results: one JSON object per run on a line of its own, or a table for people; and at the end how each
 * figure stands to its target.
 */
#ifndef FERRY_BENCH_REPORT_H
#define FERRY_BENCH_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/stats.h"

typedef enum bench_unit {
    BENCH_TEXT,
    BENCH_NS,
    BENCH_PER_SECOND,
    BENCH_BYTES,
    BENCH_RATIO,
    BENCH_NUMBER,
    BENCH_FLAG
} bench_unit_t;

enum { BENCH_MAX_FIELDS = 40, BENCH_MAX_TARGETS = 100 };

typedef struct bench_field {
    const char *name;  /* in JSON */
    const char *title; /* in the table; NULL: JSON only */
    bench_unit_t unit;
    double number;
    const char *text;
} bench_field_t;

typedef struct bench_row {
    size_t n;
    bench_field_t field[BENCH_MAX_FIELDS];
} bench_row_t;

typedef struct bench_target {
    char what[96];
    const char *name;
    bench_unit_t unit;
    double value;
    double bound;
    bool at_most;
    bool disturbed;
} bench_target_t;

typedef struct bench_report {
    bool json;
    char titles[512]; /* of the table so far; a row with other titles begins a new one */
    size_t n_targets;
    bench_target_t target[BENCH_MAX_TARGETS];
} bench_report_t;

/* Fields stand in the order they are added. Strings must outlive the row. */
void bench_row_text(bench_row_t *row, const char *name, const char *title, const char *text);
void bench_row_add(bench_row_t *row, const char *name, const char *title, bench_unit_t unit, double number);
/* Adds "disturbed" and "repeats". */
void bench_row_quality(bench_row_t *row, const bench_quality_t *quality);

void bench_report_row(bench_report_t *report, const bench_row_t *row);

/* Notes that the row's field `name` should be at most (or at least) `bound`. */
void bench_report_target(bench_report_t *report, const bench_row_t *row, const char *name, bool at_most, double bound);

/* Writes the table of targets, if there are any. */
void bench_report_end(bench_report_t *report);

#endif
