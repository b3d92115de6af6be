/* SPDX-License-Identifier: Apache-2.0 */
/* How many cores a process may use: quotas of cgroups of both versions, in a tree made for the test, and this process's affinity mask. */
#include "context.h"
#include "harness.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/hunze_test_cores_XXXXXX";

/* Files below the root, each with its folders. */
static const char *const files[][2] = {
    {"cpu.max", "max 100000"},
    {"half/cpu.max", "150000 100000"},
    {"half/job/cpu.max", "800000 100000"},
    {"eight/cpu.max", "800000 100000"},
    {"eight/tight/cpu.max", "1000 100000"},
    {"eight/free/cpu.max", "max 100000"},
    {"odd/cpu.max", "nonsense"},
    {"vast/cpu.max", "99999999999 1"},
    {"cpu/three/cpu.cfs_quota_us", "300000"},
    {"cpu/three/cpu.cfs_period_us", "100000"},
    {"cpu/none/cpu.cfs_quota_us", "-1"},
    {"cpu/none/cpu.cfs_period_us", "100000"},
    {"cpu/three/job/cpu.cfs_quota_us", "50000"},
    {"cpu/three/job/cpu.cfs_period_us", "0"},
};
static const char *const folders[] = {"half", "half/job", "eight",     "eight/tight",   "eight/free", "odd",
                                      "vast", "cpu",      "cpu/three", "cpu/three/job", "cpu/none"};
enum { FILES = sizeof files / sizeof files[0], FOLDERS = sizeof folders / sizeof folders[0] };

static int make_tree(void **state)
{
    (void)state;
    char path[256];
    harness_begin("cores");
    if (!mkdtemp(root))
        return 1;
    for (int i = 0; i < FOLDERS; i++) {
        snprintf(path, sizeof path, "%s/%s", root, folders[i]);
        mkdir(path, 0700);
    }
    for (int i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "%s/%s", root, files[i][0]);
        FILE *stream = fopen(path, "w");
        if (!stream)
            return 1;
        fprintf(stream, "%s\n", files[i][1]);
        fclose(stream);
    }
    return 0;
}

static int remove_tree(void **state)
{
    (void)state;
    char path[256];
    for (int i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "%s/%s", root, files[i][0]);
        unlink(path);
    }
    for (int i = FOLDERS; i-- > 0;) {
        snprintf(path, sizeof path, "%s/%s", root, folders[i]);
        rmdir(path);
    }
    return rmdir(root);
}

static void quotas(void **state)
{
    (void)state;
    static const struct {
        const char *self;
        int32_t cores; /* 0: no quota */
    } cases[] = {
        {"", 0},
        {"nonsense", 0},
        {"0::/\n", 0},
        {"0::/half\n", 2}, /* rounded up */
        {"0::/half/job\n", 2},
        {"0::/eight\n", 8},
        {"0::/eight/tight\n", 1},
        {"0::/eight/free\n", 8},
        {"0::/eight/not/there\n", 8},
        {"0::/odd\n", 0},
        {"0::/vast\n", HUNZE_MAX_THREADS},
        {"4:cpu,cpuacct:/three\n", 3},
        {"4:cpuacct,cpu:/three/job\n", 3},
        {"4:cpuset:/three\n", 0},
        {"4:cpuacct:/three\n", 0},
        {"4:cpu:/none\n", 0},
        {"3:cpuset:/x\n2:cpu:/three\n0::/half\n", 2},
        {"0::/eight\n2:cpu:/three", 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        harness_case("%s", cases[i].self);
        const int32_t cores = hunze_cgroup_cores(cases[i].self, root);
        harness_check(cores == cases[i].cores, "%d cores, not %d", cores, cases[i].cores);
    }
}

static void affinity(void **state)
{
    (void)state;
    cpu_set_t before, one;
    harness_case("bound to one core");
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    harness_check(hunze_usable_cores() >= 1 && hunze_usable_cores() <= CPU_COUNT(&before), "%d cores of %d",
                  hunze_usable_cores(), CPU_COUNT(&before));
    int first = 0;
    while (!CPU_ISSET(first, &before))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    const int32_t cores = hunze_usable_cores();
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    harness_check(cores == 1, "%d cores", cores);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(quotas), cmocka_unit_test(affinity)};
    return cmocka_run_group_tests_name("cores", tests, make_tree, remove_tree);
}
