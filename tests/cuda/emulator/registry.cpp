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

/* "file:line name kernel" and how often it was reached, of launches that have ended. */
static std::map<std::string, uint64_t> &reached()
{
    static auto *all = new std::map<std::string, uint64_t>;
    return *all;
}

static std::string place(const emulator_site *site)
{
    const char *slash = strrchr(site->file, '/');
    return std::string(slash ? slash + 1 : site->file) + ":" + std::to_string(site->line);
}

static void append_sites()
{
    FILE *file = fopen(getenv("HUNZE_EMU_SITES"), "a");
    if (!file)
        return;
    for (const auto &entry : reached())
        fprintf(file, "%s %llu\n", entry.first.c_str(), (unsigned long long)entry.second);
    fprintf(file, "steps %llu\n", (unsigned long long)emulator.steps);
    fclose(file);
}

/* HUNZE_EMU_MUTATE breaks a place in all kernels, or in the one after "@". */
static void mutate(emulator_site *site)
{
    static const struct {
        const char *name;
        decltype(site->action) action;
    } mutants[] = {{":drop", emulator_site::DROP},
                   {":flip", emulator_site::FLIP},
                   {":early", emulator_site::EARLY},
                   {":off_by_one", emulator_site::OFF_BY_ONE}};
    static const char *const asked = getenv("HUNZE_EMU_MUTATE");
    site->action = emulator_site::NORMAL;
    for (const auto &mutant : mutants)
        if (asked && (place(site) + mutant.name == asked ||
                      place(site) + mutant.name + "@" + emulator_launch->kernel->name == asked))
            site->action = mutant.action;
}

void emulator_resolve(emulator_site *site)
{
    site->next = sites;
    sites = site;
    mutate(site);
}

void emulator_launch_begins()
{
    static const bool is_asked = getenv("HUNZE_EMU_MUTATE");
    for (emulator_site *site = sites; site && is_asked; site = site->next)
        mutate(site);
}

/* A macro in a template stands once in the source, and is a place in each instance. */
void emulator_launch_ends()
{
    static const bool is_asked = getenv("HUNZE_EMU_SITES") && !atexit(append_sites);
    for (emulator_site *site = sites; site && is_asked; site = site->next) {
        if (site->hits)
            reached()[place(site) + " " + site->name + (site->compares ? ",compares " : " ") +
                      emulator_launch->kernel->name] += site->hits;
        site->hits = 0;
    }
}

void emulator_check_steps()
{
    if (!emulator.most_steps) {
        const char *text = getenv("HUNZE_EMU_STEPS");
        emulator.most_steps = text ? strtoull(text, nullptr, 0) : UINT64_MAX;
    }
    if (emulator.steps > emulator.most_steps)
        emulator_fail("this is step %llu of the process, more than HUNZE_EMU_STEPS",
                      (unsigned long long)emulator.steps);
}

emulator_site *emulator_site_at(const char *file, int line, const char *name)
{
    static auto *places = new std::map<std::pair<const char *, int>, emulator_site>;
    emulator_site *site = &(*places)[{file, line}];
    if (!site->file)
        *site = {file, line, name, emulator_site::NEW, false, 0, nullptr};
    return site;
}
