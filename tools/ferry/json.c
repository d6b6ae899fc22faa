/* SPDX-License-Identifier: MIT */
#include "json.h"

#include <inttypes.h>

static void one(FILE *out, unsigned char c) {
    if (c == '"' || c == '\\')
        fprintf(out, "\\%c", c);
    else if (c < 0x20 || c == 0x7f)
        fprintf(out, "\\u%04x", c);
    else
        fputc(c, out);
}

static void escaped(FILE *out, const char *text) {
    fputc('"', out);
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if (*c >= 0x7f) /* as Latin-1: no byte of a file name is lost, and it is always valid */
            fprintf(out, "\\u%04x", *c);
        else
            one(out, *c);
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

/* --- bytes ------------------------------------------------------------------------------------------------------- */

/* Bytes of the character that begins here, as RFC 3629 allows it; 0: none does. */
static size_t utf8_character(const unsigned char *at, size_t left) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t bytes = at[0] < 0x80 ? 1 : at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    uint32_t code = at[0] & (0x7fu >> bytes);

    if (bytes == 1)
        return 1;
    if (at[0] < 0xc0 || at[0] >= 0xf8 || bytes > left)
        return 0;
    for (size_t i = 1; i < bytes; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (at[i] & 0x3fu);
    }
    bool surrogate = code >= 0xd800 && code < 0xe000;
    return code >= least[bytes] && code < 0x110000 && !surrogate ? bytes : 0;
}

static bool is_utf8(const unsigned char *data, size_t len) {
    for (size_t at = 0; at < len;) {
        size_t bytes = utf8_character(data + at, len - at);
        if (bytes == 0)
            return false;
        at += bytes;
    }
    return true;
}

static void base64(FILE *out, const unsigned char *data, size_t len) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t at = 0; at < len; at += 3) {
        size_t have = len - at < 3 ? len - at : 3;
        uint32_t bits = 0;
        for (size_t i = 0; i < 3; i++)
            bits = bits << 8 | (i < have ? data[at + i] : 0u);
        for (size_t i = 0; i < 4; i++)
            fputc(i <= have ? digits[bits >> (18 - 6 * i) & 63] : '=', out);
    }
}

void json_bytes(json_t *j, const void *data, size_t len) {
    const unsigned char *bytes = data;
    bool text = is_utf8(bytes, len);

    begin(j, text ? "value" : "base64");
    fputc('"', j->out);
    if (text) {
        for (size_t i = 0; i < len; i++)
            one(j->out, bytes[i]);
    } else {
        base64(j->out, bytes, len);
    }
    fputc('"', j->out);
}
