/* SPDX-License-Identifier: MIT
 *
 * route.c - which way messages go, what was measured, what was chosen from it, and why.
 */
#include "harness.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the host ---- */

static const char metal[] = "wake_ns 3000\nline_ns 40\npage_ns 250\ncopy_256_mbps 30000\ncopy_4096_mbps 40000\n"
                            "copy_65536_mbps 12000\ncopy_1048576_mbps 8000\n";
static const char machine[] = "wake_ns 24000\nline_ns 210\npage_ns 3500\ncopy_256_mbps 40000\ncopy_4096_mbps 74000\n"
                              "copy_65536_mbps 50000\ncopy_1048576_mbps 43000\n";
static const char even[] =
    "# quick cores, slow to wake\nwake_ns 60000\nline_ns 20\npage_ns 100\n"
    "copy_256_mbps 50000\ncopy_4096_mbps 50000\ncopy_65536_mbps 50000\ncopy_1048576_mbps 50000\n";

static const char *in_directory(const char *name) {
    static char path[4096];

    check(snprintf(path, sizeof path, "%s/%s", getenv("FERRY_DIR"), name) < (int)sizeof path);
    return path;
}

static void write_file(const char *path, const char *text, mode_t mode) {
    FILE *f = fopen(path, "w");

    check(f != NULL);
    check(fputs(text, f) >= 0 && fclose(f) == 0);
    check_is(chmod(path, mode), 0);
}

static void give_profile(const char *text) {
    char path[4096];

    snprintf(path, sizeof path, "%s", in_directory("given"));
    write_file(path, text, 0600);
    check_is(setenv("FERRY_HOST_PROFILE", path, 1), 0);
}

static const ferry_route_link_t *only_link(const char *channel, ferry_route_t **route) {
    check_is(ferry_route("test", channel, NULL, route), 0);
    check_is(ferry_route_links(*route), 1);
    return ferry_route_link(*route, 0);
}

typedef struct expected {
    const char *profile;
    uint64_t spin_ns;
    uint64_t inline_max;
    const char *wake;
} expected_t;

/* A message of 3000 bytes goes by pointer, unless it is small here. */
static void use_profile(void *arg) {
    const expected_t *want = arg;
    static unsigned char bytes[3000];
    ferry_host_t host;
    ferry_host_choices_t choices;
    ferry_route_t *route;

    give_profile(want->profile);
    check_is(ferry_host(NULL, FERRY_HOST_MEASURE_NOT, &host, &choices), 0);
    check_is(host.source, FERRY_HOST_GIVEN);
    check_is(choices.spin_ns.value, want->spin_ns);
    check_is(choices.inline_max.value, want->inline_max);
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    check_is(ferry_send(tx, bytes, sizeof bytes, PATIENCE), 0);
    check_is(sender_stats(tx).pool_blocks > 0, sizeof bytes > want->inline_max);
    release(receive(rx));
    const ferry_route_link_t *l = only_link("q", &route);
    check_is(l->inline_max.value, want->inline_max);
    check(strstr(l->inline_max.why, "given") != NULL);
    check_is(l->spin_ns.value, want->spin_ns);
    check(strstr(l->spin_ns.why, want->wake) != NULL);
    ferry_route_close(route);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
    check_is(unlink(in_directory("given")), 0);
}

static void three_hosts_lead_to_three_choices_each_with_its_reason(void) {
    expected_t wants[] = {{metal, 3000, 1024, "3.0 us"}, {machine, 24000, 2048, "24 us"}, {even, 60000, 4096, "60 us"}};

    wants[1].spin_ns = 30000; /* what is assumed at first is near enough to stay */
    for (unsigned i = 0; i < 3; i++)
        child_join(child_start(use_profile, &wants[i]));
}

static void open_badly(void *arg) {
    const char *const *texts = arg;
    ferry_t *node = NULL;

    give_profile(texts[0]);
    check_error(ferry_open("test", NULL, &node), -EINVAL, texts[1]);
    check(node == NULL);
    check_is(unlink(in_directory("given")), 0);
    check_error(ferry_open("test", NULL, &node), -EINVAL, "FERRY_HOST_PROFILE= cannot be read");
    check_is(setenv("FERRY_HOST_PROFILE", "", 1), 0);
    close_node(open_node("test"));
}

static void what_is_no_profile_is_told_when_a_space_is_opened(void) {
    const char *bad[] = {"wake_ns 24000\nline_ns fast\n", "line 2"};
    const char *large[] = {"wake_ns 24000\nline_ns 1000000000\n", "line 2 which cannot be"};

    child_join(child_start(open_badly, bad));
    child_join(child_start(open_badly, large));
}

/* The name of the file that was kept, or "". Others that begin so are of this test. */
static void kept_file(char name[300]) {
    DIR *d = opendir(getenv("FERRY_DIR"));

    name[0] = '\0';
    check(d != NULL);
    for (const struct dirent *e = readdir(d); e; e = readdir(d))
        if (strncmp(e->d_name, ".host-", 6) == 0 && !strstr(e->d_name, "sentinel") && !strstr(e->d_name, "-00000000-"))
            snprintf(name, 300, "%s", e->d_name);
    closedir(d);
}

static void measure(void *arg) {
    ferry_host_t *host = arg;

    /* Not in time on a busy host: then the figures are not kept, and somebody else tries. As long as a child may take. */
    for (int64_t end = monotonic() + 5 * PATIENCE / 2; monotonic() < end;) {
        char name[300];
        check_is(ferry_host(NULL, FERRY_HOST_MEASURE_ANEW, host, NULL), 0);
        kept_file(name);
        if (name[0])
            return;
    }
    check_failed("the figures are kept", __FILE__, __LINE__);
}

static void look_at_host(void *arg) {
    check_is(ferry_host(NULL, FERRY_HOST_MEASURE_NOT, arg, NULL), 0);
}

static void look_by_opening(void *arg) {
    close_node(open_node("test"));
    look_at_host(arg);
}

static void what_was_measured_is_kept_for_all_processes_of_this_boot(void) {
    ferry_host_t *host = share(2 * sizeof *host);
    char name[300];
    struct stat st;

    child_join(child_start(look_by_opening, host));
    check_is(host->source, FERRY_HOST_ASSUMED); /* to open a space measures nothing */
    kept_file(name);
    check_is(name[0], 0);
    child_join(child_start(measure, host));
    check_is(host->source, FERRY_HOST_MEASURED);
    kept_file(name);
    check_is(stat(in_directory(name), &st), 0);
    check_is(st.st_mode & 0777, 0600);
    child_join(child_start(look_by_opening, &host[1]));
    check(memcmp(&host[0], &host[1], sizeof *host) == 0);
    /* An older one of ours is swept, when this one is measured anew. */
    write_file(in_directory(".host-sentinel"), "", 0600);
    char old[300];
    snprintf(old, sizeof old, ".host-%lu-00000000-0000-0000-0000-000000000000", (unsigned long)geteuid());
    write_file(in_directory(old), metal, 0600);
    check_is(unlink(in_directory(name)), 0);
    measure(host);
    check(access(in_directory(old), F_OK) != 0 && access(in_directory(".host-sentinel"), F_OK) == 0);
    check_is(unlink(in_directory(".host-sentinel")), 0);
    kept_file(name);
    check_is(unlink(in_directory(name)), 0);
}

static void what_was_kept_is_not_believed_beyond_reason(void) {
    ferry_host_t *host = share(sizeof *host);
    char name[300];

    child_join(child_start(measure, host));
    kept_file(name);
    write_file(in_directory(name), "wake_ns 99999999999\n", 0600);
    child_join(child_start(look_at_host, host));
    check_is(host->source, FERRY_HOST_ASSUMED);
    write_file(in_directory(name), metal, 0660); /* somebody else can write it */
    child_join(child_start(look_at_host, host));
    check_is(host->source, FERRY_HOST_ASSUMED);
    write_file(in_directory(name), metal, 0600);
    child_join(child_start(look_at_host, host));
    check_is(host->source, FERRY_HOST_MEASURED);
    check_is(host->wake_ns, 3000);
    check_is(unlink(in_directory(name)), 0);
    check_is(symlink("elsewhere", in_directory(name)), 0);
    char target[4096];
    snprintf(target, sizeof target, "%s", in_directory("elsewhere"));
    write_file(target, metal, 0600);
    child_join(child_start(look_at_host, host));
    check_is(host->source, FERRY_HOST_ASSUMED);
    check_is(unlink(target), 0);
    check_is(unlink(in_directory(name)), 0);
}

static void keep_to_one_core(void) {
    cpu_set_t here;

    CPU_ZERO(&here);
    CPU_SET((size_t)sched_getcpu(), &here);
    check_is(sched_setaffinity(0, sizeof here, &here), 0);
}

static void measure_on_one_core(void *arg) {
    char name[300];

    keep_to_one_core();
    check_is(ferry_host(NULL, FERRY_HOST_MEASURE_ANEW, arg, NULL), 0);
    kept_file(name);
    check_is(name[0] == '\0', sysconf(_SC_NPROCESSORS_ONLN) > 1);
}

static void look_on_one_core(void *arg) {
    keep_to_one_core();
    look_at_host(arg);
}

/* Whom it waits for may run on another. */
static void who_keeps_to_one_core_believes_that_there_are_more(void) {
    ferry_host_t *host = share(sizeof *host);
    char name[300];

    child_join(child_start(measure_on_one_core, host));
    check_is(host->line_ns == 0, sysconf(_SC_NPROCESSORS_ONLN) == 1);
    child_join(child_start(measure, host));
    kept_file(name);
    write_file(in_directory(name), metal, 0600);
    child_join(child_start(look_on_one_core, host));
    check_is(host->source, FERRY_HOST_MEASURED);
    check_is(host->line_ns, 40);
    check_is(unlink(in_directory(name)), 0);
}

static bool is_measured(void *arg) {
    ferry_host_t host;

    check_is(ferry_host(NULL, FERRY_HOST_MEASURE_NOT, &host, NULL), 0);
    for (unsigned i = 0; i < 70000; i++) /* who sends on notices that it is busy */
        send_number(arg, i);
    return host.source == FERRY_HOST_MEASURED;
}

static void a_program_in_which_messages_flow_measures_in_the_background(void) {
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.hold = FERRY_HOLD_NEVER};
    ferry_sender_t *tx = open_sender(node, "t", FERRY_TOPIC, &contract);
    ferry_host_t host;
    char name[300];

    for (uint64_t i = 0; i < 60000; i++)
        send_number(tx, i);
    check_is(ferry_host(NULL, FERRY_HOST_MEASURE_NOT, &host, NULL), 0);
    check_is(host.source, FERRY_HOST_ASSUMED); /* not enough yet */
    for (uint64_t i = 0; i < 10000; i++)
        send_number(tx, i);
    nap(SECOND);
    await_that(is_measured, tx, "the host is measured");
    drop_sender(tx);
    close_node(node);
    kept_file(name); /* there is none if it could not be measured in time */
    check(name[0] == '\0' || unlink(in_directory(name)) == 0);
}

static void figures_can_be_written_as_a_profile(void) {
    ferry_host_t host;
    char text[512];

    check_is(ferry_host(NULL, FERRY_HOST_MEASURE_NOT, &host, NULL), 0);
    check(ferry_host_text(&host, text, sizeof text) > 0);
    check(strstr(text, "\nwake_ns ") != NULL && strstr(text, "assumed") != NULL);
    check_error(ferry_host_text(&host, text, 10), -ERANGE, "fit");
    check_error(ferry_host_text(NULL, text, 10), -EINVAL, "NULL");
    check_error(ferry_host(NULL, 0, NULL, NULL), -EINVAL, "NULL");
}

/* ---- links ---- */

typedef struct script {
    atomic_uint sent;
    atomic_uint stop;
} script_t;

static void send_ten(ferry_t *node, void *arg) {
    script_t *script = arg;
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);

    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (uint64_t i = 0; i < 10; i++)
        send_number(tx, i);
    atomic_store(&script->sent, 1);
    await(&script->stop, 1);
    drop_sender(tx);
}

static void a_link_shows_its_way_and_why_no_other_is_taken(where_t where) {
    script_t *script = share(sizeof *script);
    crew_t *crew = crew_begin(where);
    ferry_route_t *route;

    crew_add(crew, send_ten, script);
    ferry_receiver_t *rx = open_receiver(crew_node(crew), "q", FERRY_QUEUE, NULL);
    await(&script->sent, 1);
    const ferry_route_link_t *l = only_link("q", &route);
    ferry_way_t way = where == IN_THREADS ? FERRY_WAY_THREAD : FERRY_WAY_SHM;
    check_is(l->way, way);
    check_is(l->kind, FERRY_QUEUE);
    check_is(l->receiver.node, ferry_node_id(crew_node(crew)));
    check_is(l->receiver.pid, getpid());
    check(l->sender.told && l->receiver.told);
    check_is(l->waiting, 10);
    for (int i = 0; i < FERRY_WAYS; i++) {
        check_is(l->ways[i].way, FERRY_WAY_THREAD + i);
        check_is(l->ways[i].taken, l->ways[i].way == way);
        check(l->ways[i].why[0] != '\0');
    }
    if (where == IN_NODES)
        check(strstr(l->ways[0].why, "in two nodes") != NULL);
    check(strstr(l->completion_ns.why, "only receiver") != NULL);
    ferry_route_close(route);
    for (uint64_t i = 0; i < 10; i++)
        check_is(receive_number(rx), i);
    /* The second message was looked at. */
    l = only_link("q", &route);
    check(l->latency_samples + l->wake_samples > 0);
    check(l->least_latency_ns > 0);
    check_is(l->waiting, 0);
    ferry_route_close(route);
    atomic_store(&script->stop, 1);
    crew_join(crew, 0);
    close_receiver(rx);
    crew_end(crew);
}

static void what_is_not_there_is_told(void) {
    ferry_route_t *route = NULL;

    check_error(ferry_route("nowhere", "q", NULL, &route), -ENOENT, "nowhere");
    ferry_t *node = open_node("test");
    check_error(ferry_route("test", "q", NULL, &route), -ENOENT, "nobody q");
    check_error(ferry_route("test", "a b", NULL, &route), -EINVAL, "name");
    check_error(ferry_route("test", "q", NULL, NULL), -EINVAL, "NULL");
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    check_is(ferry_route("test", "q", NULL, &route), 0);
    check_is(ferry_route_links(route), 0);
    check_is(ferry_route_senders(route), 1);
    check_is(ferry_route_receivers(route), 0);
    check(ferry_route_link(route, 0) == NULL);
    ferry_route_close(route);
    ferry_route_close(NULL);
    check_is(ferry_route_links(NULL), 0);
    drop_sender(tx);
    close_node(node);
}

/* Messages that Ferry itself looks at are the program's like all others. */
static void a_message_that_was_looked_at_is_as_it_was_sent(void) {
    static unsigned char bytes[5000];
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_route_t *route;

    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (uint64_t i = 0; i < 400; i++) {
        size_t len = i % 3 == 0 ? 64 : i % 3 == 1 ? 1000 : 5000;
        fill(bytes, len, i);
        check_is(ferry_send(tx, bytes, len, PATIENCE), 0);
        ferry_msg_t *m = receive(rx);
        ferry_msg_info_t info = info_of(m);
        check_is(info.time_ns, 0);
        check_is(info.tag, 0);
        check_is(info.sequence, i + 1);
        check_is(ferry_msg_size(m), len);
        check(filled(ferry_msg_data(m), len, i));
        release(m);
    }
    const ferry_route_link_t *l = only_link("q", &route);
    check(l->latency_samples + l->wake_samples >= 3);
    ferry_route_close(route);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

/* Also those that are written in place: calls are. */
static void a_claimed_message_is_looked_at_like_any_other(void) {
    const size_t sizes[] = {64, 1000, 5000, 100000};
    ferry_t *node = open_node("test");
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    ferry_route_t *route;

    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (uint64_t i = 0; i < 400; i++) {
        size_t len = sizes[i % 4];
        void *data = NULL;
        check_is(ferry_claim(tx, len + i % 2, PATIENCE, &data), 0);
        fill(data, len, i);
        check_is(ferry_commit(tx, len), 0);
        ferry_msg_t *m = receive(rx);
        check_is(info_of(m).time_ns, 0);
        check_is(info_of(m).sequence, i + 1);
        check_is(ferry_msg_size(m), len);
        check(filled(ferry_msg_data(m), len, i));
        release(m);
    }
    const ferry_route_link_t *l = only_link("q", &route);
    check(l->latency_samples + l->wake_samples >= 3);
    ferry_route_close(route);
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

static void a_capacity_holds_whatever_is_looked_at(void) {
    ferry_t *node = open_node("test");
    ferry_contract_t contract = {.capacity = 20};
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, &contract);

    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    for (int round = 0; round < 30; round++) {
        uint64_t number = 0;
        while (ferry_send(tx, &number, sizeof number, FERRY_NOW) == 0)
            check(++number <= 20);
        check_is(number, 20);
        for (uint64_t i = 0; i < number; i++)
            release(receive(rx));
    }
    close_sender(tx);
    close_receiver(rx);
    close_node(node);
}

/* ---- a link that changes while it runs ---- */

typedef struct pace {
    atomic_uint ready;
    atomic_uint slow; /* the first receiver takes its time */
    atomic_uint stop;
} pace_t;

static void receive_all(ferry_t *node, pace_t *pace, bool may_be_slow) {
    ferry_receiver_options_t options = {.max_held = 1};
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, may_be_slow ? &options : NULL);
    ferry_msg_t *m;

    atomic_fetch_add(&pace->ready, 1);
    while (!atomic_load(&pace->stop)) {
        int r = ferry_recv(rx, 20 * MILLISECOND, &m);
        if (r == -EPIPE)
            break;
        if (r < 0)
            continue;
        if (may_be_slow && atomic_load(&pace->slow))
            nap(2 * MILLISECOND);
        release(m);
    }
    ferry_receiver_close(rx);
}

static void receive_slowly(ferry_t *node, void *arg) {
    receive_all(node, arg, true);
}

static void receive_quickly(ferry_t *node, void *arg) {
    receive_all(node, arg, false);
}

static void send_on(ferry_sender_t *tx, unsigned count) {
    for (uint64_t i = 0; i < count; i++)
        send_number(tx, i);
}

/* Does one of the two links say this of its turn, and what it takes for a message? */
static bool says(const ferry_route_t *route, const char *words, uint64_t least_ns) {
    for (size_t i = 0; i < ferry_route_links(route); i++) {
        const ferry_route_link_t *l = ferry_route_link(route, i);
        if (l->service_ns >= least_ns && strstr(l->completion_ns.why, words))
            return true;
    }
    return false;
}

static void a_receiver_that_grows_slow_is_passed_over_and_its_link_says_why(void) {
    give_profile(machine); /* it may last long enough to measure otherwise */
    pace_t *pace = share(sizeof *pace);
    crew_t *crew = crew_begin(IN_PROCESSES);
    ferry_route_t *route;
    bool found = false;

    crew_add(crew, receive_slowly, pace);
    crew_add(crew, receive_quickly, pace);
    ferry_sender_t *tx = open_sender(crew_node(crew), "q", FERRY_QUEUE, NULL);
    await(&pace->ready, 2);
    check_is(ferry_sender_wait(tx, 2, PATIENCE), 2);
    bool passed_over = true; /* a machine that stands still makes any receiver slow for a while */
    for (int64_t end = monotonic() + PATIENCE; passed_over && monotonic() < end;) {
        send_on(tx, 1000);
        check_is(ferry_route("test", "q", NULL, &route), 0);
        check_is(ferry_route_links(route), 2);
        passed_over = says(route, "passed over", MILLISECOND);
        ferry_route_close(route);
    }
    check(!passed_over);
    atomic_store(&pace->slow, 1);
    for (int64_t end = monotonic() + PATIENCE; !found && monotonic() < end;) {
        send_on(tx, 50);
        check_is(ferry_route("test", "q", NULL, &route), 0);
        found = says(route, "passed over", MILLISECOND);
        ferry_route_close(route);
    }
    check(found);
    atomic_store(&pace->stop, 1);
    drop_sender(tx);
    crew_join(crew, 0);
    crew_join(crew, 1);
    crew_end(crew);
    check_is(unlink(in_directory("given")), 0);
}

static void answer(ferry_t *node, void *arg) {
    pace_t *pace = arg;
    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);

    atomic_fetch_add(&pace->ready, 1);
    while (!atomic_load(&pace->stop)) {
        ferry_msg_t *m;
        if (ferry_recv(rx, SECOND, &m) == 0)
            release(m);
    }
    ferry_receiver_close(rx);
}

/* What comes too seldom is not worth spinning for. */
static void a_receiver_whose_link_grows_slow_spins_no_longer_and_says_why(void) {
    pace_t *pace = share(sizeof *pace);
    crew_t *crew = crew_begin(IN_PROCESSES);
    ferry_route_t *route;
    bool found = false;

    crew_add(crew, answer, pace);
    ferry_sender_t *tx = open_sender(crew_node(crew), "q", FERRY_QUEUE, NULL);
    await(&pace->ready, 1);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    send_on(tx, 2000);
    for (int64_t end = monotonic() + PATIENCE; !found && monotonic() < end;) {
        for (int i = 0; i < 10; i++) {
            nap(2 * MILLISECOND);
            send_number(tx, 0);
        }
        const ferry_route_link_t *l = only_link("q", &route);
        found = l->spin_ns.value == 1000 && strstr(l->spin_ns.why, "waits outlasted") && l->wake_samples > 0;
        ferry_route_close(route);
    }
    check(found);
    atomic_store(&pace->stop, 1);
    send_number(tx, 0);
    drop_sender(tx);
    crew_join(crew, 0);
    crew_end(crew);
}

int main(int argc, char **argv) {
    static const test_t tests[] = {
        TEST(three_hosts_lead_to_three_choices_each_with_its_reason),
        TEST(what_is_no_profile_is_told_when_a_space_is_opened),
        TEST(what_was_measured_is_kept_for_all_processes_of_this_boot),
        TEST(what_was_kept_is_not_believed_beyond_reason),
        TEST(who_keeps_to_one_core_believes_that_there_are_more),
        TEST(a_program_in_which_messages_flow_measures_in_the_background),
        TEST(figures_can_be_written_as_a_profile),
        TEST_ALL(a_link_shows_its_way_and_why_no_other_is_taken),
        TEST(what_is_not_there_is_told),
        TEST(a_message_that_was_looked_at_is_as_it_was_sent),
        TEST(a_claimed_message_is_looked_at_like_any_other),
        TEST(a_capacity_holds_whatever_is_looked_at),
        TEST(a_receiver_that_grows_slow_is_passed_over_and_its_link_says_why),
        TEST(a_receiver_whose_link_grows_slow_spins_no_longer_and_says_why),
    };
    unsetenv("FERRY_HOST_PROFILE"); /* which keeps other tests from measuring */
    return run_suite("route", tests, sizeof tests / sizeof tests[0], argc, argv);
}
