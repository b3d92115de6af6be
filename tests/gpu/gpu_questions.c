/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu_questions.h"

#include "gpu_fixtures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int gpu_faults;
static const char *out_folder, *recorded_folder;

void gpu_questions(const char *out, const char *recorded)
{
    out_folder = out;
    recorded_folder = recorded;
}

bool gpu_ask_block(CUlibrary library, const char *name, const unsigned grid[3], unsigned threads, unsigned shared_bytes,
                   int64_t operation, const uint32_t *in, size_t in_words, uint32_t *out, size_t words)
{
    const CUkernel kernel = gpu_kernel(library, name);
    if (!kernel)
        return false;
    CUdeviceptr device_in = 0, device_out;
    NEED(cuMemAlloc(&device_out, words * sizeof *out));
    if (in_words) {
        NEED(cuMemAlloc(&device_in, in_words * sizeof *in));
        NEED(cuMemcpyAsync(device_in, (CUdeviceptr)in, in_words * sizeof *in, NULL));
    }
    hunze_fixture_call call = {(const uint32_t *)device_in, (uint32_t *)device_out, operation};
    gpu_launch(kernel, grid, threads, shared_bytes, &call, NULL);
    NEED(cuMemcpyAsync((CUdeviceptr)out, device_out, words * sizeof *out, NULL));
    NEED(cuStreamSynchronize(NULL));
    NEED(cuMemFree(device_out));
    if (device_in)
        NEED(cuMemFree(device_in));
    return true;
}

bool gpu_ask(CUlibrary library, const char *name, const unsigned grid[3], unsigned shared_bytes, int64_t operation,
             const uint32_t *in, size_t in_words, uint32_t *out, size_t words)
{
    return gpu_ask_block(library, name, grid, 32, shared_bytes, operation, in, in_words, out, words);
}

/* ------------------------------------------------------------------ answers */

FILE *gpu_answer(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.txt", out_folder, name);
    FILE *file = fopen(path, "w");
    if (!file) {
        printf("cannot write %s\n", path);
        exit(1);
    }
    return file;
}

void gpu_answered(FILE *file, const char *name, int wrong)
{
    fclose(file);
    char path[4096], recorded_path[4096], line[4096], recorded_line[4096];
    snprintf(path, sizeof path, "%s/%s.txt", out_folder, name);
    snprintf(recorded_path, sizeof recorded_path, "%s/%s.txt", recorded_folder ? recorded_folder : "", name);
    FILE *recorded = recorded_folder ? fopen(recorded_path, "r") : NULL;
    const char *compared = "no device has written it";
    if (recorded) {
        FILE *made = fopen(path, "r");
        compared = "as recorded";
        for (bool more = true; more;) {
            const char *got = fgets(line, sizeof line, made);
            const char *want = fgets(recorded_line, sizeof recorded_line, recorded);
            more = got && want;
            if ((got == NULL) != (want == NULL) || (more && strcmp(line, recorded_line) != 0)) {
                printf("%s differs from the record: %s", name, got ? line : "it is shorter\n");
                compared = "differs";
                gpu_faults++;
                break;
            }
        }
        fclose(made);
        fclose(recorded);
    }
    if (wrong)
        printf("%s: %d answers are not as specified\n", name, wrong);
    gpu_faults += wrong;
    printf("RESULT {\"fixture\": \"%s\", \"wrong\": %d, \"record\": \"%s\"}\n", name, wrong, compared);
}

void gpu_no_kernel(const char *name)
{
    printf("%s: no such kernel\n", name);
    gpu_faults++;
}

void gpu_keep(const char *name, const char *what, const uint32_t *got, const uint32_t *specified, int rows, int columns)
{
    FILE *file = gpu_answer(name);
    uint32_t digest = 2166136261u;
    int wrong = 0;
    fprintf(file, "%s\n", what);
    for (int row = 0; row < rows; row++) {
        int differ = 0;
        for (int column = 0; column < columns; column++) {
            digest = (digest ^ got[row * columns + column]) * 16777619u;
            differ += got[row * columns + column] != specified[row * columns + column];
        }
        wrong += differ;
        if (!differ)
            continue;
        fprintf(file, "row %d is:", row);
        for (int column = 0; column < columns; column++)
            fprintf(file, " %x", got[row * columns + column]);
        fprintf(file, "\n");
    }
    fprintf(file, "%d of %d are not as specified, digest of all: %08x\n", wrong, rows * columns, digest);
    gpu_answered(file, name, wrong);
}
