/* A program outside the tree, in C99: one product by the installed library, and one error. */
#include <hunze.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    float a[6] = {1, 2, 3, 4, 5, 6}, b[6] = {7, 8, 9, 10, 11, 12}, d[4] = {0, 0, 0, 0};
    int64_t a_shape[2] = {2, 3}, b_shape[2] = {3, 2}, d_shape[2] = {2, 2};
    hunze_dtype f32 = {HUNZE_FLOAT, 32, 1};
    hunze_device cpu = {HUNZE_DEVICE_CPU, 0};
    hunze_tensor ta = {0}, tb = {0}, td = {0};
    hunze_context *context = NULL;
    hunze_status status;
    ta.data = a, ta.shape = a_shape;
    tb.data = b, tb.shape = b_shape;
    td.data = d, td.shape = d_shape;
    ta.ndim = tb.ndim = td.ndim = 2;
    ta.dtype = tb.dtype = td.dtype = f32;
    ta.device = tb.device = td.device = cpu;
    if (hunze_abi_version() != HUNZE_ABI_VERSION || strcmp(hunze_version(), HUNZE_VERSION) != 0)
        return 1;
    if (hunze_context_create(NULL, &context) != HUNZE_OK)
        return 2;
    status = hunze_gemm(context, &ta, &tb, NULL, &td, NULL, NULL);
    if (status != HUNZE_OK) {
        fprintf(stderr, "%s: %s\n", hunze_status_name(status), hunze_last_error());
        return 3;
    }
    if (d[0] != 58 || d[1] != 64 || d[2] != 139 || d[3] != 154)
        return 4;
    b_shape[0] = 2;
    if (hunze_gemm(context, &ta, &tb, NULL, &td, NULL, NULL) != HUNZE_ERR_SHAPE || strlen(hunze_last_error()) == 0)
        return 5;
    hunze_context_release(context);
    printf("%g %g %g %g\n", d[0], d[1], d[2], d[3]);
    return 0;
}
