/* SPDX-License-Identifier: MIT */
#include "json.h"

#include <inttypes.h>

static void escaped(FILE *out, const char *text) {
    fputc('"', out);
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else if (*c < 0x20 || *c >= 0x7f) /* as Latin-1: no byte of a file name is lost, and it is always valid */
            fprintf(out, "\\u%04x", *c);
        else
            fputc(*c, out);
    }
    fputc('"', out);
}

static void begin(json_t *j, const char *key) {
    if (j->follows)
        fputs(",", j->out);
    j->follows = true;
    if (key != NULL) {
        escaped(j->out, key);
        fputc(':', j->out);
    }
}

void json_open(json_t *j, const char *key, char bracket) {
    begin(j, key);
    fputc(bracket, j->out);
    j->follows = false;
}

void json_close(json_t *j, char bracket) {
    fputc(bracket, j->out);
    j->follows = true;
}

void json_text(json_t *j, const char *key, const char *value) {
    begin(j, key);
    escaped(j->out, value);
}

void json_count(json_t *j, const char *key, uint64_t value) {
    begin(j, key);
    fprintf(j->out, "%" PRIu64, value);
}

void json_signed(json_t *j, const char *key, int64_t value) {
    begin(j, key);
    fprintf(j->out, "%" PRId64, value);
}

void json_number(json_t *j, const char *key, double value) {
    begin(j, key);
    fprintf(j->out, "%.1f", value);
}

void json_bool(json_t *j, const char *key, bool value) {
    begin(j, key);
    fputs(value ? "true" : "false", j->out);
}
