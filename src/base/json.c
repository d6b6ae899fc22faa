/* SPDX-License-Identifier: MIT */
#include "base/json.h"

#include <stdint.h>

/* Bytes of the character that begins here, as RFC 3629 allows it; 0: none does. A 0 ends the text, and is in none. */
static unsigned utf8_character(const unsigned char *at) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned bytes = at[0] < 0x80 ? 1 : at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    uint32_t code = at[0] & (0x7fu >> bytes);

    if (bytes == 1) {
        return 1;
    }
    if (at[0] < 0xc0 || at[0] >= 0xf8) {
        return 0;
    }
    for (unsigned i = 1; i < bytes; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (at[i] & 0x3fu);
    }
    return code >= least[bytes] && code < 0x110000 && (code < 0xd800 || code >= 0xe000) ? bytes : 0;
}

static void put_character(FILE *f, const unsigned char *c, unsigned bytes) {
    if (bytes == 0) {
        fputs("\\ufffd", f);
    } else if (*c == '"' || *c == '\\') {
        fprintf(f, "\\%c", *c);
    } else if (*c < ' ') {
        fprintf(f, "\\u%04x", *c);
    } else {
        (void)fwrite(c, 1, bytes, f);
    }
}

void fi_json_text(FILE *f, const char *text) {
    unsigned bytes;

    fputc('"', f);
    for (const unsigned char *c = (const unsigned char *)text; *c; c += bytes ? bytes : 1) {
        bytes = utf8_character(c);
        put_character(f, c, bytes);
    }
    fputc('"', f);
}
