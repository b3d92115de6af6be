/* SPDX-License-Identifier: Apache-2.0 */
/* How many cores this process may use: its affinity mask, and the quota of its cgroup (v2 or v1) and of those above it. */
#include "context.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The file's text, cut at `size`; false if it cannot be read. */
static bool read_text(const char *path, char *text, size_t size)
{
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    size_t length = 0;
    for (ssize_t got; length < size - 1 && (got = read(file, text + length, size - 1 - length)) > 0;)
        length += (size_t)got;
    close(file);
    text[length] = 0;
    return length > 0;
}

static int32_t smaller(int32_t cores, long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return cores;
    const long long allowed = (quota + period - 1) / period;
    return cores == 0 || allowed < cores ? (int32_t)(allowed < HUNZE_MAX_THREADS ? allowed : HUNZE_MAX_THREADS) : cores;
}

/* The smallest quota from `directory` + `group` up to `directory`. */
static int32_t quota_along(const char *directory, const char *group, bool v2)
{
    char path[1024], text[128];
    int32_t cores = 0;
    for (size_t length = strlen(group);; length--) {
        if (length > 0 && group[length] != '/' && group[length] != 0)
            continue;
        long long quota = 0, period = 0;
        if (v2) {
            snprintf(path, sizeof path, "%s%.*s/cpu.max", directory, (int)length, group);
            if (read_text(path, text, sizeof text) && sscanf(text, "%lld %lld", &quota, &period) == 2)
                cores = smaller(cores, quota, period);
        } else {
            snprintf(path, sizeof path, "%s%.*s/cpu.cfs_quota_us", directory, (int)length, group);
            if (read_text(path, text, sizeof text) && sscanf(text, "%lld", &quota) == 1) {
                snprintf(path, sizeof path, "%s%.*s/cpu.cfs_period_us", directory, (int)length, group);
                if (read_text(path, text, sizeof text) && sscanf(text, "%lld", &period) == 1)
                    cores = smaller(cores, quota, period);
            }
        }
        if (length == 0)
            return cores;
    }
}

static bool lists_cpu(const char *controllers, size_t length)
{
    for (size_t start = 0; start < length;) {
        const char *comma = memchr(controllers + start, ',', length - start);
        const size_t end = comma ? (size_t)(comma - controllers) : length;
        if (end - start == 3 && memcmp(controllers + start, "cpu", 3) == 0)
            return true;
        start = end + 1;
    }
    return false;
}

int32_t hunze_cgroup_cores(const char *self, const char *root)
{
    int32_t cores = 0;
    /* A line is "number:controllers:path"; v2 has number 0 and no controllers. */
    for (const char *line = self; line && *line; line = strchr(line, '\n'), line += line != NULL) {
        const char *controllers = strchr(line, ':');
        const char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        char group[768], directory[256];
        const size_t length = strcspn(path + 1, "\n");
        snprintf(group, sizeof group, "%.*s", (int)(length < sizeof group ? length : sizeof group - 1), path + 1);
        if (strcmp(group, "/") == 0)
            group[0] = 0;
        const size_t names = (size_t)(path - controllers - 1);
        int32_t found = 0;
        if (names == 0) {
            found = quota_along(root, group, true);
        } else if (lists_cpu(controllers + 1, names)) {
            snprintf(directory, sizeof directory, "%s/cpu", root); /* a link where cpu and cpuacct share a mount */
            found = quota_along(directory, group, false);
        }
        if (found > 0 && (cores == 0 || found < cores))
            cores = found;
    }
    return cores;
}

int32_t hunze_usable_cores(void)
{
    int32_t cores = 0;
    for (int limit = 1024; cores == 0 && limit <= 1 << 16; limit *= 2) { /* EINVAL: the kernel's mask is larger */
        cpu_set_t *set = CPU_ALLOC(limit);
        if (!set)
            break;
        const size_t bytes = CPU_ALLOC_SIZE(limit);
        if (sched_getaffinity(0, bytes, set) == 0)
            cores = CPU_COUNT_S(bytes, set);
        CPU_FREE(set);
    }
    if (cores == 0)
        cores = (int32_t)sysconf(_SC_NPROCESSORS_ONLN);
    char self[4096];
    if (read_text("/proc/self/cgroup", self, sizeof self)) {
        const int32_t quota = hunze_cgroup_cores(self, "/sys/fs/cgroup");
        if (quota > 0 && quota < cores)
            cores = quota;
    }
    return cores < 1 ? 1 : cores < HUNZE_MAX_THREADS ? cores : HUNZE_MAX_THREADS;
}
