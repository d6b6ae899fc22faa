/* SPDX-License-Identifier: MIT
 *
 * withdrawal.c - the classical race: several processes look at an account, then change it.
 *
 * Three runs of the same text.  Without a lock money comes from nowhere.  With a mutex the books balance.  And they do
 * when one process is killed in the middle of a withdrawal, with the lock in its hand: the next one is told so
 * (FERRY_OWNER_DIED) and undoes the half from a note.
 */
#include "customer.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void print_usage(FILE *out) {
    fputs(
        "Usage: withdrawal [OPTION]...\n"
        "Several processes withdraw from one account: without a lock, with one, and with one whose holder is killed.\n"
        "\n"
        "  --processes N   customers, 2 to 64 (8)\n"
        "  --times N       how often each comes, 2 to 1000000 (1000); the account has enough for half of that\n"
        "  --help          print this\n"
        "\n"
        "Ends with status 0 when the books balance wherever there is a lock.\n",
        out);
}

static void read_options(int argc, char **argv, bank_t *bank) {
    static const struct option options[] = {
        {"processes", required_argument, NULL, 'p'},
        {"times", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'p':
            bank->customers = crew_number("processes", optarg, 2, CUSTOMERS_MOST);
            break;
        case 't':
            bank->times = crew_number("times", optarg, 2, 1000000);
            break;
        case 'h':
            print_usage(stdout);
            exit(0);
        default:
            print_usage(stderr);
            exit(2);
        }
    }
    if (optind != argc) {
        print_usage(stderr);
        exit(2);
    }
}

/** Opens a new account, lets all customers come, and prints a line of the table. 0 when every process did well. */
static int run(bank_t *bank, const char *title, bool locked, unsigned victim) {
    volatile account_t *a = crew_memory(sizeof(*a));
    a->opened_with = a->balance = (int64_t)bank->amount * bank->times * bank->customers / 2;
    a->victim = victim;
    bank->account = a;
    bank->locked = locked;
    crew_t crew = {.work = customer, .job = bank, .members = bank->customers, .deaths = victim == NOBODY ? 0 : 1};
    if (crew_run(&crew) < 0) {
        return -1;
    }
    int64_t error = account_error(a);
    printf("%-27s %12" PRId64 " %12" PRId64 " %12" PRId64 " %12" PRId64 "  %s\n", title, a->opened_with,
           account_paid_out(a), a->balance, error, error == 0 ? "balance" : "DO NOT BALANCE");
    return 0;
}

/** Tells of the run without a lock. */
static void tell_of_the_race(int64_t error) {
    if (error == 0) {
        puts("(a) The race did not show up this time. That proves nothing: try again.");
    } else {
        printf("(a) There is %" PRId64 " %s than there was: who changes what has changed since he looked undoes it.\n",
               error > 0 ? error : -error, error > 0 ? "more" : "less");
    }
}

/** Tells of the death. 0 when it was repaired, once. */
static int tell_of_the_death(const volatile account_t *a) {
    if (a->repairs != 1) {
        printf("(c) %u withdrawals were undone, where one process was killed in the middle of one.\n", a->repairs);
        return -1;
    }
    printf("(c) Customer %u was killed when %" PRId64 " had left the account and not arrived in its purse.\n"
           "    Customer %u got the lock with FERRY_OWNER_DIED, and undid that from the note.\n",
           a->victim, a->missing, a->repaired_by);
    return 0;
}

int main(int argc, char **argv) {
    bank_t bank = {.customers = 8, .times = 1000, .amount = 10};
    read_options(argc, argv, &bank);
    printf("%u processes come %u times each, and withdraw %u if there is as much.\n\n"
           "%-27s %12s %12s %12s %12s  the books\n",
           bank.customers, bank.times, bank.amount, "", "opened with", "paid out", "left", "error");

    if (run(&bank, "(a) without a lock", false, NOBODY) < 0) {
        return 1;
    }
    int64_t broken = account_error(bank.account);
    if (run(&bank, "(b) with a mutex", true, NOBODY) < 0) {
        return 1;
    }
    int64_t repaired = account_error(bank.account);
    if (run(&bank, "(c) and its holder killed", true, 0) < 0) {
        return 1;
    }
    putchar('\n');
    tell_of_the_race(broken);
    int death = tell_of_the_death(bank.account);
    return repaired == 0 && account_error(bank.account) == 0 && death == 0 ? 0 : 1;
}
