// Block principal pivoting: a warp for each row, with a Cholesky factor of its passive set, made anew at each exchange.

// Where entry (i, j) of a lower triangle of `rank` rows lies, by columns.
#define AT(i, j) ((j) * rank - (j) * ((j) + 1) / 2 + (i))

struct Work {
    double *lower, *inverse, *right, *values;
    int *places, *passive, *wrong;
};

// The entries that are set, in ascending order in `places`; how many.
INLINE int listed(const int *set, int *places, int rank) {
    int count = 0;
    for (int lo = 0; lo < rank; lo += LANES) {
        const int k = lo + lane();
        const bool in = k < rank && set[k];
        const unsigned bits = __ballot_sync(ALL_LANES, in);
        if (in) places[count + __popc(bits & ((1u << lane()) - 1))] = k;
        count += __popc(bits);
    }
    __syncwarp();
    return count;
}

// The Cholesky factor of the rows and columns of q at `places`, and one over its diagonal.
INLINE void factor(const double *q, const Work &w, int count, int rank) {
    for (int j = 0; j < count; j++) {
        FOR_LANES(i, j, count) {
            double rest = q[static_cast<int64>(w.places[i]) * rank + w.places[j]];
            for (int k = 0; k < j; k++) rest -= w.lower[AT(i, k)] * w.lower[AT(j, k)];
            w.lower[AT(i, j)] = rest;
        }
        __syncwarp();
        const double inverse = 1 / sqrt(w.lower[AT(j, j)]);
        if (lane() == 0) w.inverse[j] = inverse;
        FOR_LANES(i, j + 1, count) w.lower[AT(i, j)] *= inverse;
        __syncwarp();
    }
}

// The solution of the factored system, in `right`; `values` is used up.
INLINE void solve(const Work &w, int count, int rank) {
    for (int j = 0; j < count; j++) {
        const double y = w.right[j] * w.inverse[j];
        if (lane() == 0) w.values[j] = y;
        FOR_LANES(i, j + 1, count) w.right[i] -= w.lower[AT(i, j)] * y;
        __syncwarp();
    }
    for (int i = count - 1; i >= 0; i--) {
        const double z = w.values[i] * w.inverse[i];
        if (lane() == 0) w.right[i] = z;
        FOR_LANES(j, 0, i) w.values[j] -= z * w.lower[AT(i, j)];
        __syncwarp();
    }
}

// The minimiser with all but the passive entries 0, in `values` and at the places in `right`; the number of places.
INLINE int minimise(const double *q, const double *c, const Work &w, int rank) {
    const int count = listed(w.passive, w.places, rank);
    FOR_LANES(i, 0, count) w.right[i] = c[w.places[i]];
    __syncwarp();
    factor(q, w, count, rank);
    solve(w, count, rank);
    FOR_LANES(k, 0, rank) w.values[k] = 0;
    __syncwarp();
    FOR_LANES(i, 0, count) w.values[w.places[i]] = w.right[i];
    __syncwarp();
    return count;
}

// How many entries or slopes are negative, which, and the last of them.
INLINE int marked(const double *q, const double *c, const Work &w, int places, int rank, double slack, int &last) {
    double size = 0;
    FOR_LANES(i, 0, places) size += fabs(w.right[i]);
    size = warp_sum(size);
    int count = 0;
    last = -1;
    for (int lo = 0; lo < rank; lo += LANES) {
        const int k = lo + lane();
        bool wrong = false;
        if (k < rank && w.passive[k]) {
            wrong = w.values[k] < 0;
        } else if (k < rank) {
            double slope = -c[k];  // q is symmetric, and its rows are read in runs
            for (int i = 0; i < places; i++) slope += q[static_cast<int64>(w.places[i]) * rank + k] * w.right[i];
            wrong = !(slope >= -slack * (size + fabs(c[k])));  // what is no number is on the wrong side of everything
        }
        if (k < rank) w.wrong[k] = wrong;
        const unsigned bits = __ballot_sync(ALL_LANES, wrong);
        count += __popc(bits);
        if (bits) last = lo + LANES - 1 - __clz(static_cast<int>(bits));
    }
    __syncwarp();
    return count;
}

// One row from its start to the minimiser; whether it has got there in `most` exchanges.
INLINE bool descend(
    const double *q, const double *c, double *x, const Work &w, int rank, int64 most, double slack, int64 patience
) {
    int64 fewest = rank + 1, left = patience;
    FOR_LANES(k, 0, rank) w.passive[k] = x[k] > 0;
    __syncwarp();
    for (int64 turn = 0; turn < most; turn++) {
        int last;
        const int places = minimise(q, c, w, rank);
        const int count = marked(q, c, w, places, rank, slack, last);
        if (count == 0) {
            FOR_LANES(k, 0, rank) x[k] = at_least(w.values[k], 0.0);
            return true;
        }
        const bool whole = count < fewest || left > 0;
        left = count < fewest ? patience : left - (left > 0);
        fewest = count < fewest ? count : fewest;
        FOR_LANES(k, 0, rank) if (whole ? w.wrong[k] : k == last) w.passive[k] = !w.passive[k];
        __syncwarp();
    }
    return false;
}

// Each row of x (rows, rank) from its start to the minimiser, in place, and which have got there; a block is one warp.
// `spare` holds the factors that are too large for shared memory.
KERNEL pivot(
    const double *q, const double *c, double *x, unsigned char *ended, double *spare, int64 rows, int64 columns,
    int64 most, double slack, int64 patience
) {
    DYNAMIC_SHARED(double, shared);
    const int rank = static_cast<int>(columns);
    const int64 triangle = columns * (columns + 1) / 2;
    Work w;
    w.lower = spare ? spare + blockIdx.x * triangle : shared;
    w.inverse = spare ? shared : shared + triangle;
    w.right = w.inverse + rank;
    w.values = w.right + rank;
    w.places = reinterpret_cast<int *>(w.values + rank);
    w.passive = w.places + rank;
    w.wrong = w.passive + rank;
    for (int64 row = blockIdx.x; row < rows; row += gridDim.x) {
        const bool there = descend(q, c + row * columns, x + row * columns, w, rank, most, slack, patience);
        if (lane() == 0) ended[row] = there;
    }
}
