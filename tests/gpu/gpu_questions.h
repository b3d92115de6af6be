/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels that are asked something, and their answers: a file each, compared with what is specified and with what a GPU answered before. */
#ifndef HUNZE_TESTS_GPU_QUESTIONS_H
#define HUNZE_TESTS_GPU_QUESTIONS_H

#include "gpu_image.h"

#include <stdio.h>

extern int gpu_faults;
/* Where answers go; recorded: a folder of such answers that a GPU wrote, or NULL. */
void gpu_questions(const char *out, const char *recorded);

/* Runs a kernel over `in` and gives back `words` words; false where the library has no such kernel. */
bool gpu_ask_block(CUlibrary library, const char *name, const unsigned grid[3], unsigned threads, unsigned shared_bytes,
                   int64_t operation, const uint32_t *in, size_t in_words, uint32_t *out, size_t words);
/* The same with a warp in each block. */
bool gpu_ask(CUlibrary library, const char *name, const unsigned grid[3], unsigned shared_bytes, int64_t operation,
             const uint32_t *in, size_t in_words, uint32_t *out, size_t words);
/* A fault: all devices should have it. */
void gpu_no_kernel(const char *name);

/* The file of an answer. */
FILE *gpu_answer(const char *name);
/* Closes it, compares it with the recorded one and prints a RESULT line. */
void gpu_answered(FILE *file, const char *name, int wrong);
/* An answer of numbers: a digest of all, and each row that is not as specified. */
void gpu_keep(const char *name, const char *what, const uint32_t *got, const uint32_t *specified, int rows,
              int columns);

/* What is asked on compute capability 9.0 only; nothing on other devices. */
void gpu_fixtures_sm90a(CUlibrary library);

#endif
