/* SPDX-License-Identifier: MIT */
#include "ring/ring_writer.h"

void fi_ringw_init(fi_ringw_t *w, void *bytes, uint32_t lines) {
    w->head = bytes;
    w->data = (unsigned char *)bytes + sizeof(struct fi_ring_head);
    w->lines = lines;
    w->idx = 0;
    w->pos = lines;
    w->limit = w->silent = 2 * (uint64_t)lines;
    w->ahead = 0;
    w->head->ident.version = FI_LAYOUT_VERSION;
    w->head->ident.fingerprint = FI_LAYOUT_FINGERPRINT;
    w->head->ident.lines = lines;
    w->head->shared.oldest = lines;
    w->head->shared.reserve = lines;
    fi_store_release64(&w->head->ident.magic, FI_RING_MAGIC);
}

void fi_ringw_pad(fi_ringw_t *w) {
    struct fi_record *r = fi_ringw_at(w, w->idx);

    fi_store_relaxed64(&fi_ringw_at(w, 0)->word, 0);
    fi_store_relaxed64(&r->seq, 0);
    fi_store_release64(&r->word, fi_record_word(0, FI_REC_PAD, 0, 0)); /* R1 */
    w->pos += w->lines - w->idx;
    w->idx = 0;
}

uint64_t fi_ringw_walk(const fi_ringw_t *w, uint64_t *pos) {
    uint32_t idx = (uint32_t)(*pos % w->lines);
    uint64_t word = fi_load_relaxed64(&fi_ringw_at(w, idx)->word);

    if (fi_word_kind(word) == FI_REC_PAD) {
        *pos += w->lines - idx;
    } else {
        *pos += fi_record_lines(fi_word_len(word), fi_word_flags(word));
    }
    return word;
}
