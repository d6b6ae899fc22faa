/* SPDX-License-Identifier: MIT
 *
 * values.c - filled in field by field, and compared field by field: not by the code under test, nor by protobuf-c's.
 */
#include "values.h"

#include "harness.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define LARGE ((size_t)3 << 20)
#define ARRAY 1000

/* What each scalar field has in a message of this value. Floats are compared by their bits. (Minus zero stands in a
 * repeated field only: protobuf-c takes it for zero, and leaves the field out.) */
typedef struct scalars {
    double a_double;
    float a_float;
    int32_t i32;
    int64_t i64;
    uint32_t u32;
    uint64_t u64;
    int boolean;
    int kind;
    const char *text;
} scalars_t;

static const scalars_t *scalars_of(value_t value) {
    static const char odd_text[] = "\xc3\xbc \xe2\x82\xac \xf0\x9f\x9a\xa2 \"\\*/ \n\t\x01";
    static const scalars_t table[VALUES] = {
        [EMPTY] = {.text = "", .kind = TEST__BROAD__EVERYTHING__KIND__NONE},
        [SMALLEST] = {-DBL_MAX, -FLT_MAX, INT32_MIN, INT64_MIN, 0, 0, 0, INT32_MIN, "a"},
        [LARGEST] = {DBL_MAX, FLT_MAX, INT32_MAX, INT64_MAX, UINT32_MAX, UINT64_MAX, 1, INT32_MAX, "z"},
        [ODD] = {NAN, FLT_TRUE_MIN, -1, -1, 128, 16384, 1, 5 /* which has no name */, odd_text},
        [MANY] = {DBL_TRUE_MIN, -INFINITY, 1, 1, 1, 1, 1, TEST__BROAD__EVERYTHING__KIND__FIRST, "many"},
    };
    return &table[value];
}

/* Memory that a repeated field points to: one of each kind, with every value in it. */
static struct arrays {
    double doubles[VALUES + 1];
    float floats[VALUES];
    int32_t i32s[ARRAY];
    int64_t i64s[VALUES];
    uint32_t u32s[ARRAY];
    uint64_t u64s[VALUES];
    protobuf_c_boolean bools[3];
    char *strings[3];
    ProtobufCBinaryData bytess[3];
    Test__Broad__Everything__Kind kinds[VALUES];
    Test__Parts__Pair pair_bodies[ARRAY];
    Test__Parts__Pair *pairs[ARRAY];
    Test__Broad__Everything__NumbersEntry number_bodies[2];
    Test__Broad__Everything__NumbersEntry *numbers[2];
    Test__Broad__Everything__ByNumberEntry by_number_body;
    Test__Broad__Everything__ByNumberEntry *by_number[1];
    Test__Broad__Everything__Inner inner;
    Test__Broad__Everything__Inner__Innermost innermost;
    Test__Broad__Everything__Inner__Innermost *more[2];
    uint8_t large[LARGE];
} arrays;

static void fill_pairs(void) {
    for (unsigned i = 0; i < ARRAY; i++) {
        test__parts__pair__init(&arrays.pair_bodies[i]);
        arrays.pair_bodies[i].left = (char *)(uintptr_t)(i % 2 == 0 ? "even" : "odd");
        arrays.pair_bodies[i].right = (ProtobufCBinaryData){i, arrays.large};
        arrays.pair_bodies[i].colour = i % 2 == 0 ? TEST__PARTS__COLOUR__BLUE : TEST__PARTS__COLOUR__VIOLET;
        arrays.pairs[i] = &arrays.pair_bodies[i];
    }
}

static void fill_maps(void) {
    for (unsigned i = 0; i < 2; i++) {
        test__broad__everything__numbers_entry__init(&arrays.number_bodies[i]);
        arrays.number_bodies[i].key = (char *)(uintptr_t)(i == 0 ? "" : "one");
        arrays.number_bodies[i].value = i == 0 ? INT64_MIN : INT64_MAX;
        arrays.numbers[i] = &arrays.number_bodies[i];
    }
    test__broad__everything__by_number_entry__init(&arrays.by_number_body);
    arrays.by_number_body.key = INT32_MIN;
    arrays.by_number_body.value = arrays.pairs[7];
    arrays.by_number[0] = &arrays.by_number_body;
}

static void fill_arrays(void) {
    for (unsigned i = 0; i < VALUES; i++) {
        const scalars_t *s = scalars_of(i);
        arrays.doubles[i] = s->a_double;
        arrays.floats[i] = s->a_float;
        arrays.i64s[i] = s->i64;
        arrays.u64s[i] = s->u64;
        arrays.kinds[i] = (Test__Broad__Everything__Kind)s->kind;
    }
    arrays.doubles[VALUES] = -0.0;
    for (unsigned i = 0; i < ARRAY; i++) {
        arrays.i32s[i] = i < VALUES ? scalars_of(i)->i32 : (int32_t)(i * 2654435761u);
        arrays.u32s[i] = i < VALUES ? scalars_of(i)->u32 : i * 2654435761u;
    }
    fill(arrays.large, LARGE, 1);
    fill_pairs();
    fill_maps();
    for (unsigned i = 0; i < 3; i++) {
        arrays.bools[i] = i % 2;
        arrays.strings[i] = (char *)(uintptr_t)scalars_of(i == 0 ? EMPTY : ODD)->text;
        arrays.bytess[i] = (ProtobufCBinaryData){i * 500, arrays.large};
    }
    test__broad__everything__inner__innermost__init(&arrays.innermost);
    arrays.innermost.text = arrays.strings[1];
    arrays.innermost.kind = TEST__BROAD__EVERYTHING__KIND__LOWEST;
    test__broad__everything__inner__init(&arrays.inner);
    arrays.inner.innermost = arrays.more[0] = arrays.more[1] = &arrays.innermost;
    arrays.inner.more = arrays.more;
    arrays.inner.n_more = 2;
}

static void set_choice(Test__Broad__Everything *e, value_t value) {
    switch (value) {
    case EMPTY:
        break;
    case SMALLEST: /* zero, but chosen */
        e->choice_case = TEST__BROAD__EVERYTHING__CHOICE_CHOSEN_NUMBER;
        e->chosen_number = 0;
        break;
    case LARGEST:
        e->choice_case = TEST__BROAD__EVERYTHING__CHOICE_CHOSEN_KIND;
        e->chosen_kind = TEST__BROAD__EVERYTHING__KIND__LAST;
        break;
    case ODD:
        e->choice_case = TEST__BROAD__EVERYTHING__CHOICE_CHOSEN_TEXT;
        e->chosen_text = arrays.strings[1];
        break;
    case MANY:
        e->choice_case = TEST__BROAD__EVERYTHING__CHOICE_CHOSEN_PAIR;
        e->chosen_pair = arrays.pairs[3];
        break;
    }
}

/* A field of each array with all values. */
#define POINT_TO(e, field, array, count)                                                                               \
    do {                                                                                                               \
        (e)->n_##field = (count);                                                                                      \
        (e)->field = (array);                                                                                          \
    } while (0)

static void set_repeated(Test__Broad__Everything *e) {
    POINT_TO(e, doubles, arrays.doubles, VALUES + 1);
    POINT_TO(e, floats, arrays.floats, VALUES);
    POINT_TO(e, int32s, arrays.i32s, ARRAY);
    POINT_TO(e, int64s, arrays.i64s, VALUES);
    POINT_TO(e, uint32s, arrays.u32s, ARRAY);
    POINT_TO(e, uint64s, arrays.u64s, VALUES);
    POINT_TO(e, sint32s, arrays.i32s, ARRAY);
    POINT_TO(e, sint64s, arrays.i64s, VALUES);
    POINT_TO(e, fixed32s, arrays.u32s, ARRAY);
    POINT_TO(e, fixed64s, arrays.u64s, VALUES);
    POINT_TO(e, sfixed32s, arrays.i32s, ARRAY);
    POINT_TO(e, sfixed64s, arrays.i64s, VALUES);
    POINT_TO(e, bools, arrays.bools, 3);
    POINT_TO(e, strings, arrays.strings, 3);
    POINT_TO(e, bytess, arrays.bytess, 3);
    POINT_TO(e, kinds, arrays.kinds, VALUES);
    POINT_TO(e, pairs, arrays.pairs, ARRAY);
    POINT_TO(e, unpacked, arrays.u32s, ARRAY);
    POINT_TO(e, numbers, arrays.numbers, 2);
    POINT_TO(e, by_number, arrays.by_number, 1);
}

void everything_fill(Test__Broad__Everything *e, value_t value) {
    const scalars_t *s = scalars_of(value);
    fill_arrays();
    test__broad__everything__init(e);
    e->a_double = s->a_double;
    e->a_float = s->a_float;
    e->an_int32 = e->a_sint32 = e->a_sfixed32 = s->i32;
    e->an_int64 = e->a_sint64 = e->a_sfixed64 = s->i64;
    e->a_uint32 = e->a_fixed32 = e->far_number = s->u32;
    e->a_uint64 = e->a_fixed64 = s->u64;
    e->a_bool = s->boolean;
    e->a_string = (char *)(uintptr_t)s->text;
    e->kind = (Test__Broad__Everything__Kind)s->kind;
    set_choice(e, value);
    if (value != EMPTY) {
        e->some_bytes = (ProtobufCBinaryData){value == MANY ? LARGE : (size_t)value, arrays.large};
        e->inner = &arrays.inner;
        e->pair = arrays.pairs[value];
    }
    if (value == MANY)
        set_repeated(e);
}

static void check_bytes(ProtobufCBinaryData got, ProtobufCBinaryData want) {
    check_is(got.len, want.len);
    check(want.len == 0 || memcmp(got.data, want.data, want.len) == 0);
}

static void check_pair(const Test__Parts__Pair *got, const Test__Parts__Pair *want) {
    check(strcmp(got->left, want->left) == 0);
    check_bytes(got->right, want->right);
    check_is(got->colour, want->colour);
}

static void check_inner(const Test__Broad__Everything__Inner *got) {
    check_is(got->n_more, 2);
    for (unsigned i = 0; i < 3; i++) {
        const Test__Broad__Everything__Inner__Innermost *innermost = i < 2 ? got->more[i] : got->innermost;
        check(strcmp(innermost->text, arrays.innermost.text) == 0);
        check_is(innermost->kind, arrays.innermost.kind);
    }
}

static void check_choice(const Test__Broad__Everything *got, const Test__Broad__Everything *want) {
    check_is(got->choice_case, want->choice_case);
    switch (got->choice_case) {
    case TEST__BROAD__EVERYTHING__CHOICE_CHOSEN_NUMBER:
        check_is(got->chosen_number, want->chosen_number);
        break;
    case TEST__BROAD__EVERYTHING__CHOICE_CHOSEN_KIND:
        check_is(got->chosen_kind, want->chosen_kind);
        break;
    case TEST__BROAD__EVERYTHING__CHOICE_CHOSEN_TEXT:
        check(strcmp(got->chosen_text, want->chosen_text) == 0);
        break;
    case TEST__BROAD__EVERYTHING__CHOICE_CHOSEN_PAIR:
        check_pair(got->chosen_pair, want->chosen_pair);
        break;
    default:
        break;
    }
}

#define SAME_ARRAY(field)                                                                                              \
    (got->n_##field == want->n_##field &&                                                                              \
     (want->n_##field == 0 || memcmp(got->field, want->field, want->n_##field * sizeof(*got->field)) == 0))

static void check_arrays(const Test__Broad__Everything *got, const Test__Broad__Everything *want) {
    check(SAME_ARRAY(doubles));
    check(SAME_ARRAY(floats));
    check(SAME_ARRAY(int32s));
    check(SAME_ARRAY(int64s));
    check(SAME_ARRAY(uint32s));
    check(SAME_ARRAY(uint64s));
    check(SAME_ARRAY(sint32s));
    check(SAME_ARRAY(sint64s));
    check(SAME_ARRAY(fixed32s));
    check(SAME_ARRAY(fixed64s));
    check(SAME_ARRAY(sfixed32s));
    check(SAME_ARRAY(sfixed64s));
    check(SAME_ARRAY(bools));
    check(SAME_ARRAY(kinds));
    check(SAME_ARRAY(unpacked));
}

static void check_lists(const Test__Broad__Everything *got, const Test__Broad__Everything *want) {
    check_is(got->n_strings, want->n_strings);
    for (size_t i = 0; i < want->n_strings; i++)
        check(strcmp(got->strings[i], want->strings[i]) == 0);
    check_is(got->n_bytess, want->n_bytess);
    for (size_t i = 0; i < want->n_bytess; i++)
        check_bytes(got->bytess[i], want->bytess[i]);
    check_is(got->n_pairs, want->n_pairs);
    for (size_t i = 0; i < want->n_pairs; i++)
        check_pair(got->pairs[i], want->pairs[i]);
    check_is(got->n_numbers, want->n_numbers);
    for (size_t i = 0; i < want->n_numbers; i++) {
        check(strcmp(got->numbers[i]->key, want->numbers[i]->key) == 0);
        check_is(got->numbers[i]->value, want->numbers[i]->value);
    }
    check_is(got->n_by_number, want->n_by_number);
    for (size_t i = 0; i < want->n_by_number; i++) {
        check_is(got->by_number[i]->key, want->by_number[i]->key);
        check_pair(got->by_number[i]->value, want->by_number[i]->value);
    }
}

void everything_check(const Test__Broad__Everything *got, value_t value) {
    Test__Broad__Everything filled, *want = &filled;
    everything_fill(want, value);
    check(memcmp(&got->a_double, &want->a_double, sizeof(double)) == 0);
    check(memcmp(&got->a_float, &want->a_float, sizeof(float)) == 0);
    check_is(got->an_int32, want->an_int32);
    check_is(got->an_int64, want->an_int64);
    check_is(got->a_uint32, want->a_uint32);
    check_is(got->a_uint64, want->a_uint64);
    check_is(got->a_sint32, want->a_sint32);
    check_is(got->a_sint64, want->a_sint64);
    check_is(got->a_fixed32, want->a_fixed32);
    check_is(got->a_fixed64, want->a_fixed64);
    check_is(got->a_sfixed32, want->a_sfixed32);
    check_is(got->a_sfixed64, want->a_sfixed64);
    check_is(got->a_bool, want->a_bool);
    check_is(got->kind, want->kind);
    check_is(got->far_number, want->far_number);
    check(strcmp(got->a_string, want->a_string) == 0);
    check_bytes(got->some_bytes, want->some_bytes);
    check((got->inner != NULL) == (want->inner != NULL) && (got->pair != NULL) == (want->pair != NULL));
    if (want->inner != NULL) {
        check_inner(got->inner);
        check_pair(got->pair, want->pair);
    }
    check_choice(got, want);
    check_arrays(got, want);
    check_lists(got, want);
}

void ancient_fill(Test__Ancient__Ancient *a) {
    static int32_t numbers[] = {INT32_MIN, -1, 0, 1, INT32_MAX};
    test__ancient__ancient__init(a);
    a->id = UINT32_MAX;
    a->has_metal = 1;
    a->metal = TEST__ANCIENT__ANCIENT__METAL__IRON;
    a->has_alive = 1; /* false, but set */
    POINT_TO(a, packed, numbers, 5);
    POINT_TO(a, loose, numbers, 5);
}

void ancient_check(const Test__Ancient__Ancient *a) {
    Test__Ancient__Ancient want;
    ancient_fill(&want);
    check_is(a->id, want.id);
    check(strcmp(a->name, "nobody \"in\" particular") == 0); /* not set: as the .proto has it */
    check(a->has_metal && a->metal == TEST__ANCIENT__ANCIENT__METAL__IRON);
    check(!a->has_age && a->age == -INT64_MAX);
    check(!a->has_height && a->height < -1e300);
    check(!a->has_stamp && a->stamp.len == 3 && memcmp(a->stamp.data, "\0\1\377", 3) == 0);
    check(a->has_alive && !a->alive);
    check_is(a->n_packed, 5);
    check_is(a->n_loose, 5);
    check(memcmp(a->packed, want.packed, 5 * sizeof(int32_t)) == 0);
    check(memcmp(a->loose, want.loose, 5 * sizeof(int32_t)) == 0);
}
