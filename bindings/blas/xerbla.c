/* SPDX-License-Identifier: Apache-2.0 */
/* What the reference BLAS prints when an argument is wrong.  Unlike there the process goes on, as with OpenBLAS: the output is untouched.  In a
 * file of its own, so that every call is one that another definition in the program takes over. */
#include "blas.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int RowMajorStrg, CBLAS_CallFromC;

void xerbla_(const char *routine, const void *argument, size_t length)
{
    (void)length; /* callers in C may leave it out */
    int number;
    memcpy(&number, argument, sizeof number); /* INTEGER of 4 bytes, or the lower half of one of 8 */
    char name[6 + 6 + 1] = "cblas_";          /* the rest is zeros */
    for (int i = 0; i < 6 && isalnum((unsigned char)routine[i]); i++) /* padded with blanks, without an end */
        name[6 + i] = CBLAS_CallFromC ? (char)tolower((unsigned char)routine[i]) : routine[i];
    if (CBLAS_CallFromC)
        cblas_xerbla(number + 1, name, "");
    else
        fprintf(stderr, "Parameter %d to routine %s was incorrect\n", number, name + 6);
}

/* Where A and B of a row-major call have changed places, so have the numbers of what belongs to them.  As in the reference, by the routine. */
static int number_by_rows(int argument, const char *routine)
{
    static const struct {
        const char *routine;
        int pairs[6]; /* two numbers that are exchanged, and so on; 0: no more */
    } exchanged[] = {
        {"gemm", {4, 5, 9, 11}}, {"symm", {4, 5}}, {"hemm", {4, 5}},       {"trmm", {6, 7}},
        {"trsm", {6, 7}},        {"gemv", {3, 4}}, {"gbmv", {3, 4, 5, 6}}, {"ger", {2, 3, 6, 8}},
        {"her2k", {0}},          {"her2", {6, 8}}, {"hpr2", {6, 8}},
    };
    for (unsigned i = 0; i < sizeof exchanged / sizeof *exchanged; i++)
        if (strstr(routine, exchanged[i].routine)) {
            const int *pairs = exchanged[i].pairs;
            for (int j = 0; pairs[j]; j++)
                if (pairs[j] == argument)
                    return pairs[j ^ 1];
            return argument;
        }
    return argument;
}

void cblas_xerbla(int argument, const char *routine, const char *format, ...)
{
    if (RowMajorStrg)
        argument = number_by_rows(argument, routine);
    va_list arguments;
    va_start(arguments, format);
    if (argument)
        fprintf(stderr, "Parameter %d to routine %s was incorrect\n", argument, routine);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
}
