// Coordinate descent for ½ ‖A − h hᵀ‖²: one warp, for every step needs all those before.
//
// REAL = float, double
// INDEX = int, int64

// Newton steps after the formula, which cancels where a is large.
#define POLISH 3

// The x ≥ 0 with the least x⁴/4 + a x²/2 + b x: a root of x³ + a x + b, or 0.
INLINE double quartic_minimum(double a, double b) {
    if (a >= 0 && b >= 0) return 0;
    const double inside = a * a * a / 27 + b * b / 4;
    double x;
    if (inside > 0) {
        const double root = sqrt(inside);
        x = cbrt(-b / 2 + root) + cbrt(-b / 2 - root);
    } else {
        const double third = sqrt(-a / 3);
        x = 2 * third * cos(acos(at_least(at_most(1.5 * b / (a * third), 1.0), -1.0)) / 3);
    }
    for (int i = 0; i < POLISH; i++) {
        const double slope = 3 * x * x + a;
        if (slope > 0) x -= (x * x * x + a * x + b) / slope;
    }
    return x > 0 && x * (x * x * x / 4 + a * x / 2 + b) < 0 ? x : 0.0;
}

// One row of A h in `product`; the return value is a_ii, in all lanes.
INLINE double multiply(const REAL *values, const INDEX *indices, int64 lo, int64 hi, int64 row, const double *h,
                       int64 r, double *product) {
    FOR_LANES(k, 0, r) {
        double sum = 0;
#pragma unroll 8
        for (int64 p = lo; p < hi; p++)
            sum += static_cast<double>(values[p]) * h[static_cast<int64>(indices[p]) * r + k];
        product[k] = sum;
    }
    double own = 0;
    FOR_LANES(p, lo, hi) own += indices[p] == row ? static_cast<double>(values[p]) : 0.0;
    return warp_sum(own);
}

INLINE double inner_product(const double *a, const double *b, int64 r) {
    double sum = 0;
    FOR_LANES(k, 0, r) sum += a[k] * b[k];
    return warp_sum(sum);
}

// Steps in the entries of one row `h`, with `gram` kept up; `product` is the row of A h before the first.
INLINE void move(double *h, double *gram, const double *product, double own, int64 r) {
    double norm = inner_product(h, h, r);
    for (int64 j = 0; j < r; j++) {
        double *slopes = gram + j * r;
        const double x = h[j], curvature = slopes[j], slope = inner_product(h, slopes, r);
        const double a = curvature + norm - 2 * x * x - own;
        const double b = slope - norm * x - x * (curvature - x * x) - (product[j] - own * x);
        const double best = quartic_minimum(a, b), step = best - x;
        __syncwarp();  // every lane has read what is changed below
        if (best != x) {
            FOR_LANES(k, 0, r) {
                const double changed = k == j ? curvature + step * (best + x) : slopes[k] + step * h[k];
                slopes[k] = changed;
                gram[k * r + j] = changed;
            }
            norm += step * (best + x);
            if (lane() == 0) h[j] = best;  // which no lane reads above
        }
        __syncwarp();
    }
}

// `inner` sweeps over the rows of `h` (n, r), in place, with `gram` = hᵀ h (r, r); `product` is room for r numbers.
KERNEL sweeps(const REAL *values, const INDEX *indices, const int64 *indptr, int64 n, int64 r, int64 inner, double *h,
              double *gram, double *product) {
    for (int64 turn = 0; turn < n * inner; turn++) {
        const int64 row = turn % n;
        const double own = multiply(values, indices, indptr[row], indptr[row + 1], row, h, r, product);
        __syncwarp();
        move(h + row * r, gram, product, own, r);
    }
}
