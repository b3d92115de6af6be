// A program outside the tree, in C++: a convolution whose taps are all one sums its window.
#include <cstdio>
#include <hunze.h>
#include <vector>

int main()
{
    std::vector<float> x(16, 2.0f), w(9, 1.0f), y(4, -1.0f);
    int64_t x_shape[] = {1, 1, 4, 4}, w_shape[] = {1, 1, 3, 3}, y_shape[] = {1, 1, 2, 2};
    const hunze_device cpu = {HUNZE_DEVICE_CPU, 0};
    const hunze_dtype f32 = {HUNZE_FLOAT, 32, 1};
    const hunze_tensor tx = {x.data(), cpu, 4, f32, x_shape, nullptr, 0};
    const hunze_tensor tw = {w.data(), cpu, 4, f32, w_shape, nullptr, 0};
    const hunze_tensor ty = {y.data(), cpu, 4, f32, y_shape, nullptr, 0};
    hunze_context *context = nullptr;
    if (hunze_context_create(nullptr, &context) != HUNZE_OK)
        return 1;
    hunze_conv_options options = {};
    options.struct_size = sizeof options;
    const hunze_status status = hunze_conv(context, &tx, &tw, &ty, &options, nullptr);
    if (status != HUNZE_OK) {
        std::fprintf(stderr, "%s: %s\n", hunze_status_name(status), hunze_last_error());
        return 2;
    }
    hunze_context_release(context);
    for (float value : y)
        if (value != 18.0f)
            return 3;
    std::printf("%g\n", y[0]);
    return 0;
}
