/* SPDX-License-Identifier: MIT
 *
 * bank_service.c - a bank as a service, whose servers are killed while customers bring their orders.
 *
 * Three processes can serve; one at a time is on duty.  The first is killed in the middle of an order, the second when
 * it has carried one out and not answered yet.  Processes with several customers each (threads) bring orders all the
 * time. At the end what is in the accounts and in the purses must be what there was.
 */
#include "bank.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void print_usage(FILE *out) {
    fputs("Usage: bank-service [OPTION]...\n"
          "Customers bring orders to a bank whose servers are killed, and no money is lost.\n"
          "\n"
          "  --processes N   of customers, 1 to 16 (6)\n"
          "  --threads N     customers in each of them, 1 to 4 (3)\n"
          "  --orders N      of each customer, 100 to 1000000 (1000)\n"
          "  --help          print this\n"
          "\n"
          "Ends with status 0 when the books balance and every order was carried out once or not at all.\n",
          out);
}

static void read_options(int argc, char **argv, bank_t *bank) {
    static const struct option options[] = {
        {"processes", required_argument, NULL, 'p'},
        {"threads", required_argument, NULL, 't'},
        {"orders", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'p':
            bank->visitors = crew_number("processes", optarg, 1, CUSTOMERS_MOST / 4);
            break;
        case 't':
            bank->threads = crew_number("threads", optarg, 1, 4);
            break;
        case 'o':
            bank->orders = crew_number("orders", optarg, 100, 1000000);
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

/** The first members of the crew are the servers. */
static int member(ferry_t *node, unsigned number, void *arg) {
    const bank_t *bank = arg;
    return number < bank->servers ? server(node, number, arg) : customers(node, number - bank->servers, arg);
}

static void add_day(day_t *sum, const day_t *day) {
    sum->cash += day->cash;
    sum->carried_out += day->carried_out;
    sum->overdrawn += day->overdrawn;
    sum->not_run += day->not_run;
    sum->uncertain += day->uncertain;
    sum->had_run += day->had_run;
    sum->wrong += day->wrong;
}

/** Prints what happened. 0 when it is what should have. */
static int tell(const bank_t *b) {
    day_t all = {0};
    for (unsigned i = 0; i < CUSTOMERS_MOST; i++) {
        add_day(&all, &b->day[i]);
    }
    unsigned by_servers = b->orders_of_shift[0] + b->orders_of_shift[1] + b->orders_of_shift[2];
    int64_t opened_with = b->opened_with * ACCOUNTS, error = b->left + all.cash - opened_with;
    printf("orders carried out      %8u   by the servers one after the other: %u, %u, %u\n", all.carried_out,
           b->orders_of_shift[0], b->orders_of_shift[1], b->orders_of_shift[2]);
    printf("refused: overdrawn      %8u\n", all.overdrawn);
    printf("calls that may have run %8u   when their server was killed; %u of them had\n", all.uncertain, all.had_run);
    printf("calls that had not run  %8u   when there was no server: sent again\n", all.not_run);
    printf("orders undone           %8u   half done when the server was killed\n", b->repairs);
    printf("the books: opened with %" PRId64 ", in accounts %" PRId64 ", in purses %" PRId64 ", error %" PRId64 "\n",
           opened_with, b->left, all.cash, error);
    bool all_done = all.carried_out + all.overdrawn == b->visitors * b->threads * b->orders;
    bool as_planned = b->shifts == 3 && b->repairs == 1 && all.uncertain >= 2 && all.had_run >= 1;
    bool well = error == 0 && all.wrong == 0 && all_done && as_planned && by_servers == all.carried_out;
    puts(well ? "Two servers were killed, and the books balance: each order was carried out once or not at all."
              : "Something above is NOT as it should be.");
    return well ? 0 : 1;
}

int main(int argc, char **argv) {
    bank_t *bank = crew_memory(sizeof(*bank));
    *bank = (bank_t){.servers = 3, .tellers = 2, .visitors = 6, .threads = 3, .orders = 1000, .opened_with = 1000};
    read_options(argc, argv, bank);
    bank->until_death = bank->visitors * bank->threads * bank->orders / 5;
    printf("%u processes of %u customers each bring %u orders each, to servers of %u threads.\n\n", bank->visitors,
           bank->threads, bank->orders, bank->tellers);
    crew_t crew = {.work = member, .job = bank, .members = bank->servers + bank->visitors, .deaths = 2};
    return crew_run(&crew) == 0 ? tell(bank) : 1;
}
