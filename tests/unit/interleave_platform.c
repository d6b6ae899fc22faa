/* SPDX-License-Identifier: MIT
 *
 * interleave_platform.c - memory, futex and clock as the scenarios' threads see them.
 */
#include "interleave_model.h"

#include <errno.h>
#include <string.h>

/* ---- memory ---- */

static bool is_in_object(const void *p) {
    uintptr_t at = (uintptr_t)p, begin = (uintptr_t)model.scenario->memory;
    return at >= begin && at < begin + model.scenario->bytes;
}

static unsigned offset_of(const void *p) {
    return (unsigned)((uintptr_t)p - (uintptr_t)model.scenario->memory);
}

static uint64_t digest_of_word(const uint64_t *word) {
    return *word ? mix(offset_of(word) + 1, *word) : 0;
}

uint64_t model_digest(void) {
    uint64_t digest = 0;
    const uint64_t *words = model.scenario->memory;
    for (size_t i = 0; i < model.scenario->bytes / sizeof *words; i++)
        digest ^= digest_of_word(&words[i]);
    return digest;
}

/* The 64 bits in which it lies. */
static uint64_t *word_of(const void *p) {
    return (uint64_t *)(((uintptr_t)p) & ~(uintptr_t)7);
}

/* Nobody sees what this thread does there, and it will not die of it. */
static bool is_hidden(const void *p, bool changes) {
    const scenario_t *s = model.scenario;
    bool may_die = model.deaths > 0 && model.mortals >> model.current & 1;
    return s->is_mine && s->is_mine(model.current, word_of(p)) && !(changes && may_die);
}

/* Before each access. */
static void reach_for(const void *p, bool changes) {
    if (!is_in_object(p))
        model_fail("an access outside of the object");
    if (!model.alone && !is_hidden(p, changes))
        model_schedule();
}

static void reach(const void *p) {
    reach_for(p, true);
}

/* Before a look. False: it is at a word that nobody changes. */
static bool reach_to_look(const void *p) {
    const scenario_t *s = model.scenario;
    if (is_in_object(p) && s->is_still && s->is_still(word_of(p)))
        return false;
    reach_for(p, false);
    return true;
}

/* After each access. */
static void saw(uint64_t value) {
    model_thread_t *t = &model.thread[model.current];
    t->history = mix(t->history, value);
}

static void change(uint64_t *word, uint64_t after) {
    uint64_t before = *word;
    if (before == after)
        return;
    if (!model.alone && model.scenario->is_still && model.scenario->is_still(word))
        model_fail("a word changes of which the scenario says that it does not");
    if (!model.alone && model.scenario->wrote)
        model.scenario->wrote(model.current, word, before, after);
    model.memory ^= digest_of_word(word);
    *word = after;
    model.memory ^= digest_of_word(word);
}

static void change32(uint32_t *p, uint32_t v) {
    uint64_t *word = word_of(p), after = *word;
    unsigned shift = (unsigned)((uintptr_t)p & 4) * 8;
    after = (after & ~(UINT64_C(0xffffffff) << shift)) | (uint64_t)v << shift;
    change(word, after);
}

static void print_access(const char *where, const char *what, const void *p, uint64_t before, uint64_t after) {
    model_print("%s: %s [%u] %llx -> %llx", where, what, offset_of(p), (unsigned long long)before,
                (unsigned long long)after);
}

uint32_t model_load32(const uint32_t *p, const char *where) {
    if (!reach_to_look(p))
        return *p;
    uint32_t v = *p;
    saw(v);
    model_print("%s: load [%u] %x", where, offset_of(p), v);
    return v;
}

uint64_t model_load64(const uint64_t *p, const char *where) {
    if (!reach_to_look(p))
        return *p;
    uint64_t v = *p;
    saw(v);
    model_print("%s: load [%u] %llx", where, offset_of(p), (unsigned long long)v);
    return v;
}

void model_store32(uint32_t *p, uint32_t v, const char *where) {
    reach(p);
    saw(v);
    print_access(where, "store", p, *p, v);
    change32(p, v);
}

void model_store64(uint64_t *p, uint64_t v, const char *where) {
    reach(p);
    saw(v);
    print_access(where, "store", p, *p, v);
    change(p, v);
}

bool model_cas32(uint32_t *p, uint32_t *expected, uint32_t desired, const char *where) {
    reach(p);
    uint32_t v = *p;
    saw(v);
    if (v != *expected) {
        model_print("%s: compare [%u] %x, not %x", where, offset_of(p), v, *expected);
        *expected = v;
        return false;
    }
    print_access(where, "change", p, v, desired);
    change32(p, desired);
    return true;
}

bool model_cas64(uint64_t *p, uint64_t *expected, uint64_t desired, const char *where) {
    reach(p);
    uint64_t v = *p;
    saw(v);
    if (v != *expected) {
        model_print("%s: compare [%u] %llx, not %llx", where, offset_of(p), (unsigned long long)v,
                    (unsigned long long)*expected);
        *expected = v;
        return false;
    }
    print_access(where, "change", p, v, desired);
    change(p, desired);
    return true;
}

uint32_t model_add32(uint32_t *p, uint32_t n, const char *where) {
    reach(p);
    uint32_t v = *p;
    saw(v);
    print_access(where, "add", p, v, v + n);
    change32(p, v + n);
    return v;
}

/* Reads and stores in one step. */
static uint64_t replace(uint64_t *p, uint64_t after, const char *what, const char *where) {
    uint64_t v = *p;
    saw(v);
    print_access(where, what, p, v, after);
    change(p, after);
    return v;
}

uint64_t model_exchange64(uint64_t *p, uint64_t v, const char *where) {
    reach(p);
    return replace(p, v, "exchange", where);
}

uint64_t model_or64(uint64_t *p, uint64_t v, const char *where) {
    reach(p);
    return replace(p, *p | v, "or", where);
}

uint64_t model_and64(uint64_t *p, uint64_t v, const char *where) {
    reach(p);
    return replace(p, *p & v, "and", where);
}

/* In one step each way: what is copied is either hidden from the others, or copied under a lock. */
void model_copy(void *to, const void *from, size_t bytes, const char *where) {
    uint64_t *words = to;
    if (!is_in_object(to) && !is_in_object(from)) {
        memcpy(to, from, bytes);
        return;
    }
    if (bytes % sizeof *words != 0)
        model_fail("a copy of something else than words");
    reach(is_in_object(to) ? to : from);
    for (size_t i = 0; i < bytes / sizeof *words; i++) {
        uint64_t word;
        memcpy(&word, (const char *)from + i * sizeof word, sizeof word);
        saw(word);
        if (is_in_object(to))
            change(&words[i], word);
        else
            memcpy(&words[i], &word, sizeof word);
    }
    model_print("%s: copies %zu bytes", where, bytes);
}

/* ---- futex ---- */

void model_unqueue(unsigned who) {
    unsigned kept = 0;
    for (unsigned i = 0; i < model.asleep; i++)
        if (model.sleepers[i] != who)
            model.sleepers[kept++] = model.sleepers[i];
    model.asleep = kept;
}

void model_awake(unsigned who, int result) {
    model_unqueue(who);
    model.thread[who].status = READY;
    model.thread[who].result = result;
    model.thread[who].woken |= result == 0;
}

int model_futex_wait(uint32_t *word, uint32_t expected, uint32_t bits, int64_t deadline, const char *where) {
    reach(word);
    if (*word != expected) {
        model_print("%s: does not sleep, [%u] is %x, not %x", where, offset_of(word), *word, expected);
        saw((uint64_t)-EAGAIN);
        return -EAGAIN;
    }
    if (model.alone) {
        model_fail("whoever comes after all the others sleeps");
        return -ETIMEDOUT;
    }
    unsigned self = model.current;
    model_thread_t *t = &model.thread[self];
    model_print("%s: sleeps while [%u] is %x", where, offset_of(word), expected);
    t->status = ASLEEP;
    t->word = word;
    t->bits = bits;
    t->deadline = deadline;
    model.sleepers[model.asleep++] = self;
    model_schedule();
    model_print("%s: wakes up, %d", where, t->result);
    saw((uint64_t)t->result);
    return t->result;
}

bool sleeps_as(unsigned who, uint32_t bits) {
    return model.thread[who].status == ASLEEP && model.thread[who].bits & bits;
}

int model_futex_wake(uint32_t *word, uint32_t bits, int count, const char *where) {
    reach(word);
    int woken = 0;
    if (!model.alone && model.scenario->wakes)
        model.scenario->wakes(model.current, bits);
    for (unsigned i = 0; i < model.asleep && woken < count;) {
        const model_thread_t *t = &model.thread[model.sleepers[i]];
        if (t->word == word && t->bits & bits) {
            model_awake(model.sleepers[i], 0);
            woken++;
        } else {
            i++;
        }
    }
    saw((uint64_t)woken);
    model_print("%s: wakes %d on [%u]", where, woken, offset_of(word));
    return woken;
}

/* ---- clock ---- */

/* While the clock stands still, nobody's step matters to one who looks at it. */
int64_t model_now(const char *where) {
    if (!model.alone && (model.expiries > 0 || model.delays > 0))
        model_schedule();
    saw((uint64_t)model.now);
    model_thread_t *t = &model.thread[model.current];
    t->since = t->since ? t->since : model.now;
    model_print("%s: it is %lld us", where, (long long)(model.now / 1000));
    return model.now;
}

int64_t model_deadline(int64_t timeout, const char *where) {
    return timeout < 0 ? FI_NEVER : model_now(where) + timeout;
}

/* Two looks are far apart: whoever spins looks once more, then sleeps. */
uint64_t model_ticks(void) {
    return model.thread[model.current].ticks += 30;
}

void pass_time(void) {
    if (!model.alone)
        model_schedule();
    saw(0);
}
