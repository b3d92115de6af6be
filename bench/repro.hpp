/* SPDX-License-Identifier: Apache-2.0 */
/* A call again, from the line of a trace (hunze_trace_record.line): the same operation, kernel, shapes and strides, with values of our own. */
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

namespace bench
{

/* What is wrong with a line; the message starts with the column, counted from 1. */
struct LineError : std::runtime_error {
    LineError(size_t column_, const std::string &what)
        : std::runtime_error("column " + std::to_string(column_) + ": " + what), column(column_)
    {
    }
    size_t column;
};

/* Runs the line's call once; the line of its own trace.  LineError, or runtime_error where the library refuses the call.
 * threads: 0 is the library's choice.  *note, if given, says why another kernel than the line's ran, or is empty. */
std::string repro_once(const std::string &line, int threads = 0, std::string *note = nullptr);

/* Runs it nine times some 20 ms and prints what that took.  Exit status: 0, or 2 with the error on standard error. */
int repro(const std::string &line, int threads);

} // namespace bench
