/* The kernel table: kernels.def included once to declare the leaf functions and once to make the rows. */
#include "kernels.h"

#if HUNZE_WITH_CUDA
#include "../cuda/launchers.h"
#endif

#define HUNZE_GEMM_FLOAT(name_, isa_, type_, float_tile_, float_strip_, float_batch_, pack_b_, float_epilogue_, ...)   \
    hunze_float_tile_fn float_tile_;                                                                                   \
    hunze_float_strip_fn float_strip_;                                                                                 \
    hunze_float_batch_fn float_batch_;                                                                                 \
    hunze_pack_b_fn pack_b_;                                                                                           \
    hunze_float_epilogue_fn float_epilogue_;
#define HUNZE_GEMM_NARROW(name_, isa_, type_, float_tile_, pack_b_, float_epilogue_, widen_, narrow_, ...)             \
    hunze_float_tile_fn float_tile_;                                                                                   \
    hunze_pack_b_fn pack_b_;                                                                                           \
    hunze_widen_fn widen_;                                                                                             \
    hunze_narrow_fn narrow_;                                                                                           \
    hunze_float_epilogue_fn float_epilogue_;
#define HUNZE_GEMM_WRAPPING(name_, isa_, type_, float_tile_, pack_b_, float_epilogue_, ...)                            \
    hunze_float_tile_fn float_tile_;                                                                                   \
    hunze_pack_b_fn pack_b_;                                                                                           \
    hunze_float_epilogue_fn float_epilogue_;
#define HUNZE_GEMM_INT(name_, isa_, a_, int_tile_, pack_int_, int_epilogue_, ...)                                      \
    hunze_int_tile_fn int_tile_;                                                                                       \
    hunze_pack_int_fn pack_int_;                                                                                       \
    hunze_int_epilogue_fn int_epilogue_;
#define HUNZE_DEPTHWISE(name_, isa_, a_, b_, d_, depthwise_, depthwise_plane_, ...)                                    \
    hunze_depthwise_fn depthwise_;                                                                                     \
    hunze_depthwise_plane_fn depthwise_plane_;
#define HUNZE_QUANTIZE(name_, isa_, codes_, quantize_, minmax_)                                                        \
    hunze_quantize_fn quantize_;                                                                                       \
    hunze_minmax_fn minmax_;
#define HUNZE_DEQUANTIZE(name_, isa_, codes_, quantize_) hunze_quantize_fn quantize_;
#define HUNZE_ACTIVATION(name_, isa_, type_, float_epilogue_) hunze_float_epilogue_fn float_epilogue_;
#define HUNZE_GEMM_PROVIDER(name_, provider_, a_, b_, d_, provided_, ...) hunze_provided_fn provided_;
#define HUNZE_CUDA(name_, op_, needs_, a_, b_, d_, launch_, ...) hunze_cuda_launch_fn launch_;
#include "kernels.def"

#define BOUND_F32 HUNZE_BOUND_F32
#define BOUND_F64 HUNZE_BOUND_F64

/* A row reads as lines of a table. */
/* clang-format off */
#define HUNZE_GEMM_FLOAT(name_, isa_, type_, float_tile_, float_strip_, float_batch_, pack_b_, float_epilogue_, ...)   \
    {.name = name_, .op = HUNZE_OP_GEMM, .isa = HUNZE_ISA_##isa_, .a = HUNZE_TYPE_##type_, .b = HUNZE_TYPE_##type_,    \
     .d = HUNZE_TYPE_##type_, .order = HUNZE_ORDER_CHAIN, .bound = BOUND_##type_, .float_tile = float_tile_,           \
     .float_strip = float_strip_, .float_batch = float_batch_, .pack_b = pack_b_, .float_epilogue = float_epilogue_,   \
     .kr = 1, __VA_ARGS__},
#define HUNZE_GEMM_NARROW(name_, isa_, type_, float_tile_, pack_b_, float_epilogue_, widen_, narrow_, ...)             \
    {.name = name_, .op = HUNZE_OP_GEMM, .isa = HUNZE_ISA_##isa_, .a = HUNZE_TYPE_##type_, .b = HUNZE_TYPE_##type_,    \
     .d = HUNZE_TYPE_F32, .bound = HUNZE_BOUND_F32, .float_tile = float_tile_,             \
     .pack_b = pack_b_, .widen = widen_, .narrow = narrow_, .float_epilogue = float_epilogue_, __VA_ARGS__},
#define HUNZE_GEMM_WRAPPING(name_, isa_, type_, float_tile_, pack_b_, float_epilogue_, ...)                            \
    {.name = name_, .op = HUNZE_OP_GEMM, .isa = HUNZE_ISA_##isa_, .a = HUNZE_TYPE_##type_, .b = HUNZE_TYPE_##type_,    \
     .d = HUNZE_TYPE_##type_, .order = HUNZE_ORDER_EXACT, .bound = HUNZE_BOUND_EXACT, .float_tile = float_tile_,       \
     .pack_b = pack_b_, .float_epilogue = float_epilogue_, .kr = 1, __VA_ARGS__},
#define HUNZE_GEMM_INT(name_, isa_, a_, int_tile_, pack_int_, int_epilogue_, ...)                                      \
    {.name = name_, .op = HUNZE_OP_GEMM, .isa = HUNZE_ISA_##isa_, .a = HUNZE_TYPE_##a_, .b = HUNZE_TYPE_S8,            \
     .d = HUNZE_TYPE_S32, .order = HUNZE_ORDER_EXACT, .bound = HUNZE_BOUND_EXACT, .int_tile = int_tile_,               \
     .pack_int = pack_int_, .int_epilogue = int_epilogue_, __VA_ARGS__},
#define HUNZE_DEPTHWISE(name_, isa_, a_, b_, d_, depthwise_, depthwise_plane_, ...)                                    \
    {.name = name_, .op = HUNZE_OP_CONV, .isa = HUNZE_ISA_##isa_, .a = HUNZE_TYPE_##a_, .b = HUNZE_TYPE_##b_,          \
     .d = HUNZE_TYPE_##d_, .depthwise = depthwise_, .depthwise_plane = depthwise_plane_,                               \
     .layout = HUNZE_LAYOUT_DEPTHWISE, __VA_ARGS__},
#define HUNZE_QUANTIZE(name_, isa_, codes_, quantize_, minmax_)                                                        \
    {.name = name_, .op = HUNZE_OP_QUANTIZE, .isa = HUNZE_ISA_##isa_, .a = HUNZE_TYPE_F32, .d = HUNZE_TYPE_##codes_,   \
     .order = HUNZE_ORDER_EXACT, .bound = HUNZE_BOUND_EXACT, .quantize = quantize_, .minmax = minmax_},
#define HUNZE_DEQUANTIZE(name_, isa_, codes_, quantize_)                                                               \
    {.name = name_, .op = HUNZE_OP_DEQUANTIZE, .isa = HUNZE_ISA_##isa_, .a = HUNZE_TYPE_##codes_, .d = HUNZE_TYPE_F32, \
     .order = HUNZE_ORDER_EXACT, .bound = HUNZE_BOUND_EXACT, .quantize = quantize_},
#define HUNZE_ACTIVATION(name_, isa_, type_, float_epilogue_)                                                          \
    {.name = name_, .op = HUNZE_OP_ACTIVATION, .isa = HUNZE_ISA_##isa_, .a = HUNZE_TYPE_##type_,                       \
     .d = HUNZE_TYPE_##type_, .order = HUNZE_ORDER_EXACT, .bound = HUNZE_BOUND_EXACT, .float_epilogue = float_epilogue_},
#define HUNZE_GEMM_PROVIDER(name_, provider_, a_, b_, d_, provided_, ...)                                              \
    {.name = name_, .op = HUNZE_OP_GEMM, .isa = HUNZE_ISA_PROVIDER, .a = HUNZE_TYPE_##a_, .b = HUNZE_TYPE_##b_,        \
     .d = HUNZE_TYPE_##d_, .provider = HUNZE_PROVIDER_##provider_, .provided = provided_, __VA_ARGS__},
#define HUNZE_CUDA(name_, op_, needs_, a_, b_, d_, launch_, ...)                                                       \
    {.name = name_, .op = HUNZE_OP_##op_, .isa = HUNZE_ISA_CUDA_##needs_, .a = HUNZE_TYPE_##a_,                        \
     .b = HUNZE_TYPE_##b_, .d = HUNZE_TYPE_##d_, .launch = launch_, __VA_ARGS__},
/* clang-format on */

const hunze_row hunze_rows[] = {
#include "kernels.def"
    {0}};

const int hunze_row_count = sizeof hunze_rows / sizeof hunze_rows[0] - 1;
