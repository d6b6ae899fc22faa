/* SPDX-License-Identifier: MIT
 *
 * host.c - what was measured of a host, what is kept of it, and what is chosen from it.
 */
#include "routes.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char metal[] = "wake_ns 3000\nline_ns 40\npage_ns 250\ncopy_256_mbps 30000\ncopy_4096_mbps 40000\n"
                            "copy_65536_mbps 12000\ncopy_1048576_mbps 8000\n";
static const char even[] =
    "# quick cores, slow to wake\nwake_ns 60000\nline_ns 20\npage_ns 100\n"
    "copy_256_mbps 50000\ncopy_4096_mbps 50000\ncopy_65536_mbps 50000\ncopy_1048576_mbps 50000\n";

typedef struct expected {
    const char *profile;
    uint64_t spin_ns;
    uint64_t inline_max;
    const char *wake;
} expected_t;

/* A message of 3000 bytes goes by pointer, unless it is small here. False: somebody else wanted the core while its
 * receiver waited, which spins shortly then, whatever the host. */
static bool link_is_as_chosen(ferry_t *node, const expected_t *want) {
    static unsigned char bytes[3000];
    ferry_route_t *route;

    ferry_receiver_t *rx = open_receiver(node, "q", FERRY_QUEUE, NULL);
    ferry_sender_t *tx = open_sender(node, "q", FERRY_QUEUE, NULL);
    check_is(ferry_sender_wait(tx, 1, PATIENCE), 1);
    check_is(ferry_send(tx, bytes, sizeof bytes, PATIENCE), 0);
    check_is(sender_stats(tx).pool_blocks > 0, sizeof bytes > want->inline_max);
    release(receive(rx));
    const ferry_route_link_t *l = only_link("q", &route);
    check_is(l->inline_max.value, want->inline_max);
    check(strstr(l->inline_max.why, "given") != NULL);
    bool spins = strstr(l->spin_ns.why, "core is wanted") == NULL;
    check_is(l->spin_ns.value, spins ? want->spin_ns : 1000);
    check(!spins || strstr(l->spin_ns.why, want->wake));
    ferry_route_close(route);
    close_sender(tx);
    close_receiver(rx);
    return spins;
}

static void use_profile(void *arg) {
    const expected_t *want = arg;
    ferry_host_t host;
    ferry_host_choices_t choices;
    bool spins = false;

    give_profile(want->profile);
    check_is(ferry_host(NULL, FERRY_HOST_MEASURE_NOT, &host, &choices), 0);
    check_is(host.source, FERRY_HOST_GIVEN);
    check_is(choices.spin_ns.value, want->spin_ns);
    check_is(choices.inline_max.value, want->inline_max);
    ferry_t *node = open_node("test");
    for (int64_t end = monotonic() + PATIENCE; !spins && monotonic() < end;)
        spins = link_is_as_chosen(node, want);
    check(spins);
    close_node(node);
    check_is(unlink(in_directory("given")), 0);
}

static void three_hosts_lead_to_three_choices_each_with_its_reason(void) {
    expected_t wants[] = {
        {metal, 3000, 1024, "3.0 us"}, {usual_host, 24000, 2048, "24 us"}, {even, 60000, 4096, "60 us"}};

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

    /* Not in time on a busy host: then the figures are not kept, and another one tries. As long as a child may take. */
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

int main(int argc, char **argv) {
    static const test_t tests[] = {
        TEST(three_hosts_lead_to_three_choices_each_with_its_reason),
        TEST(what_is_no_profile_is_told_when_a_space_is_opened),
        TEST(what_was_measured_is_kept_for_all_processes_of_this_boot),
        TEST(what_was_kept_is_not_believed_beyond_reason),
        TEST(who_keeps_to_one_core_believes_that_there_are_more),
        TEST(a_program_in_which_messages_flow_measures_in_the_background),
        TEST(figures_can_be_written_as_a_profile),
    };
    unsetenv("FERRY_HOST_PROFILE"); /* which keeps other tests from measuring */
    return run_suite("host", tests, sizeof tests / sizeof tests[0], argc, argv);
}
