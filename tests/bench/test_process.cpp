/* SPDX-License-Identifier: Apache-2.0 */
/* Workers that answer, die, say nothing or say nonsense: the coordinator goes on and knows what happened. */
#include "../../bench/process.hpp"

#include <string>

#include "cmocka.hpp"

using namespace bench;
using nlohmann::json;

namespace
{

Worker shell(const std::string &script)
{
    return Worker("shell", {"/bin/sh", "-c", script}, allowed_cpus(), {{"HUNZE_SHELL", "7"}});
}

std::string refusal(Worker &worker, double seconds = 20)
{
    try {
        worker.ask({{"do", "run"}}, seconds);
    } catch (const WorkerError &error) {
        return error.what();
    }
    return "answered";
}

} // namespace

static void answers(void **)
{
    Worker worker = shell("while read line; do echo \"{\\\"asked\\\": $line, \\\"variable\\\": $HUNZE_SHELL}\"; done");
    for (int i = 0; i < 3; i++) {
        const json answer = worker.ask({{"do", "hello"}, {"number", i}});
        assert_int_equal(answer.at("asked").at("number").get<int>(), i);
        assert_int_equal(answer.at("variable").get<int>(), 7);
    }
}

static void what_tunes_other_libraries_is_forgotten(void **)
{
    std::string seen;
    for (const char *name : {"OPENBLAS_CORETYPE", "ATEN_CPU_CAPABILITY", "FBGEMM_ENABLE_INSTRUCTIONS",
                             "TORCH_MKLDNN_MATMUL_MIN_DIM", "ORT_QMOE_CPU_DISABLE_AVX512", "GGML_TOTAL_THREADS"}) {
        setenv(name, "chosen", 1);
        seen += std::string("${") + name + "-none} ";
    }
    setenv("OMP_NUM_THREADS", "5", 1);
    Worker worker("shell",
                  {"/bin/sh", "-c", "read line; echo \"{\\\"seen\\\": \\\"" + seen + "$OMP_NUM_THREADS\\\"}\""},
                  allowed_cpus(), {{"OMP_NUM_THREADS", "1"}});
    assert_string_equal(worker.ask({{"do", "hello"}}).at("seen").get<std::string>().c_str(),
                        "none none none none none none 1");
}

static void a_crash_is_named_and_the_next_request_starts_it_again(void **)
{
    Worker worker = shell("read line; case $line in *run*) kill -SEGV $$;; *) echo '{}';; esac; read line");
    assert_string_equal(refusal(worker).c_str(), "ended by signal 11 in run");
    assert_false(worker.runs());
    worker.ask({{"do", "hello"}});
    assert_true(worker.runs());
}

static void an_end_without_an_answer(void **)
{
    Worker worker = shell("read line; exit 3");
    assert_string_equal(refusal(worker).c_str(), "ended with status 3 in run");
}

/* It reads no more when the second request comes: the coordinator is told, and lives. */
static void an_end_between_two_requests(void **)
{
    Worker worker = shell("read line; exec 0<&-; echo '{}'; exit 5");
    worker.ask({{"do", "hello"}});
    assert_string_equal(refusal(worker).c_str(), "ended with status 5 before run");
    worker.ask({{"do", "hello"}});
    assert_true(worker.runs());
}

static void a_program_that_is_not_there(void **)
{
    Worker worker("ghost", {"/nowhere/program"}, allowed_cpus(), {});
    const std::string said = refusal(worker);
    if (said.find("could not be started: /nowhere/program") == std::string::npos)
        fail_msg("%s", said.c_str());
}

static void no_answer_in_time(void **)
{
    Worker worker = shell("read line; exec sleep 100");
    assert_string_equal(refusal(worker, 1).c_str(), "gave no answer to run within 1 s");
    assert_false(worker.runs());
}

static void nonsense_and_refusals(void **)
{
    Worker nonsense = shell("read line; echo hello; read line");
    assert_string_equal(refusal(nonsense).c_str(), "answered no JSON object to run");
    Worker refusing = shell("while read line; do echo '{\"error\": \"not today\"}'; done");
    assert_string_equal(refusal(refusing).c_str(), "not today");
    assert_true(refusing.runs());
}

/* An answer longer than a pipe holds. */
static void long_answers(void **)
{
    Worker worker =
        shell("read line; printf '{\"text\": \"'; head -c 300000 /dev/zero | tr '\\0' x; echo '\"}'; read line");
    assert_int_equal(worker.ask({{"do", "hello"}}).at("text").get<std::string>().size(), 300000);
}

int main()
{
    const CMUnitTest tests[] = {cmocka_unit_test(answers),
                                cmocka_unit_test(what_tunes_other_libraries_is_forgotten),
                                cmocka_unit_test(a_crash_is_named_and_the_next_request_starts_it_again),
                                cmocka_unit_test(an_end_without_an_answer),
                                cmocka_unit_test(an_end_between_two_requests),
                                cmocka_unit_test(a_program_that_is_not_there),
                                cmocka_unit_test(no_answer_in_time),
                                cmocka_unit_test(nonsense_and_refusals),
                                cmocka_unit_test(long_answers)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
