/* SPDX-License-Identifier: MIT */
#include "units.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

typedef struct unit {
    const char *name;
    double factor;
} unit_t;

static const unit_t durations[] = {
    {"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"min", 60e9}, {"h", 3600e9}, {"d", 86400e9},
};

static const unit_t sizes[] = {
    {"", 1},         {"B", 1},      {"K", 0x1p10},   {"KiB", 0x1p10}, {"kB", 1e3},
    {"KB", 1e3},     {"M", 0x1p20}, {"MiB", 0x1p20}, {"MB", 1e6},     {"G", 0x1p30},
    {"GiB", 0x1p30}, {"GB", 1e9},   {"T", 0x1p40},   {"TiB", 0x1p40}, {"TB", 1e12},
};

/* Splits "1.5s" into 1.5 and "s". strtod alone would take "inf", "0x10", "-1" and " 1" for numbers. */
static bool split(const char *text, double *number, const char **unit) {
    size_t digits = strspn(text, "0123456789.");
    char plain[40];
    char *end;

    if (!isdigit((unsigned char)text[0]) || digits >= sizeof plain)
        return false;
    memcpy(plain, text, digits);
    plain[digits] = '\0';
    *number = strtod(plain, &end);
    *unit = text + digits;
    return *end == '\0';
}

static bool scale(const char *text, const unit_t *units, size_t n, double limit, double *value) {
    double number;
    const char *unit;

    if (!split(text, &number, &unit))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(unit, units[i].name) == 0) {
            *value = number * units[i].factor;
            return *value < limit;
        }
    }
    return false;
}

bool parse_duration(const char *text, int64_t *ns) {
    double value;

    if (strcmp(text, "forever") == 0) {
        *ns = -1;
        return true;
    }
    if (!scale(text, durations, sizeof durations / sizeof durations[0], 0x1p63, &value))
        return false;
    *ns = (int64_t)value;
    return true;
}

bool parse_size(const char *text, uint64_t *bytes) {
    double value;

    if (!scale(text, sizes, sizeof sizes / sizeof sizes[0], 0x1p63, &value))
        return false;
    *bytes = (uint64_t)value;
    return true;
}

bool parse_count(const char *text, uint64_t *count) {
    char *end;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*end != '\0' || errno == ERANGE)
        return false;
    *count = value;
    return true;
}

const char *show_count(uint64_t count, char *text) {
    char plain[24];
    int digits = snprintf(plain, sizeof plain, "%llu", (unsigned long long)count);
    size_t at = 0;

    for (int i = 0; i < digits; i++) {
        if (i > 0 && (digits - i) % 3 == 0)
            text[at++] = ',';
        text[at++] = plain[i];
    }
    text[at] = '\0';
    return text;
}

const char *show_bytes(double bytes, char *text) {
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;

    while (bytes >= 1024 && unit + 1 < sizeof names / sizeof names[0]) {
        bytes /= 1024;
        unit++;
    }
    snprintf(text, UNITS_TEXT, "%.*f %s", unit > 0 && bytes < 100 ? 1 : 0, bytes, names[unit]);
    return text;
}

const char *show_duration(double ns, char *text) {
    if (ns < 1e3)
        snprintf(text, UNITS_TEXT, "%.0f ns", ns);
    else if (ns < 1e6)
        snprintf(text, UNITS_TEXT, "%.1f us", ns / 1e3);
    else if (ns < 1e9)
        snprintf(text, UNITS_TEXT, "%.1f ms", ns / 1e6);
    else if (ns < 120e9)
        snprintf(text, UNITS_TEXT, "%.1f s", ns / 1e9);
    else if (ns < 7200e9)
        snprintf(text, UNITS_TEXT, "%.0f min", floor(ns / 60e9));
    else if (ns < 172800e9)
        snprintf(text, UNITS_TEXT, "%.0f h", floor(ns / 3600e9));
    else
        snprintf(text, UNITS_TEXT, "%.0f d", floor(ns / 86400e9));
    return text;
}

int64_t now_ns(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int poll_timeout(int64_t ns) {
    if (ns < 0)
        return -1;
    int64_t ms = ns / 1000000 + (ns % 1000000 != 0);
    return ms < INT_MAX ? (int)ms : INT_MAX;
}
