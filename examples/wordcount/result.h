/* SPDX-License-Identifier: MIT
 *
 * result.h - the service "result", by which the collector answers questions about what was counted.
 *
 *     top    "10", or nothing for 10    the most frequent words, as text in the form of `uniq -c`
 *     count  a word                     how often it was seen, as text; error RESULT_NO_WORD if never
 *     all    -                          all words in the order of `sort`, as several pieces of such text
 *     done   -                          nothing more will be asked: the collector may leave
 *
 * Text, and not records: so anybody can ask, from the command line, too.
 */
#ifndef RESULT_H
#define RESULT_H

#include "wordcount.h"
#include "words.h"

#define RESULT_SERVICE "result"
#define RESULT_NO_WORD 1 /**< error of `count` */

/** Serves `n` words, sorted, until somebody calls `done`. Returns 0, or -1 after it has said what went wrong. */
int result_serve(ferry_t *node, const word_record_t *const *sorted, size_t n);
/** The same for the words of a table. */
int result_serve_words(ferry_t *node, const words_t *words);

#endif
