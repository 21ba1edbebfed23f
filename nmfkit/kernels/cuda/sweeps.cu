// Sweeps of hierarchical alternating least squares: a thread for each row, a tile of whose columns lies in shared memory.
// REAL = float, double

#define STEP 8  // columns that are swept at a time: what the others take from their targets stays in registers

struct alignas(16) Four {
    REAL v[4];
};

// rest −= (columns k … k + STEP of Q) · the columns lo … hi of this row.
INLINE void subtract(REAL *rest, const REAL *q, const REAL *own, int64 k, int64 lo, int64 hi, int64 padded, int64 width) {
#pragma unroll 4
    for (int64 j = lo; j < hi; j++) {
        const REAL v = own[j * width];
        const Four *weights = reinterpret_cast<const Four *>(q + j * padded + k);
        const Four left = weights[0], right = weights[1];
#pragma unroll
        for (int s = 0; s < 4; s++) {
            rest[s] -= left.v[s] * v;
            rest[s + 4] -= right.v[s] * v;
        }
    }
}

// Columns k … k + STEP of one row, one after the other; `target` is that of column k.
INLINE void sweep_step(
    REAL *own, const REAL *q, const REAL *target, int64 k, int64 rank, int64 padded, int64 width, REAL tiny
) {
    const int count = static_cast<int>(rank - k < STEP ? rank - k : STEP);
    REAL rest[STEP], now[STEP];
#pragma unroll
    for (int s = 0; s < STEP; s++) {
        rest[s] = s < count ? target[s] : 0;
        now[s] = s < count ? own[(k + s) * width] : 0;
    }
    subtract(rest, q, own, k, 0, k, padded, width);
    subtract(rest, q, own, k, k + count, rank, padded, width);
#pragma unroll
    for (int s = 0; s < STEP; s++) {
        if (s >= count) break;
        const REAL curvature = q[(k + s) * padded + k + s];
        if (curvature >= tiny) {  // one over a smaller number is no number
            REAL slope = rest[s];
#pragma unroll
            for (int other = 0; other < STEP; other++)
                if (other < count) slope -= q[(k + other) * padded + k + s] * now[other];
            now[s] = at_least(now[s] + slope / curvature, static_cast<REAL>(0));
        } else if (target[s] < 0) {
            // The other factor's column is zero, so only a linear penalty is left, which zero minimises.
            now[s] = 0;
        }
        own[(k + s) * width] = now[s];
    }
}

// `inner` sweeps over the columns of f (rows, rank), in place. `q` is Q transposed with rows padded to a multiple of
// STEP, row i of the targets is c[i * down …]; `spare` holds the tiles that are too large for shared memory.
KERNEL hals(
    REAL *f, const REAL *q, const REAL *c, REAL *spare, int64 rows, int64 rank, int64 padded, int64 down, int64 inner,
    double least
) {
    DYNAMIC_SHARED(REAL, shared);
    const int64 width = blockDim.x + 1;  // one more than threads, so that neither way through a tile meets one bank
    const REAL tiny = static_cast<REAL>(least);
    REAL *tile = spare ? spare + blockIdx.x * rank * width : shared;
    for (int64 lo = static_cast<int64>(blockIdx.x) * blockDim.x; lo < rows; lo += thread_count()) {
        const int count = static_cast<int>(rows - lo < blockDim.x ? rows - lo : blockDim.x), columns = static_cast<int>(rank);
        REAL *from = f + lo * rank;
        for (int e = threadIdx.x; e < count * columns; e += blockDim.x) tile[e % columns * width + e / columns] = from[e];
        __syncthreads();
        if (static_cast<int>(threadIdx.x) < count)
            for (int64 turn = 0; turn < inner; turn++)
                for (int64 k = 0; k < rank; k += STEP)
                    sweep_step(tile + threadIdx.x, q, c + (lo + threadIdx.x) * down + k, k, rank, padded, width, tiny);
        __syncthreads();
        for (int e = threadIdx.x; e < count * columns; e += blockDim.x) from[e] = tile[e % columns * width + e / columns];
        // The next tile goes, entry by entry, through the same threads.
    }
}
