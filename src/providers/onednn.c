/* SPDX-License-Identifier: Apache-2.0 */
/* oneDNN 3: its two plain functions for products, which need no primitive. */
#include "providers.h"

#include <stdio.h>

enum { SGEMM, GEMM_U8S8S32 };

typedef struct version_info {
    int major, minor, patch;
    const char *hash;
    unsigned cpu_runtime, gpu_runtime;
} version_info;

static char letter(bool transposed) { return transposed ? 'T' : 'N'; }

static hunze_status result_of(int result)
{
    enum { OUT_OF_MEMORY = 1 };
    return result == 0 ? HUNZE_OK : result == OUT_OF_MEMORY ? HUNZE_ERR_NOMEM : HUNZE_ERR_SYSTEM;
}

hunze_status hunze_gemm_f32_onednn(const hunze_provided_product *p)
{
    int (*const sgemm)(char, char, int64_t, int64_t, int64_t, float, const float *, int64_t, const float *, int64_t,
                       float, float *, int64_t) =
        (int (*)(char, char, int64_t, int64_t, int64_t, float, const float *, int64_t, const float *, int64_t, float,
                 float *, int64_t))p->library->function[SGEMM];
    return result_of(sgemm(letter(p->a_transposed), letter(p->b_transposed), p->m, p->n, p->k, (float)p->alpha, p->a,
                           p->a_step, p->b, p->b_step, (float)p->beta, p->d, p->d_step));
}

/* Exact where the CPU has VNNI: elsewhere it adds pairs in saturating 16 bits. */
hunze_status hunze_gemm_u8s8_onednn(const hunze_provided_product *p)
{
    static const int32_t no_offset = 0;
    int (*const gemm)(char, char, char, int64_t, int64_t, int64_t, float, const uint8_t *, int64_t, uint8_t,
                      const int8_t *, int64_t, int8_t, float, int32_t *, int64_t, const int32_t *) =
        (int (*)(char, char, char, int64_t, int64_t, int64_t, float, const uint8_t *, int64_t, uint8_t, const int8_t *,
                 int64_t, int8_t, float, int32_t *, int64_t, const int32_t *))p->library->function[GEMM_U8S8S32];
    return result_of(gemm(letter(p->a_transposed), letter(p->b_transposed), 'F', p->m, p->n, p->k, 1, p->a, p->a_step,
                          0, p->b, p->b_step, 0, 0, p->d, p->d_step, &no_offset));
}

static bool bind(hunze_library *library, char why[HUNZE_PROVIDER_TEXT])
{
    enum { OPENMP = 2, TBB = 4 };
    const version_info *(*version)(void);
    const struct {
        const char *name;
        void *function;
    } needed[] = {
        {"dnnl_version", &version},
        {"dnnl_sgemm", &library->function[SGEMM]},
        {"dnnl_gemm_u8s8s32", &library->function[GEMM_U8S8S32]},
    };
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (!hunze_library_function(library, needed[i].name, needed[i].function)) {
            snprintf(why, HUNZE_PROVIDER_TEXT, "has no function %s", needed[i].name);
            return false;
        }
    const version_info *v = version();
    snprintf(library->version, sizeof library->version, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    if (v->major != 3) {
        snprintf(why, HUNZE_PROVIDER_TEXT, "is %s, and version 3 is needed", library->version);
        return false;
    }
    if (v->cpu_runtime == TBB) {
        snprintf(why, HUNZE_PROVIDER_TEXT, "runs on TBB, which cannot be held to a call's threads");
        return false;
    }
    return v->cpu_runtime != OPENMP || hunze_library_runs_openmp(library, why);
}

const hunze_provider_file hunze_provider_onednn = {"onednn", "libdnnl.so.3", bind};
