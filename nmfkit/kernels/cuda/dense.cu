// One pass over dense data: values and halves of β-divergences, totals, folded scores.
// REAL = float, double

#define TINY static_cast<REAL>(sizeof(REAL) == 4 ? 1.1754943508222875e-38 : 2.2250738585072014e-308)
#define MOST static_cast<REAL>(sizeof(REAL) == 4 ? 3.4028234663852886e+38 : 1.7976931348623157e+308)

// x ln(x/ŷ) − x, which is 0 where x is; a quotient out of range has a logarithm all the same.
INLINE double kl_term(REAL x, REAL y) {
    const REAL ratio = x / y;
    const double v = widened(x);
    if (v == 0) return 0;
    const bool plain = ratio >= TINY && ratio <= MOST;
    const double ln = plain ? log(ratio) : log(v) - log(widened(y));
    return v * ln - v;
}

// Σ x ln(x/ŷ) − x, a part of it for each block, with x/ŷ in the place of ŷ.
KERNEL kl_split(const REAL *x, REAL *y, double *parts, int64 size, double least) {
    const REAL floor = static_cast<REAL>(least);
    double total = 0;
    FOR_ENTRIES(i, size) {
        const REAL v = x[i], fit = y[i];
        y[i] = v / at_least(fit, floor);
        total += kl_term(v, fit);
    }
    total = block_sum(total);
    if (threadIdx.x == 0) parts[blockIdx.x] = total;
}

// d_β(x, ŷ) by its parts, where one of the two is infinite.
INLINE double beta_parts(double x, double y, double beta) {
    const double mixed = x > 0 ? x * pow(y, beta - 1) : 0;
    return (pow(x, beta) + (beta - 1) * pow(y, beta) - beta * mixed) / (beta * (beta - 1));
}

APART double beta_exact(double x, double y, double beta) {
    if (x != x || y != y) return x + y;
    if (x == y && x == 0) return 0;
    if ((y == 0 && beta < 1) || (x == 0 && beta <= 0)) return INFINITE;  // where the parts are infinite both ways
    if (beta == 0) return x / y < INFINITE ? x / y - (log(x) - log(y)) - 1 : x / y;
    const double scale = x > y ? x : y;
    if (scale == INFINITE) return beta_parts(x, y, beta);
    x /= scale;  // d(s x, s ŷ) = s^β d(x, ŷ)
    y /= scale;
    const double term = (pow(x, beta) + pow(y, beta - 1) * ((beta - 1) * y - beta * x)) / (beta * (beta - 1));
    return term != 0 ? pow(scale, beta) * term : 0;
}

// The powers whose terms are products, quotients and square roots. A term has its double zero at x = ŷ split off, which
// nothing then cancels against.
struct ItakuraSaito {
    static MEMBER double term(REAL x, REAL y, double, REAL &pos, REAL &neg) {
        const REAL inverse = 1 / y, ratio = x * inverse;
        pos = inverse;
        neg = ratio * inverse;
        return static_cast<double>((ratio - 1) - log(ratio));
    }
};

struct Half {  // 2 (√ŷ − √x)² / √ŷ
    static MEMBER double term(REAL x, REAL y, double, REAL &pos, REAL &neg) {
        const REAL root = sqrt(y), inverse = 1 / root, gap = root - sqrt(x);
        pos = inverse;
        neg = x * inverse * inverse * inverse;
        return static_cast<double>(2 * gap * gap * inverse);
    }
};

struct ThreeHalves {  // ⅔ (√ŷ − √x)² (√ŷ + 2 √x)
    static MEMBER double term(REAL x, REAL y, double, REAL &pos, REAL &neg) {
        const REAL root = sqrt(y), other = sqrt(x), gap = root - other;
        pos = root;
        neg = x / root;
        return 2.0 / 3 * static_cast<double>(gap * gap * (root + (other + other)));
    }
};

struct MinusOne {  // ½ (1 − x/ŷ)² / x
    static MEMBER double term(REAL x, REAL y, double, REAL &pos, REAL &neg) {
        const REAL inverse = 1 / y, ratio = x * inverse, gap = 1 - ratio;
        pos = inverse * inverse;
        neg = ratio * inverse * inverse;
        return 0.5 * static_cast<double>(gap * gap / x);
    }
};

struct Three {  // (ŷ − x)² (2 ŷ + x) / 6
    static MEMBER double term(REAL x, REAL y, double, REAL &pos, REAL &neg) {
        const REAL gap = y - x;
        pos = y * y;
        neg = x * y;
        return static_cast<double>(gap * gap * (y + y + x)) / 6;
    }
};

// Powers of numbers in the range of REAL: of single precision logarithms in double lose nothing.
INLINE double power_of(double a, double p) { return sizeof(REAL) == 4 ? exp(p * log(a)) : pow(a, p); }

struct General {
    static MEMBER double term(REAL x, REAL y, double beta, REAL &pos, REAL &neg) {
        const double v = x, fit = y, power = power_of(fit, beta - 1);
        pos = static_cast<REAL>(power);
        neg = static_cast<REAL>(v * power / fit);
        const double data = v > 0 ? power_of(v, beta) : 0;
        return (data + power * ((beta - 1) * fit - beta * v)) / (beta * (beta - 1));
    }
};

// One entry anywhere: x/ŷ may overflow where x ŷ^(β−2) does not.
APART double anywhere(REAL x, REAL y, double beta, REAL floor, REAL &pos, REAL &neg) {
    const double kept = at_least(y, floor);
    pos = static_cast<REAL>(pow(kept, beta - 1));
    neg = static_cast<REAL>(x * pow(kept, beta - 2));
    return beta_exact(widened(x), widened(y), beta);
}

// One entry: by the kind's own formula where x and ŷ are so far from the ends that x/ŷ is normal.
template <class Kind>
INLINE double beta_entry(REAL x, REAL y, double beta, REAL floor, REAL least, REAL most, REAL &pos, REAL &neg) {
    const bool known = x >= least || (beta > 0 && widened(x) == 0);
    const bool plain = known && y >= floor && y >= least && y <= most && x <= y * most;
    return plain ? Kind::term(x, y, beta, pos, neg) : anywhere(x, y, beta, floor, pos, neg);
}

template <class Kind>
INLINE void beta_split(
    const REAL *x, const REAL *y, REAL *pos, REAL *neg, double *parts, int64 size, double beta, double floor, double least
) {
    const REAL low = static_cast<REAL>(least), high = static_cast<REAL>(1 / least);
    double total = 0;
    FOR_ENTRIES(i, size) {
        REAL p, n;
        total += beta_entry<Kind>(x[i], y[i], beta, static_cast<REAL>(floor), low, high, p, n);
        pos[i] = p;
        neg[i] = n;
    }
    total = block_sum(total);
    if (threadIdx.x == 0) parts[blockIdx.x] = total;
}

#define BETA_ARGUMENTS                                                                                             \
    const REAL *x, const REAL *y, REAL *pos, REAL *neg, double *parts, int64 size, double beta, double floor, double least

// Σ d_β(x, ŷ), a part of it for each block, with ŷ^(β−1) in `pos`, which may be ŷ, and x ŷ^(β−2) in `neg`.
KERNEL beta_itakura_saito(BETA_ARGUMENTS) { beta_split<ItakuraSaito>(x, y, pos, neg, parts, size, beta, floor, least); }
KERNEL beta_half(BETA_ARGUMENTS) { beta_split<Half>(x, y, pos, neg, parts, size, beta, floor, least); }
KERNEL beta_three_halves(BETA_ARGUMENTS) { beta_split<ThreeHalves>(x, y, pos, neg, parts, size, beta, floor, least); }
KERNEL beta_minus_one(BETA_ARGUMENTS) { beta_split<MinusOne>(x, y, pos, neg, parts, size, beta, floor, least); }
KERNEL beta_three(BETA_ARGUMENTS) { beta_split<Three>(x, y, pos, neg, parts, size, beta, floor, least); }
KERNEL beta_general(BETA_ARGUMENTS) { beta_split<General>(x, y, pos, neg, parts, size, beta, floor, least); }

INLINE double lower(double a, double b) { return a < b || a != a ? a : b; }
INLINE double higher(double a, double b) { return a > b || a != a ? a : b; }

// Of each row: its sum, squares, number of entries other than 0, smallest and largest entry. A warp a row.
KERNEL row_totals(
    const REAL *x, double *sums, double *squares, int64 *counts, double *lowest, double *highest, int64 rows, int64 n
) {
    for (int64 row = warp_number(); row < rows; row += warp_count()) {
        const REAL *entries = x + row * n;
        double sum = 0, square = 0, filled = 0, low = entries[0], high = low;
        FOR_LANES(j, 0, n) {
            const double v = entries[j];
            sum += v;
            square += v * v;
            filled += v != 0;
            low = lower(low, v);
            high = higher(high, v);
        }
        sum = warp_sum(sum);
        square = warp_sum(square);
        filled = warp_sum(filled);
        for (int step = LANES / 2; step > 0; step /= 2) {
            low = lower(low, __shfl_xor_sync(ALL_LANES, low, step));
            high = higher(high, __shfl_xor_sync(ALL_LANES, high, step));
        }
        if (lane() == 0) {
            sums[row] = sum;
            squares[row] = square;
            counts[row] = static_cast<int64>(filled);
            lowest[row] = low;
            highest[row] = high;
        }
    }
}

// The column sums of each of `chunks` runs of rows, (chunks, n): a thread for each.
KERNEL column_totals(const REAL *x, double *parts, int64 rows, int64 n, int64 chunks) {
    FOR_ENTRIES(place, chunks * n) {
        const int64 chunk = place / n, column = place % n;
        const int64 hi = (chunk + 1) * rows / chunks;
        double sum = 0;
        for (int64 row = chunk * rows / chunks; row < hi; row++) sum += x[row * n + column];
        parts[place] = sum;
    }
}

// y ← [max(z, 0), max(−z, 0)], at most `clip`, z = (x − mean) inverse. A warp a row.
KERNEL folded_scores(const REAL *x, const REAL *mean, const REAL *inverse, REAL *y, int64 rows, int64 n, double clip) {
    const REAL most = static_cast<REAL>(clip);
    for (int64 row = warp_number(); row < rows; row += warp_count()) {
        FOR_LANES(j, 0, n) {
            const REAL z = (x[row * n + j] - mean[j]) * inverse[j];
            const REAL above = at_least(z, static_cast<REAL>(0));
            y[2 * row * n + j] = at_most(above, most);
            y[(2 * row + 1) * n + j] = at_most(above - z, most);
        }
    }
}
