/* SPDX-License-Identifier: Apache-2.0 */
/* Launches of test kernels on the emulator, with vectors as their global memory; and how wrong ones must end, in a child: the program again, with
 * the kernel's name. */
#ifndef HUNZE_TEST_EMULATOR_CASE_H
#define HUNZE_TEST_EMULATOR_CASE_H

#include "emulator/launch.h"
#include "child.h"

#include <vector>

enum { SEEDS = 20 };

static std::vector<hunze_emulator_range> ranges;

static inline bool find(void *, uintptr_t address, hunze_emulator_range *range)
{
    for (const hunze_emulator_range &one : ranges)
        if (address >= one.begin && address < one.end) {
            *range = one;
            return true;
        }
    *range = ranges[0];
    return false;
}

template <typename T> static void allow(const std::vector<T> &memory)
{
    const auto begin = (uintptr_t)memory.data();
    ranges.push_back({begin, begin + memory.size() * sizeof(T), 0});
}

static inline void launch(const char *name, uint32_t blocks, uint32_t shared_bytes, const void *arguments)
{
    hunze_emulator_launch l = {};
    l.kernel = hunze_emulator_find_kernel(name);
    assert_non_null(l.kernel);
    l.grid[0] = blocks;
    l.grid[1] = l.grid[2] = 1;
    l.threads = l.kernel->threads;
    l.shared_bytes = shared_bytes;
    l.arguments = arguments;
    l.find = find;
    hunze_emulator_run(&l);
}

static inline bool begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

/* With each seed, whatever the order of threads and copies. */
static inline void expect_right(std::initializer_list<const char *> kernels, bool (*run)(const char *kernel))
{
    for (const char *kernel : kernels)
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            hunze_emulator_set_seed(seed);
            if (!run(kernel))
                fail_msg("%s, seed %d: wrong result", kernel, (int)seed);
        }
    hunze_emulator_set_seed(1);
}

static inline void expect_end(const char *kernel, const char *sentence, std::initializer_list<const char *> variables)
{
    const outcome o = run_child(kernel, variables);
    if (!exited(o, HUNZE_EMULATOR_STATUS) || o.text.find(sentence) == std::string::npos ||
        o.text.find(kernel) == std::string::npos)
        fail_msg("%s: status %#x, not \"%s\" but: %s", kernel, o.status, sentence, o.text.c_str());
}

#endif
