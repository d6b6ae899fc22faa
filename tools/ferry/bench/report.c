/* SPDX-License-Identifier: MIT */
#include "bench/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "say.h"
#include "units.h"

enum { COLUMN = 10, CELL = 64 };

void bench_row_text(bench_row_t *row, const char *name, const char *title, const char *text) {
    if (row->n < BENCH_MAX_FIELDS)
        row->field[row->n++] = (bench_field_t){.name = name, .title = title, .unit = BENCH_TEXT, .text = text};
}

void bench_row_add(bench_row_t *row, const char *name, const char *title, bench_unit_t unit, double number) {
    if (row->n < BENCH_MAX_FIELDS)
        row->field[row->n++] = (bench_field_t){.name = name, .title = title, .unit = unit, .number = number};
}

void bench_row_quality(bench_row_t *row, const bench_quality_t *quality) {
    bool disturbed = bench_is_disturbed(quality->spread);
    const char *note = disturbed ? "disturbed" : quality->repeats > 0 ? "repeated" : "";

    bench_row_add(row, "limit_spread", NULL, BENCH_RATIO, quality->spread);
    bench_row_add(row, "disturbed", NULL, BENCH_FLAG, disturbed);
    bench_row_add(row, "repeats", NULL, BENCH_NUMBER, quality->repeats);
    row->field[row->n - 1].text = note; /* the table's remark */
    row->field[row->n - 1].title = "run";
}

/* --- one value --------------------------------------------------------------------------------------------------- */

static const char *show_rate(double rate, char *cell) {
    if (rate >= 1e6)
        snprintf(cell, CELL, "%.1f M/s", rate / 1e6);
    else if (rate >= 1e3)
        snprintf(cell, CELL, "%.1f k/s", rate / 1e3);
    else
        snprintf(cell, CELL, "%.0f /s", rate);
    return cell;
}

static const char *show_ns(double ns, char *cell) {
    if (ns < 1e3)
        snprintf(cell, CELL, "%.1f ns", ns);
    else
        show_duration(ns, cell);
    return cell;
}

static const char *show_number(bench_unit_t unit, double number, char *cell) {
    if (isnan(number)) {
        snprintf(cell, CELL, "-");
        return cell;
    }
    switch (unit) {
    case BENCH_NS:
        return show_ns(number, cell);
    case BENCH_PER_SECOND:
        return show_rate(number, cell);
    case BENCH_BYTES:
        return show_bytes(number, cell);
    case BENCH_RATIO:
        snprintf(cell, CELL, "%.3f", number);
        return cell;
    default:
        snprintf(cell, CELL, "%.*f", number == floor(number) ? 0 : 2, number);
        return cell;
    }
}

static const char *show_field(const bench_field_t *field, char *cell) {
    if (field->text != NULL) {
        snprintf(cell, CELL, "%s", field->text);
        return cell;
    }
    return show_number(field->unit, field->number, cell);
}

/* --- JSON -------------------------------------------------------------------------------------------------------- */

static void json_field(const bench_field_t *field) {
    printf("\"%s\":", field->name);
    if (field->unit == BENCH_TEXT)
        printf("\"%s\"", field->text); /* all texts are the benchmark's own words */
    else if (field->unit == BENCH_FLAG)
        printf("%s", field->number != 0 ? "true" : "false");
    else if (!isfinite(field->number))
        printf("null");
    else if (field->unit == BENCH_NS || field->unit == BENCH_RATIO)
        printf("%.4f", field->number);
    else
        printf("%.*f", field->number == floor(field->number) ? 0 : 3, field->number);
}

static void json_row(const bench_row_t *row) {
    for (size_t i = 0; i < row->n; i++) {
        putchar(i == 0 ? '{' : ',');
        json_field(&row->field[i]);
    }
    puts("}");
}

/* --- the table --------------------------------------------------------------------------------------------------- */

static int width_of(const bench_field_t *field) {
    int width = field->title != NULL ? (int)strlen(field->title) : 0;

    return width > COLUMN ? width : COLUMN;
}

static void table_header(bench_report_t *report, const bench_row_t *row) {
    char titles[sizeof report->titles] = "";
    size_t len = 0;

    for (size_t i = 0; i < row->n && len < sizeof titles; i++) {
        if (row->field[i].title != NULL)
            len += (size_t)snprintf(titles + len, sizeof titles - len, "%*s ", width_of(&row->field[i]),
                                    row->field[i].title);
    }
    if (strcmp(titles, report->titles) == 0)
        return;
    printf("%s%s\n", report->titles[0] != '\0' ? "\n" : "", titles);
    memcpy(report->titles, titles, sizeof titles);
}

static void table_row(bench_report_t *report, const bench_row_t *row) {
    table_header(report, row);
    for (size_t i = 0; i < row->n; i++) {
        char cell[CELL];
        if (row->field[i].title != NULL)
            printf("%*s ", width_of(&row->field[i]), show_field(&row->field[i], cell));
    }
    printf("\n");
}

void bench_report_row(bench_report_t *report, const bench_row_t *row) {
    say_wipe();
    if (report->json)
        json_row(row);
    else
        table_row(report, row);
    fflush(stdout);
}

/* --- targets ----------------------------------------------------------------------------------------------------- */

/* Names a row by the words it begins with. */
static void name_row(const bench_row_t *row, char *what, size_t cap) {
    size_t len = 0;

    what[0] = '\0';
    for (size_t i = 0; i < row->n && len < cap; i++) {
        const bench_field_t *field = &row->field[i];
        char cell[CELL];
        bool is_key = field->unit == BENCH_TEXT || strcmp(field->name, "size") == 0 ||
                      strcmp(field->name, "senders") == 0 || strcmp(field->name, "receivers") == 0 ||
                      strcmp(field->name, "count") == 0 || strcmp(field->name, "processes") == 0 ||
                      strcmp(field->name, "dirty") == 0 || strcmp(field->name, "outstanding") == 0 ||
                      strcmp(field->name, "clients") == 0;
        if (is_key && field->title != NULL)
            len += (size_t)snprintf(what + len, cap - len, "%s%s", len > 0 ? ", " : "", show_field(field, cell));
    }
}

void bench_report_target(bench_report_t *report, const bench_row_t *row, const char *name, bool at_most, double bound) {
    bench_target_t target = {.name = name, .at_most = at_most, .bound = bound, .value = NAN};

    if (report->n_targets == BENCH_MAX_TARGETS)
        return;
    name_row(row, target.what, sizeof target.what);
    for (size_t i = 0; i < row->n; i++) {
        if (strcmp(row->field[i].name, name) == 0) {
            target.value = row->field[i].number;
            target.unit = row->field[i].unit;
        }
        if (strcmp(row->field[i].name, "disturbed") == 0)
            target.disturbed = row->field[i].number != 0;
    }
    report->target[report->n_targets++] = target;
}

static const char *verdict(const bench_target_t *t) {
    bool met = t->at_most ? t->value <= t->bound : t->value >= t->bound;

    return met ? t->disturbed ? "met, disturbed" : "met" : t->disturbed ? "missed, disturbed" : "missed";
}

void bench_report_end(bench_report_t *report) {
    if (report->json || report->n_targets == 0)
        return;
    printf("\n%-64s %-20s %11s    %-11s\n", "measured", "figure", "is", "target");
    for (size_t i = 0; i < report->n_targets; i++) {
        const bench_target_t *t = &report->target[i];
        char value[CELL];
        char bound[CELL];
        show_number(t->unit, t->value, value);
        show_number(t->unit, t->bound, bound);
        printf("%-64s %-20s %11s %s %-11s %s\n", t->what, t->name, value, t->at_most ? "<=" : ">=", bound, verdict(t));
    }
    fflush(stdout);
}
