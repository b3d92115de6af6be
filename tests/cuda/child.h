/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of what ends a process: the program runs itself again with one argument. */
#ifndef HUNZE_TEST_CHILD_H
#define HUNZE_TEST_CHILD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

extern "C" {
#include <cmocka.h>
}

struct outcome {
    int status;       /* of waitpid */
    std::string text; /* on stderr */
};

/* variables: "NAME=value" */
static inline outcome run_child(const char *argument, const std::vector<const char *> &variables)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], 2);
        if (!freopen("/dev/null", "w", stdout))
            _exit(126);
        close(ends[0]);
        for (const char *variable : variables)
            putenv(const_cast<char *>(variable));
        execl("/proc/self/exe", "child", argument, (char *)nullptr);
        _exit(127);
    }
    close(ends[1]);
    outcome result;
    char text[4096];
    for (ssize_t got; (got = read(ends[0], text, sizeof text)) > 0;)
        result.text.append(text, (size_t)got);
    close(ends[0]);
    assert_int_equal(waitpid(child, &result.status, 0), child);
    return result;
}

static inline bool exited(const outcome &o, int status)
{
    return WIFEXITED(o.status) && WEXITSTATUS(o.status) == status;
}

#endif
