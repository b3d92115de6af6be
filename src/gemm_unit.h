/* What the files of the GEMM driver share: gemm_blocked.c cuts a product into units, gemm_unit.c runs one, gemm_integer.c
 * one of 8-bit integers, gemm_skinny.c says how few rows lie. */
#ifndef HUNZE_GEMM_UNIT_H
#define HUNZE_GEMM_UNIT_H

#include "gemm.h"

enum {
    HUNZE_GEMM_KC_INT =
        2048, /* no result depends on it: a multiple of every kr; 1 to 3 % faster than 1024, 5 % than 512, at 2048^3 */
    HUNZE_GEMM_A_PAD = 16,         /* elements between rows of copied A: 4 KB apart they would share one set of L1 */
    HUNZE_GEMM_COPY_A_PANELS = 4,  /* from so many panels on, copying A pays where its rows collide */
    HUNZE_GEMM_IN_PLACE_TILES = 3, /* up to so many tiles of rows, B is not worth packing */
    HUNZE_GEMM_FEW_ROWS = 42,      /* of bf16 and f16 with packed panels: each panel is read once for all of them */
    HUNZE_GEMM_SKINNY_M = 6,       /* up to so many rows, memory is what a product waits for */
    HUNZE_GEMM_STRIP_M = 16,       /* and where the row has strips */
    HUNZE_GEMM_SKINNY_N = 4096,    /* columns of a unit of such a product */
    /* And of one by strips, bytes of a row and of all sums: eight rows of B and the sums stay in L2. */
    HUNZE_GEMM_STRIP_ROW_BYTES = 32 << 10,
    HUNZE_GEMM_STRIP_SUMS_BYTES = 128 << 10,
    HUNZE_GEMM_STRIP_A_BYTES = 256 << 10, /* of A beside a B by columns, in L2 too */
    /* Of B packed at a time: for each lane, so that a thread takes at most 16 MB of scratch, and for all. */
    HUNZE_GEMM_LANE_PASS_BYTES = 15 << 20,
    HUNZE_GEMM_PASS_BYTES = 32 << 20,
    HUNZE_GEMM_LANE_B_ROWS =
        4096, /* times a row of a panel in t's type: bytes of B that a lane packs for itself at a time */
    HUNZE_GEMM_SCRATCH_BYTES_N = 2048, /* bytes of a row of t in scratch */
    HUNZE_GEMM_PIECE_K = 1024          /* of a piece, at most */
};

typedef enum hunze_gemm_b_source {
    HUNZE_B_GIVEN,  /* packed by the caller */
    HUNZE_B_SHARED, /* packed by a phase into the shared buffer */
    HUNZE_B_LANE    /* read in place, or packed by the lane panel by panel */
} hunze_gemm_b_source;

/* What a lane packs of B of integers, while it uses it: pieces of k rows by n columns, of which `group` columns are packed at a time. */
typedef struct hunze_gemm_piece {
    int64_t k, n, group;
} hunze_gemm_piece;

typedef struct hunze_gemm_blocking {
    int64_t k; /* 0 where alpha is 0 */
    int64_t kc, k_blocks, kc_longest;
    size_t element;     /* bytes of A and of B */
    size_t tile_a;      /* and of A as tiles read it */
    size_t panel_bytes; /* of B over all of k */
    hunze_gemm_b_source source;
    int64_t jobs_per_pass, pass_n;
    int64_t unit_m, unit_n, units_m, units_n; /* units of one job and pass */
    int32_t lanes;
    bool copy_a;          /* there is scratch for it */
    bool skinny;          /* few rows of floats, B_LANE */
    bool strips;          /* of those, by the row's strips where B's rows or columns are contiguous */
    int64_t strip_blocks; /* K blocks that are copied of A at a time, beside a B by columns */
    bool one_tile;        /* t is one tile in scratch */
    size_t shared_bytes, a_bytes, b_bytes, t_bytes, stage_bytes, integer_bytes, lane_bytes;
} hunze_gemm_blocking;

/* Rows [i0, i1) and columns [j0, j1) of a job's D; j0 is a multiple of nr. */
typedef struct hunze_gemm_unit {
    const hunze_gemm_jobs *jobs;
    const hunze_gemm_blocking *blocking;
    hunze_gemm_job job;
    int64_t i0, i1, j0, j1;
    const char *panels; /* of column j0 on; NULL: B_LANE */
    char *a_scratch, *b_scratch, *t_scratch, *stage, *integer_scratch;
    hunze_scalar alpha, beta;
} hunze_gemm_unit;

void hunze_gemm_run_unit(hunze_gemm_unit *unit);

/* ------------------------------------------------------------------ few rows of f32 and f64 (gemm_skinny.c) */

/* Scratch for m rows of sums over n columns. */
size_t hunze_gemm_skinny_sums_bytes(const hunze_row *row, int64_t m, int64_t n);
/* Between rows of k columns of A, copied for strips: no multiple of 4 KB. */
static inline int64_t hunze_gemm_strip_a_row(int64_t k) { return hunze_ceil_div(k, 64) * 64 + HUNZE_GEMM_A_PAD; }
/* The strip of columns [j, j + n) of the unit over k values of p from p0 on, its sums in b_scratch; who runs it adds A. */
hunze_float_strip hunze_gemm_skinny_strip(const hunze_gemm_unit *unit, int64_t j, int64_t n, int64_t p0, int64_t k);

/* ------------------------------------------------------------------ what units of floats and of integers share (gemm_unit.c) */

/* Element (i, j) at base + (i*row + j*col) elements of `size` bytes. */
static inline void *hunze_gemm_at(const void *base, size_t size, int64_t i, int64_t row, int64_t j, int64_t col)
{
    return (char *)(uintptr_t)base + (i * row + j * col) * (int64_t)size;
}

/* Rows of A as a tile reads them. */
typedef struct hunze_gemm_rows {
    const void *a;
    int64_t row, col;
} hunze_gemm_rows;

/* Copies element (i, j) of m by n, elements of 1, 2, 4 or 8 bytes. */
void hunze_gemm_copy_strided(size_t size, int64_t m, int64_t n, const void *from, int64_t from_row, int64_t from_col,
                             void *to, int64_t to_row, int64_t to_col);
/* All rows of the unit, columns [p0, p1): in memory, or gathered into scratch by columns; what is gathered by rows comes by tiles. */
hunze_gemm_rows hunze_gemm_rows_of_block(const hunze_gemm_unit *unit, int64_t p0, int64_t p1);
/* m rows from row i of the block on, columns [p0, p0 + k), as a tile reads them: in place, gathered or copied. */
hunze_gemm_rows hunze_gemm_rows_of_tile(const hunze_gemm_unit *unit, hunze_gemm_rows block, int64_t i, int64_t m,
                                        int64_t p0, int64_t k);
/* m rows, columns [0, k), each contiguous: where they are, or copied to rows copied_row apart. */
hunze_gemm_rows hunze_gemm_rows_in_place(const hunze_gemm_unit *unit, hunze_gemm_rows rows, int64_t m, int64_t k,
                                         int64_t copied_row);

/* What holds for all tiles of a unit. */
typedef struct hunze_gemm_unit_state {
    hunze_gemm_unit *unit;
    size_t t_size, d_size;
    bool t_in_d, float_epilogue, read_c;
} hunze_gemm_unit_state;

/* Element (i, j) of the unit's t. */
static inline void *hunze_gemm_t_of(const hunze_gemm_unit_state *s, int64_t i, int64_t j, int64_t *t_row)
{
    const hunze_gemm_unit *unit = s->unit;
    const int64_t nr = unit->jobs->row->nr;
    if (s->t_in_d) {
        *t_row = unit->job.d_row;
        return hunze_gemm_at(unit->job.d, s->t_size, unit->i0 + i, unit->job.d_row, unit->j0 + j, 1);
    }
    *t_row = nr;
    if (unit->blocking->one_tile)
        return unit->t_scratch;
    return hunze_gemm_at(unit->t_scratch, s->t_size, i, nr, j, unit->blocking->unit_m);
}

/* ------------------------------------------------------------------ integers of 8 bits (gemm_integer.c) */

size_t hunze_gemm_integer_scratch_bytes(int64_t unit_m, int64_t unit_n);
/* Pieces of m rows' products. */
hunze_gemm_piece hunze_gemm_piece_of(const hunze_row *row, int64_t m, int64_t k, bool by_columns);
void hunze_gemm_integer_unit(const hunze_gemm_unit_state *state);

#endif
