/* Copies of the runs that convolution reads: of bytes, and of elements with strides. */
#ifndef HUNZE_CONV_COPY_H
#define HUNZE_CONV_COPY_H

#include "conv.h"

#include <string.h>

/* Short runs, so that a call to memcpy would cost more than the copy. */
static inline void hunze_copy_bytes(char *dst, const char *src, int64_t bytes)
{
    if (bytes > 256) {
        memcpy(dst, src, (size_t)bytes);
    } else if (bytes >= 16) {
        int64_t at = 0;
        for (; at + 16 < bytes; at += 16)
            memcpy(dst + at, src + at, 16);
        memcpy(dst + bytes - 16, src + bytes - 16, 16);
    } else if (bytes >= 8) {
        uint64_t first, last;
        memcpy(&first, src, 8);
        memcpy(&last, src + bytes - 8, 8);
        memcpy(dst, &first, 8);
        memcpy(dst + bytes - 8, &last, 8);
    } else if (bytes >= 4) {
        uint32_t first, last;
        memcpy(&first, src, 4);
        memcpy(&last, src + bytes - 4, 4);
        memcpy(dst, &first, 4);
        memcpy(dst + bytes - 4, &last, 4);
    } else {
        for (int64_t at = 0; at < bytes; at++)
            dst[at] = src[at];
    }
}

/* `size` is a constant in each caller. */
static inline void hunze_copy_run(char *dst, int64_t dst_step, const char *src, int64_t src_step, int64_t n,
                                  int64_t size)
{
    if (dst_step == 1 && src_step == 1) {
        hunze_copy_bytes(dst, src, n * size);
        return;
    }
    if (dst_step == 1 && src_step == 2 && size == 4) {
        for (int64_t i = 0; i < n; i++)
            ((uint32_t *)dst)[i] = ((const uint32_t *)src)[2 * i];
        return;
    }
    for (int64_t i = 0; i < n; i++)
        memcpy(dst + i * dst_step * size, src + i * src_step * size, (size_t)size);
}

#endif
