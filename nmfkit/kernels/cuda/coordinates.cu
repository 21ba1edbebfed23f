// Coordinate steps for Kullback–Leibler in the rows of w, with ŷ at the stored entries kept up.
//
// REAL = float, double
// INDEX = int, int64

// The new w ≥ 0 for Σ −x ln(ŷ + (w′ − w) h) + linear w′ + ½ l2 w′², from Σ x h/ŷ and Σ x (h/ŷ)²; never a worse one.
INLINE double coordinate_step(double w, double linear, double first, double second, double l2) {
    const double slope = linear + l2 * w - first;
    if (slope < 0) {
        const double mean = second / first, b = (linear + l2 * w) * mean + l2;
        return w - 2 * slope / (b + sqrt(b * b - 4 * l2 * mean * slope));
    }
    const double b = slope - l2 * w + w * second, rest = b + sqrt(b * b + 4 * l2 * w * (w * second));
    return rest > 0 ? 2 * w * (w * second) / rest : w;
}

// A warp for each row of `w` (rows, r), which is changed in place as `fitted` (ŷ at each stored entry) is: one column
// after the other, `inner` times over. `h` (n, r) is the other factor turned, for its lines to be read along.
KERNEL steps(const REAL *values, const INDEX *indices, const int64 *indptr, int64 rows, const REAL *h, int64 r,
             const double *sums, int64 inner, double l1, double l2, double floor, double least, REAL *w,
             REAL *fitted) {
    const int64 row = warp_number();
    if (row >= rows) return;
    const int64 lo = indptr[row], hi = indptr[row + 1];
    for (int64 turn = 0; turn < inner * r; turn++) {
        const int64 k = turn % r;
        double first = 0, second = 0;
        FOR_LANES(p, lo, hi) {
            const REAL share = h[static_cast<int64>(indices[p]) * r + k] / fitted[p], part = values[p] * share;
            first += static_cast<double>(part);
            second += static_cast<double>(part * share);
        }
        __syncwarp();  // the last turn's w is written
        const REAL before = w[row * r + k];
        first = warp_sum(first);
        second = warp_sum(second);
        const double best = coordinate_step(static_cast<double>(before), sums[k] + l1, first, second, l2);
        const REAL after = static_cast<REAL>(at_least(best, floor));
        if (after == before) continue;
        if (lane() == 0) w[row * r + k] = after;
        FOR_LANES(p, lo, hi) {
            const REAL at = h[static_cast<int64>(indices[p]) * r + k];
            const REAL fit = at_least(fitted[p] + (after - before) * at, after * at);
            fitted[p] = at_least(fit, static_cast<REAL>(least));
        }
    }
}
