/* SPDX-License-Identifier: Apache-2.0 */
/* What exists and what happened to it: kernels with their counters, places in the source with their mutants. */
#include "block.h"

#include <map>
#include <stdio.h>
#include <stdlib.h>
#include <string>

/* ------------------------------------------------------------------ kernels */

struct registered {
    const hunze_emulator_kernel *kernel;
    hunze_emulator_counters counters;
};

/* Kernels register themselves before main begins, in any order of files. */
static std::map<std::string, registered> &kernels()
{
    static auto *all = new std::map<std::string, registered>; /* calls may come late when the process ends */
    return *all;
}

void emulator_register(hunze_emulator_kernel *kernel)
{
    if (!kernels().insert({kernel->name, {kernel, {}}}).second)
        emulator_fail("two kernels are named %s", kernel->name);
}

const hunze_emulator_kernel *hunze_emulator_find_kernel(const char *name)
{
    const auto found = kernels().find(name);
    return found == kernels().end() ? nullptr : found->second.kernel;
}

hunze_emulator_counters *emulator_counters_of(const hunze_emulator_kernel *kernel)
{
    return &kernels().at(kernel->name).counters;
}

bool hunze_emulator_get_counters(const char *kernel, hunze_emulator_counters *counters)
{
    const auto found = kernels().find(kernel);
    if (found == kernels().end())
        return false;
    *counters = found->second.counters;
    return true;
}

void hunze_emulator_reset_counters()
{
    for (auto &entry : kernels())
        entry.second.counters = {};
}

/* ------------------------------------------------------------------ places */

static emulator_site *sites;

static std::string place(const emulator_site *site)
{
    const char *slash = strrchr(site->file, '/');
    return std::string(slash ? slash + 1 : site->file) + ":" + std::to_string(site->line);
}

const char *hunze_emulator_sites()
{
    /* A macro in a template stands once in the source, and is a place in each instance. */
    static auto &text = *new std::string;
    std::map<std::string, uint64_t> hits;
    for (const emulator_site *site = sites; site; site = site->next)
        hits[place(site) + " " + site->name] += site->hits;
    text.clear();
    for (const auto &entry : hits)
        text += entry.first + " " + std::to_string(entry.second) + "\n";
    return text.c_str();
}

static void append_sites()
{
    FILE *file = fopen(getenv("HUNZE_EMU_SITES"), "a");
    if (file) {
        fputs(hunze_emulator_sites(), file);
        fclose(file);
    }
}

void emulator_resolve(emulator_site *site)
{
    if (!sites && getenv("HUNZE_EMU_SITES"))
        atexit(append_sites);
    site->next = sites;
    sites = site;
    site->action = emulator_site::NORMAL;
    const char *mutant = getenv("HUNZE_EMU_MUTATE");
    if (mutant && place(site) + ":drop" == mutant)
        site->action = emulator_site::DROP;
    if (mutant && place(site) + ":flip" == mutant)
        site->action = emulator_site::FLIP;
}

emulator_site *emulator_site_at(const char *file, int line, const char *name)
{
    static auto *places = new std::map<std::pair<const char *, int>, emulator_site>;
    emulator_site *site = &(*places)[{file, line}];
    if (!site->file)
        *site = {file, line, name, emulator_site::NEW, 0, nullptr};
    return site;
}
