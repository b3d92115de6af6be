/* SPDX-License-Identifier: Apache-2.0 */
/* OpenBLAS: cblas_sgemm and cblas_dgemm, of Debian's packages and of the wheels that NumPy, SciPy and scipy-openblas carry. */
#include "providers.h"

#include <stdio.h>
#include <string.h>

enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 };
enum { SGEMM, DGEMM };

#define GEMM_TYPE(integer, real)                                                                                       \
    void (*)(int, int, int, integer, integer, integer, real, const real *, integer, const real *, integer, real,       \
             real *, integer)

/* The call, with integers of 32 or 64 bits. */
#define CALL(integer, real, which)                                                                                     \
    ((GEMM_TYPE(integer, real))p->library->function[which])(                                                           \
        ROW_MAJOR, p->a_transposed ? TRANSPOSE : NO_TRANSPOSE, p->b_transposed ? TRANSPOSE : NO_TRANSPOSE,             \
        (integer)p->m, (integer)p->n, (integer)p->k, (real)p->alpha, p->a, (integer)p->a_step, p->b,                   \
        (integer)p->b_step, (real)p->beta, p->d, (integer)p->d_step)

hunze_status hunze_gemm_f32_openblas(const hunze_provided_product *p)
{
    if (p->library->wide)
        CALL(int64_t, float, SGEMM);
    else
        CALL(int32_t, float, SGEMM);
    return HUNZE_OK;
}

hunze_status hunze_gemm_f64_openblas(const hunze_provided_product *p)
{
    if (p->library->wide)
        CALL(int64_t, double, DGEMM);
    else
        CALL(int32_t, double, DGEMM);
    return HUNZE_OK;
}

static bool bind(hunze_library *library, char why[HUNZE_PROVIDER_TEXT])
{
    static const char *const prefixes[] = {"", "scipy_"}, *const suffixes[] = {"", "64_"};
    enum { OPENMP = 2 };
    char *(*get_config)(void);
    int (*get_parallel)(void);
    const struct {
        const char *name;
        void *function;
    } needed[] = {
        {"cblas_sgemm", &library->function[SGEMM]},
        {"cblas_dgemm", &library->function[DGEMM]},
        {"openblas_get_config", &get_config},
        {"openblas_get_parallel", &get_parallel},
        {"openblas_get_num_threads", &library->get_threads},
        {"openblas_set_num_threads", &library->set_threads},
    };
    enum { NEEDED = sizeof needed / sizeof needed[0] };
    int best = -1, found = 0;
    for (int form = 0; form < 4 && found < NEEDED; form++) {
        for (found = 0; found < NEEDED; found++) {
            char name[64];
            snprintf(name, sizeof name, "%s%s%s", prefixes[form / 2], needed[found].name, suffixes[form % 2]);
            if (!hunze_library_function(library, name, needed[found].function))
                break;
        }
        library->wide = form % 2;
        best = found > best ? found : best;
    }
    if (found < NEEDED) {
        snprintf(why, HUNZE_PROVIDER_TEXT, "has no function %s, nor one with scipy_ before or 64_ behind it",
                 needed[best].name);
        return false;
    }
    snprintf(library->version, sizeof library->version, "%s", get_config());
    library->wide |= strstr(library->version, "USE64BITINT") != NULL;
    return get_parallel() != OPENMP || hunze_library_runs_openmp(library, why);
}

const hunze_provider_file hunze_provider_openblas = {"openblas", "libopenblas.so.0", bind};
