/* A body for each number of rows: BY_ROWS(most, m, body, first, …) calls body(first, m, …) with m as a constant, 1 <= m <= most <= 14. */
#ifndef HUNZE_SIMD_BY_ROWS_H
#define HUNZE_SIMD_BY_ROWS_H

#define BY_ROWS_CASE(count, most, body, first, ...)                                                                    \
    case count:                                                                                                        \
        if (count <= most)                                                                                             \
            body(first, count <= most ? count : 1, ##__VA_ARGS__);                                                     \
        break
#define BY_ROWS(most, m, body, ...)                                                                                    \
    switch (m) {                                                                                                       \
        BY_ROWS_CASE(1, most, body, __VA_ARGS__);                                                                      \
        BY_ROWS_CASE(2, most, body, __VA_ARGS__);                                                                      \
        BY_ROWS_CASE(3, most, body, __VA_ARGS__);                                                                      \
        BY_ROWS_CASE(4, most, body, __VA_ARGS__);                                                                      \
        BY_ROWS_CASE(5, most, body, __VA_ARGS__);                                                                      \
        BY_ROWS_CASE(6, most, body, __VA_ARGS__);                                                                      \
        BY_ROWS_CASE(7, most, body, __VA_ARGS__);                                                                      \
        BY_ROWS_CASE(8, most, body, __VA_ARGS__);                                                                      \
        BY_ROWS_CASE(9, most, body, __VA_ARGS__);                                                                      \
        BY_ROWS_CASE(10, most, body, __VA_ARGS__);                                                                     \
        BY_ROWS_CASE(11, most, body, __VA_ARGS__);                                                                     \
        BY_ROWS_CASE(12, most, body, __VA_ARGS__);                                                                     \
        BY_ROWS_CASE(13, most, body, __VA_ARGS__);                                                                     \
        BY_ROWS_CASE(14, most, body, __VA_ARGS__);                                                                     \
    }

#endif
