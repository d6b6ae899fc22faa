/* SPDX-License-Identifier: MIT */
#include "json_in.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 64 };

json_in_t json_in_of(const void *data, size_t len) {
    return (json_in_t){.at = data, .end = (const char *)data + len};
}

/* The next character that counts, which is not taken; 0: none, or all is over since it is bad. */
static char peek(json_in_t *in) {
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\n' || *in->at == '\t' || *in->at == '\r'))
        in->at++;
    return in->at < in->end && !in->bad ? *in->at : '\0';
}

static bool take(json_in_t *in, char c) {
    if (peek(in) != c || c == '\0') {
        in->bad = true;
        return false;
    }
    in->at++;
    return true;
}

void json_in_enter(json_in_t *in, char bracket) {
    in->fresh = take(in, bracket);
}

/* Leaves what ends with `bracket`, and returns false; or goes to what is next in it. */
static bool next(json_in_t *in, char bracket) {
    if (peek(in) == bracket) {
        in->at++;
        in->fresh = false;
        return false;
    }
    if (!in->fresh && !take(in, ','))
        return false;
    in->fresh = false;
    return !in->bad;
}

bool json_in_item(json_in_t *in) {
    return next(in, ']');
}

char *json_in_member(json_in_t *in) {
    char *key = next(in, '}') ? json_in_text(in) : NULL;

    if (key != NULL && take(in, ':'))
        return key;
    free(key);
    return NULL;
}

bool json_in_is_over(json_in_t *in) {
    return peek(in) == '\0' && in->at == in->end && !in->bad;
}

/* --- strings ----------------------------------------------------------------------------------------------------- */

/* Four hexadecimal digits; UINT32_MAX: they are not there. */
static uint32_t take_hex(json_in_t *in) {
    static const char digits[] = "0123456789abcdef";
    uint32_t code = 0;

    for (int i = 0; i < 4; i++) {
        int c = in->at < in->end ? *in->at : 0;
        if (c >= 'A' && c <= 'F')
            c += 'a' - 'A';
        const char *digit = c != 0 ? strchr(digits, c) : NULL;
        if (digit == NULL)
            return UINT32_MAX;
        code = code << 4 | (uint32_t)(digit - digits);
        in->at++;
    }
    return code;
}

/* Behind "\u": one character, which may be two of them. */
static uint32_t take_code(json_in_t *in) {
    uint32_t code = take_hex(in);

    if (code < 0xd800 || code >= 0xe000)
        return code;
    if (code >= 0xdc00 || in->end - in->at < 2 || in->at[0] != '\\' || in->at[1] != 'u')
        return UINT32_MAX;
    in->at += 2;
    uint32_t low = take_hex(in);
    if (low < 0xdc00 || low >= 0xe000)
        return UINT32_MAX;
    return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
}

/* As UTF-8; returns the place behind it. */
static char *put_code(char *to, uint32_t code) {
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *to++ = (char)(0xe0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    } else {
        *to++ = (char)(0xf0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3f));
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    }
    return to;
}

/* What follows a backslash. NULL: nothing that may. */
static char *put_escaped(json_in_t *in, char *to) {
    static const char letters[] = "\"\\/bfnrt";
    static const char meant[] = "\"\\/\b\f\n\r\t";
    char c = '\0';

    if (in->at < in->end)
        c = *in->at++;
    if (c == 'u') {
        uint32_t code = take_code(in);
        return code != 0 && code != UINT32_MAX ? put_code(to, code) : NULL;
    }
    const char *letter = c != '\0' ? strchr(letters, c) : NULL;
    if (letter == NULL)
        return NULL;
    *to = meant[letter - letters];
    return to + 1;
}

/* The text never is longer than what it is written as. */
char *json_in_text(json_in_t *in) {
    char *text = take(in, '"') ? malloc((size_t)(in->end - in->at) + 1) : NULL;
    char *to = text;

    while (to != NULL && in->at < in->end && *in->at != '"') {
        char c = *in->at++;
        if (c == '\\')
            to = put_escaped(in, to);
        else if ((unsigned char)c < 0x20)
            to = NULL;
        else
            *to++ = c;
    }
    if (to == NULL || in->at == in->end) {
        free(text);
        in->bad = true;
        return NULL;
    }
    in->at++;
    *to = '\0';
    char *fitting = realloc(text, (size_t)(to - text) + 1);
    return fitting != NULL ? fitting : text;
}

/* --- others ------------------------------------------------------------------------------------------------------ */

static bool take_word(json_in_t *in, const char *word) {
    size_t len = strlen(word);

    if ((size_t)(in->end - in->at) < len || memcmp(in->at, word, len) != 0)
        return false;
    in->at += len;
    return true;
}

bool json_in_bool(json_in_t *in) {
    bool yes = peek(in) == 't' && take_word(in, "true");

    if (!yes && !(peek(in) == 'f' && take_word(in, "false")))
        in->bad = true;
    return yes;
}

static void skip_number(json_in_t *in) {
    static const char signs[] = "+-.0123456789eE";
    const char *before = in->at;

    while (in->at < in->end && *in->at != '\0' && strchr(signs, *in->at) != NULL)
        in->at++;
    in->bad = in->bad || in->at == before;
}

static void skip(json_in_t *in, int depth);

static void skip_inside(json_in_t *in, char bracket, int depth) {
    char *key;

    if (depth > DEEPEST) {
        in->bad = true;
        return;
    }
    json_in_enter(in, bracket);
    while (bracket == '[' && json_in_item(in))
        skip(in, depth);
    while (bracket == '{' && (key = json_in_member(in)) != NULL) {
        free(key);
        skip(in, depth);
    }
}

static void skip(json_in_t *in, int depth) {
    char c = peek(in);

    if (c == '{' || c == '[')
        skip_inside(in, c, depth + 1);
    else if (c == '"')
        free(json_in_text(in));
    else if (c == 't' || c == 'f')
        (void)json_in_bool(in);
    else if (c == 'n')
        in->bad = !take_word(in, "null") || in->bad;
    else
        skip_number(in);
}

void json_in_skip(json_in_t *in) {
    skip(in, 0);
}
