/* SPDX-License-Identifier: MIT
 *
 * bench.h - `ferry bench`: how fast messages, locks and shared memory are on this machine, each figure beside the limit
 * that the hardware sets, measured alternately with it in the same run.
 *
 * The rest of the tool calls this one function; everything else in this folder is its own business and uses the
 * public headers only, as any program would.
 */
#ifndef FERRY_TOOL_BENCH_H
#define FERRY_TOOL_BENCH_H

/* argv[0] is "bench". Returns an exit status. */
int ferry_tool_bench(int argc, char **argv);

#endif
