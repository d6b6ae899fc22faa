/* SPDX-License-Identifier: MIT
 *
 * stubs.c - code made of broad.proto, run between threads and between processes.
 */
#include "broad.ferry.h"
#include "server.h"
#include "values.h"

#include <stdlib.h>
#include <string.h>

/** A service in a crew of one, and a client of it. */
typedef struct stand {
    crew_t *crew;
    seen_t *seen;
    ferry_client_t *client;
} stand_t;

static stand_t stand_with(where_t where, void (*serve)(ferry_t *node, void *arg)) {
    stand_t s = {.crew = crew_begin(where), .seen = share(sizeof(seen_t))};
    crew_add(s.crew, serve, s.seen);
    check_is(ferry_client_open(crew_node(s.crew), TEST__BROAD__BROAD__NAME, NULL, &s.client), 0);
    check_is(ferry_client_wait(s.client, 1, PATIENCE), 1);
    return s;
}

static stand_t stand(where_t where) {
    return stand_with(where, serve_broad);
}

static void stand_end(stand_t *s) {
    check_is(ferry_call(s->client, "Stop", NULL, 0, PATIENCE, NULL), 0);
    crew_join(s->crew, 0);
    check_is(ferry_client_close(s->client, PATIENCE, NULL), 0);
    crew_end(s->crew);
}

static const Test__Broad__Nothing nothing = TEST__BROAD__NOTHING__INIT;

/** Reads the error out of a message, checks it, and releases the message. */
static void check_failure(ferry_msg_t *error, int32_t code, const char *words) {
    ferry_call_error_t e = {0};
    check(error != NULL);
    check_is(ferry_call_error(error, &e), 0);
    check_is(e.code, code);
    check(strstr(e.message, words) != NULL);
    release(error);
}

static void every_value_of_every_type_comes_back(where_t where) {
    stand_t s = stand(where);
    for (value_t value = 0; value < VALUES; value++) {
        Test__Broad__Everything request, *reply = NULL;
        everything_fill(&request, value);
        check_is(test__broad__broad__echo__call(s.client, &request, PATIENCE, &reply, NULL), 0);
        everything_check(reply, value);
        test__broad__everything__free_unpacked(reply, NULL);
    }
    stand_end(&s);
}

static void fields_of_proto2_come_back_set_or_not(where_t where) {
    stand_t s = stand(where);
    Test__Ancient__Ancient request, *reply = NULL;
    ancient_fill(&request);
    check_is(test__broad__broad__echo_ancient__call(s.client, &request, PATIENCE, &reply, NULL), 0);
    ancient_check(reply);
    test__ancient__ancient__free_unpacked(reply, NULL);
    stand_end(&s);
}

static void a_result_nobody_wants_is_not_decoded(where_t where) {
    stand_t s = stand(where);
    Test__Broad__Everything request;
    everything_fill(&request, MANY);
    check_is(test__broad__broad__echo__call(s.client, &request, PATIENCE, NULL, NULL), 0);
    stand_end(&s);
}

static void calls_under_way_are_waited_for_in_any_order(where_t where) {
    stand_t s = stand(where);
    ferry_call_t *calls[VALUES];
    for (value_t value = 0; value < VALUES; value++) {
        Test__Broad__Everything request;
        everything_fill(&request, value);
        check_is(test__broad__broad__echo__start(s.client, &request, PATIENCE, &calls[value]), 0);
    }
    for (value_t value = VALUES; value-- > 0;) {
        Test__Broad__Everything *reply = NULL;
        check_is(test__broad__broad__echo__wait(calls[value], PATIENCE, &reply, NULL), 0);
        everything_check(reply, value);
        test__broad__everything__free_unpacked(reply, NULL);
        check_is(ferry_call_release(calls[value]), 0);
    }
    stand_end(&s);
}

static void a_handler_may_answer_by_itself(where_t where) {
    stand_t s = stand(where);
    Test__Broad__CountItem request = TEST__BROAD__COUNT_ITEM__INIT, *reply = NULL;
    request.number = 41;
    check_is(test__broad__broad__answer_itself__call(s.client, &request, PATIENCE, &reply, NULL), 0);
    check_is(reply->number, 42);
    check(filled(reply->filling.data, reply->filling.len, 42));
    check_is(reply->filling.len, 5000);
    test__broad__count_item__free_unpacked(reply, NULL);
    stand_end(&s);
}

/* ---- streams ---- */

static ferry_call_t *start_counting(stand_t *s, uint32_t items, uint32_t bytes_each, bool fails) {
    Test__Broad__CountRequest request = TEST__BROAD__COUNT_REQUEST__INIT;
    request.items = items;
    request.bytes_each = bytes_each;
    request.fail = fails;
    ferry_call_t *call = NULL;
    check_is(test__broad__broad__count__start(s->client, &request, 2 * PATIENCE, &call), 0);
    return call;
}

static void next_is(ferry_call_t *call, uint32_t number, uint32_t bytes_each) {
    Test__Broad__CountItem *item = NULL;
    check_is(test__broad__broad__count__next(call, PATIENCE, &item, NULL), FERRY_CALL_MORE);
    check_is(item->number, number);
    check_is(item->filling.len, bytes_each);
    check(filled(item->filling.data, item->filling.len, number));
    test__broad__count_item__free_unpacked(item, NULL);
}

static void a_stream_of_a_thousand_items_comes_whole_and_in_order(where_t where) {
    stand_t s = stand(where);
    for (uint32_t bytes_each = 10; bytes_each < 10000; bytes_each *= 30) {
        ferry_call_t *call = start_counting(&s, 1000, bytes_each, false);
        for (uint32_t i = 0; i < 1000; i++)
            next_is(call, i, bytes_each);
        Test__Broad__CountItem *none = NULL;
        check_is(test__broad__broad__count__next(call, PATIENCE, &none, NULL), 0);
        check_is(test__broad__broad__count__next(call, PATIENCE, &none, NULL), 0);
        check(none == NULL);
        check_is(ferry_call_release(call), 0);
    }
    stand_end(&s);
}

static bool has_stopped(void *arg) {
    return atomic_load(&((seen_t *)arg)->stopped) == 1;
}

static void a_stream_that_is_given_up_stops_its_handler(where_t where) {
    stand_t s = stand(where);
    ferry_call_t *call = start_counting(&s, UINT32_MAX, 100, false);
    for (uint32_t i = 0; i < 10; i++)
        next_is(call, i, 100);
    check_is(ferry_call_release(call), 0);
    await_that(has_stopped, s.seen, "the handler notices that nobody takes its results");
    check_is(atomic_load(&s.seen->refused), 1);
    call = start_counting(&s, 3, 10, false); /* and the service goes on */
    for (uint32_t i = 0; i < 3; i++)
        next_is(call, i, 10);
    check_is(ferry_call_release(call), 0);
    stand_end(&s);
}

static void a_stream_may_end_with_an_error(where_t where) {
    stand_t s = stand(where);
    ferry_call_t *call = start_counting(&s, 5, 10, true);
    for (uint32_t i = 0; i < 5; i++)
        next_is(call, i, 10);
    Test__Broad__CountItem *none = NULL;
    ferry_msg_t *error = NULL;
    check_is(test__broad__broad__count__next(call, PATIENCE, &none, &error), FERRY_CALL_FAILED);
    check_failure(error, 7, "after the last one");
    check(none == NULL);
    check_is(ferry_call_release(call), 0);
    stand_end(&s);
}

/* ---- how calls fail ---- */

static void an_error_comes_with_code_message_and_detail(where_t where) {
    stand_t s = stand(where);
    Test__Broad__FailRequest request = TEST__BROAD__FAIL_REQUEST__INIT;
    uint8_t detail[3000];
    fill(detail, sizeof(detail), 5);
    request.code = INT32_MIN;
    request.message = (char *)(uintptr_t) "no such account";
    request.detail = (ProtobufCBinaryData){sizeof(detail), detail};
    Test__Broad__Nothing *reply = NULL;
    ferry_msg_t *error = NULL;
    check_is(test__broad__broad__fail__call(s.client, &request, PATIENCE, &reply, &error), FERRY_CALL_FAILED);
    check(reply == NULL);
    ferry_call_error_t e = {0};
    check_is(ferry_call_error(error, &e), 0);
    check_is(e.detail_size, sizeof(detail));
    check(filled(e.detail, e.detail_size, 5));
    check_failure(error, INT32_MIN, "no such account");
    check_is(test__broad__broad__fail__call(s.client, &request, PATIENCE, &reply, NULL), FERRY_CALL_FAILED);
    stand_end(&s);
}

static void a_negative_result_of_a_handler_is_an_error(where_t where) {
    stand_t s = stand(where);
    Test__Broad__FailRequest request = TEST__BROAD__FAIL_REQUEST__INIT;
    request.negative = -EDOM;
    ferry_msg_t *error = NULL;
    check_is(test__broad__broad__fail__call(s.client, &request, PATIENCE, NULL, &error), FERRY_CALL_FAILED);
    check_failure(error, -EDOM, strerror(EDOM));
    stand_end(&s);
}

static void a_handler_that_is_missing_says_so(where_t where) {
    stand_t s = stand(where);
    ferry_msg_t *error = NULL;
    check_is(test__broad__broad__missing__call(s.client, &nothing, PATIENCE, NULL, &error), FERRY_CALL_FAILED);
    check_failure(error, -ENOSYS, "Broad.Missing: not implemented");
    ferry_call_t *call = NULL;
    check_is(test__broad__broad__missing_stream__start(s.client, &nothing, PATIENCE, &call), 0);
    error = NULL;
    check_is(test__broad__broad__missing_stream__next(call, PATIENCE, NULL, &error), FERRY_CALL_FAILED);
    check_failure(error, -ENOSYS, "Broad.MissingStream: not implemented");
    check_is(ferry_call_release(call), 0);
    stand_end(&s);
}

static void a_call_ends_at_its_deadline_and_its_handler_knows(where_t where) {
    stand_t s = stand(where);
    const int64_t soon = 300 * MILLISECOND;
    check_is(test__broad__broad__sleep__call(s.client, &nothing, soon, NULL, NULL), -ETIMEDOUT);
    atomic_store(&s.seen->ended, atomic_load(&s.seen->begun));
    ferry_call_t *call = NULL;
    check_is(test__broad__broad__sleep__start(s.client, &nothing, soon, &call), 0);
    check_is(test__broad__broad__sleep__wait(call, PATIENCE, NULL, NULL), -ETIME);
    check_is(ferry_call_release(call), 0);
    atomic_store(&s.seen->ended, UINT32_MAX);
    Test__Broad__Progress *progress = NULL;
    check_is(test__broad__broad__watch__call(s.client, &nothing, PATIENCE, &progress, NULL), 0);
    check_is(progress->begun, progress->stopped); /* on a slow machine a call may have expired before it began */
    check(progress->begun == 0 || (progress->time_left > 0 && progress->time_left <= soon));
    test__broad__progress__free_unpacked(progress, NULL);
    stand_end(&s);
}

static void a_wait_that_ends_does_not_end_the_call(where_t where) {
    stand_t s = stand(where);
    ferry_call_t *call = NULL;
    check_is(test__broad__broad__sleep__start(s.client, &nothing, PATIENCE, &call), 0);
    check_is(test__broad__broad__sleep__wait(call, FERRY_NOW, NULL, NULL), -EAGAIN);
    check_is(test__broad__broad__sleep__wait(call, MILLISECOND, NULL, NULL), -ETIMEDOUT);
    check_is(ferry_call_cancel(call), 0);
    check_is(test__broad__broad__sleep__wait(call, PATIENCE, NULL, NULL), -ECANCELED);
    atomic_store(&s.seen->ended, UINT32_MAX);
    check_is(ferry_call_release(call), 0);
    stand_end(&s);
}

/* ---- strangers ---- */

static void check_refused(stand_t *s, const char *method, const void *data, size_t size, const char *words) {
    ferry_msg_t *error = NULL;
    check_is(ferry_call(s->client, method, data, size, PATIENCE, &error), FERRY_CALL_FAILED);
    check_failure(error, -EBADMSG, words);
}

static void a_request_that_does_not_decode_is_answered_so(where_t where) {
    stand_t s = stand(where);
    check_refused(&s, "Echo", "\xff\xff", 2, "Broad.Echo: the request (2 bytes) is no test.broad.Everything");
    check_refused(&s, "Echo", "\x72\x05no", 4, "(4 bytes)"); /* a string that is longer than the message */
    check_refused(&s, "EchoAncient", "", 0, "is no test.ancient.Ancient"); /* which must have an id */
    ferry_call_t *call = NULL;
    ferry_msg_t *error = NULL;
    check_is(ferry_call_start(s.client, "Count", "\x08", 1, FERRY_CALL_STREAM, PATIENCE, &call), 0);
    check_is(ferry_call_wait(call, PATIENCE, &error), FERRY_CALL_FAILED);
    check_failure(error, -EBADMSG, "Broad.Count: the request (1 bytes) is no test.broad.CountRequest");
    check_is(ferry_call_release(call), 0);
    stand_end(&s);
}

/** Trees within each other, from the innermost: each is field 2 of the next. Returns where they begin. */
static uint8_t *nest(uint8_t *end, unsigned depth) {
    size_t size = 0;
    for (unsigned i = 0; i < depth; i++) {
        uint8_t head[8], *at = head;
        *at++ = 2 << 3 | 2;
        for (size_t rest = size;; rest >>= 7) {
            *at++ = (uint8_t)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
            if (rest <= 0x7f)
                break;
        }
        size_t length = (size_t)(at - head);
        end -= length;
        size += length;
        memcpy(end, head, length);
    }
    return end;
}

static void a_request_that_is_nested_too_deeply_is_refused(where_t where) {
    stand_t s = stand(where);
    const size_t most = 2000000;
    uint8_t *bytes = malloc(most), *end = bytes + most;
    check(bytes != NULL);
    const unsigned refused[] = {101, 1000, 300000};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        uint8_t *begin = nest(end, refused[i]);
        check_refused(&s, "EchoTree", begin, (size_t)(end - begin), "is no test.parts.Tree");
    }
    uint8_t *begin = nest(end, 100);
    ferry_msg_t *reply = NULL;
    check_is(ferry_call(s.client, "EchoTree", begin, (size_t)(end - begin), PATIENCE, &reply), 0);
    check_is(ferry_msg_size(reply), end - begin);
    check(memcmp(ferry_msg_data(reply), begin, (size_t)(end - begin)) == 0);
    release(reply);
    free(bytes);
    stand_end(&s);
}

static void a_server_that_answers_nonsense_is_found_out(where_t where) {
    stand_t s = stand_with(where, serve_nonsense);
    Test__Broad__Everything request = TEST__BROAD__EVERYTHING__INIT, *reply = NULL;
    check_is(test__broad__broad__echo__call(s.client, &request, PATIENCE, &reply, NULL), -EPROTO);
    check(reply == NULL);
    ferry_call_t *call = start_counting(&s, 1, 1, false);
    Test__Broad__CountItem *item = NULL;
    check_is(test__broad__broad__count__next(call, PATIENCE, &item, NULL), -EPROTO);
    check_is(test__broad__broad__count__next(call, PATIENCE, &item, NULL), -ECANCELED);
    check(item == NULL);
    check_is(ferry_call_release(call), 0);
    stand_end(&s);
}

/* ---- reflection, and misuse ---- */

static char *text_of(ferry_client_t *client, const char *method) {
    ferry_msg_t *reply = NULL;
    check_is(ferry_call(client, method, NULL, 0, PATIENCE, &reply), 0);
    size_t size = ferry_msg_size(reply);
    char *text = malloc(size + 1);
    check(text != NULL);
    memcpy(text, ferry_msg_data(reply), size);
    for (size_t i = 0; i < size; i++)
        text[i] = text[i] == '\0' ? ' ' : text[i];
    text[size] = '\0';
    release(reply);
    return text;
}

static void check_text(ferry_client_t *client, const char *method, const char *const *words) {
    char *text = text_of(client, method);
    for (; *words != NULL; words++)
        check(strstr(text, *words) != NULL);
    free(text);
}

static void a_service_describes_itself(where_t where) {
    static const char *const described[] = {
        "\"service\": \"test.broad.Broad\"",
        "try to break out: */ int broken; /* and \\\"quotes\\\"",
        "{\"name\": \"Count\", \"idempotent\": false, \"streams\": true, \"input\": \"test.broad.CountRequest\", "
        "\"output\": \"test.broad.CountItem\"}",
        "{\"name\": \"Echo\", \"idempotent\": true, \"streams\": false, \"input\": \"test.broad.Everything\", "
        "\"output\": \"test.broad.Everything\", \"comment\": \"Gives back what it gets. */\"}",
        "\"comment\": \"Behind it.\"",
        NULL,
    };
    /* The files, imported ones first and those that these import before them, and something from each. */
    static const char *const in_descriptor[] = {"ancient.proto", "parts.proto", "broad.proto", "VIOLET",
                                                "by_number",     "byNumber",    "EchoAncient", NULL};
    stand_t s = stand(where);
    check_text(s.client, FERRY_METHOD_DESCRIBE, described);
    check_text(s.client, FERRY_METHOD_DESCRIPTOR, in_descriptor);
    stand_end(&s);
}

static void a_service_takes_another_name_and_options_that_it_completes(void) {
    ferry_t *node = open_node("test");
    const Test__Broad__Broad_Server handlers = {.arg = NULL};
    const ferry_service_options_t options = {.comment = "the other one", .queue = 2};
    ferry_service_t *service = NULL;
    check_is(test__broad__broad__server__open(node, "another", &options, &handlers, &service), 0);
    check_is(ferry_service_start(service, 1), 0);
    ferry_client_t *client = NULL;
    check_is(ferry_client_open(node, "another", NULL, &client), 0);
    static const char *const described[] = {"\"comment\": \"the other one\"", NULL};
    static const char *const in_descriptor[] = {"broad.proto", NULL};
    check_text(client, FERRY_METHOD_DESCRIBE, described);
    check_text(client, FERRY_METHOD_DESCRIPTOR, in_descriptor);
    check_is(ferry_client_close(client, PATIENCE, NULL), 0);
    check_is(ferry_service_close(service, PATIENCE), 0);
    close_node(node);
}

static void a_service_without_methods_can_be_opened(void) {
    ferry_t *node = open_node("test");
    const Test__Broad__Without_Server handlers = {NULL};
    ferry_service_t *service = NULL;
    check_is(test__broad__without__server__open(node, NULL, NULL, &handlers, &service), 0);
    check_is(ferry_service_close(service, PATIENCE), 0);
    close_node(node);
}

static void nothing_to_send_and_nobody_to_serve_are_errors(void) {
    ferry_t *node = open_node("test");
    ferry_client_t *client = NULL;
    ferry_service_t *service = NULL;
    ferry_call_t *call = NULL;
    check_is(test__broad__broad__server__open(node, NULL, NULL, NULL, &service), -EINVAL);
    const Test__Broad__Broad_Server handlers = {.arg = NULL};
    check_is(test__broad__broad__server__open(node, "not a name", NULL, &handlers, &service), -EINVAL);
    check(service == NULL);
    check_is(ferry_client_open(node, TEST__BROAD__BROAD__NAME, NULL, &client), 0);
    check_is(test__broad__broad__echo__call(client, NULL, FERRY_NOW, NULL, NULL), -EINVAL);
    check_is(test__broad__broad__count__start(client, NULL, FERRY_NOW, &call), -EINVAL);
    check_is(test__broad__broad__watch__call(client, &nothing, PATIENCE, NULL, NULL), -ENOENT);
    check_is(ferry_client_close(client, PATIENCE, NULL), 0);
    close_node(node);
}

int main(int argc, char **argv) {
    static const test_t tests[] = {
        TEST_BOTH(every_value_of_every_type_comes_back),
        TEST_BOTH(fields_of_proto2_come_back_set_or_not),
        TEST_BOTH(a_result_nobody_wants_is_not_decoded),
        TEST_BOTH(calls_under_way_are_waited_for_in_any_order),
        TEST_BOTH(a_handler_may_answer_by_itself),
        TEST_BOTH(a_stream_of_a_thousand_items_comes_whole_and_in_order),
        TEST_BOTH(a_stream_that_is_given_up_stops_its_handler),
        TEST_BOTH(a_stream_may_end_with_an_error),
        TEST_BOTH(an_error_comes_with_code_message_and_detail),
        TEST_BOTH(a_negative_result_of_a_handler_is_an_error),
        TEST_BOTH(a_handler_that_is_missing_says_so),
        TEST_BOTH(a_call_ends_at_its_deadline_and_its_handler_knows),
        TEST_BOTH(a_wait_that_ends_does_not_end_the_call),
        TEST_BOTH(a_request_that_does_not_decode_is_answered_so),
        TEST_BOTH(a_request_that_is_nested_too_deeply_is_refused),
        TEST_BOTH(a_server_that_answers_nonsense_is_found_out),
        TEST_BOTH(a_service_describes_itself),
        TEST(a_service_takes_another_name_and_options_that_it_completes),
        TEST(a_service_without_methods_can_be_opened),
        TEST(nothing_to_send_and_nobody_to_serve_are_errors),
    };
    return run_suite("stubs", tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
