// Roots of surrogates, entry by entry. A coefficient c (rows, columns) may be one row, one column or one number for all:
// its entry for row i and column j is c[i * c_down + j * c_across].
// REAL = float, double

// numerator / denominator of nonnegative numbers; 0 / 0 is 1 (nothing pulls), n / 0 is huge.
template <class T>
INLINE T quotient(T numerator, T denominator, T tiny) {
    return denominator > 0 || numerator > 0 ? numerator / at_least(denominator, tiny) : 1;
}

// t from s = t^spacing, at most e^reach.
INLINE REAL unspaced(REAL s, double spacing, double ceiling, double most) {
    REAL t = s;
    if (spacing != 1) {
        const REAL kept = at_most(s, static_cast<REAL>(ceiling));
        t = spacing == 2 ? sqrt(kept) : pow(kept, static_cast<REAL>(1 / spacing));
    }
    return at_most(t, static_cast<REAL>(most));
}

#define AT(c, i, columns) c[(i) / (columns) * c##_down + (i) % (columns) * c##_across]

// The t with high t^(p−1) + low t^(q−1) = 0, p − q = spacing. `usual`: high pushes up and low down wherever they are.
KERNEL power_root(
    const REAL *high, const REAL *low, REAL *t, int64 size, int64 columns, int64 high_down, int64 high_across,
    int64 low_down, int64 low_across, int64 usual, double spacing, double ceiling, double most, double tiny
) {
    const REAL nothing = 0;
    FOR_ENTRIES(i, size) {
        const REAL h = AT(high, i, columns), l = AT(low, i, columns);
        const REAL falling = usual ? -l : at_least(-l, nothing) + at_least(-h, nothing);
        const REAL rising = usual ? h : at_least(h, nothing) + at_least(l, nothing);
        t[i] = unspaced(quotient(falling, rising, static_cast<REAL>(tiny)), spacing, ceiling, most);
    }
}

// The root s ≥ 0 of a s² + b s + c, without cancellation for either sign of b.
INLINE REAL quadratic(REAL a, REAL b, REAL c, REAL tiny) {
    const REAL nothing = 0;
    REAL scale = at_least(at_least(fabs(a), fabs(b)), fabs(c));
    scale = scale > 0 ? scale : 1;  // squares then neither overflow nor vanish
    a /= scale;
    b /= scale;
    c /= scale;
    const REAL rising = at_least(a, nothing), minus_c = at_least(-c, nothing);
    const REAL r = sqrt(b * b + 4 * rising * minus_c);
    if (b > 0) return quotient(2 * minus_c, at_least(b + r, nothing), tiny);
    const REAL falling = a > 0 ? r - b : minus_c - b - a;
    return quotient(at_least(falling, nothing), 2 * rising + at_least(c, nothing), tiny);
}

// The t with a s² + b s + c = 0, s = t^spacing.
KERNEL quadratic_root(
    const REAL *a, const REAL *b, const REAL *c, REAL *t, int64 size, int64 columns, int64 a_down, int64 a_across,
    int64 b_down, int64 b_across, int64 c_down, int64 c_across, double spacing, double ceiling, double most, double tiny
) {
    FOR_ENTRIES(i, size) {
        const REAL s = quadratic(AT(a, i, columns), AT(b, i, columns), AT(c, i, columns), static_cast<REAL>(tiny));
        t[i] = unspaced(s, spacing, ceiling, most);
    }
}

// One step of fourth order for y + ln y = q: Fritsch, Shafer & Crowley, Communications of the ACM 16(2), 1973.
INLINE double refined(double q, double y) {
    const double a = 1 + y, r = (q - y - log(y)) / a, s = 2 * a * (1 + r * (2.0 / 3));
    return y * (1 + r * ((s - r) / (s - 2 * r)));
}

// The Wright omega function: y + ln y = q.
INLINE double omega(double q) {
    if (q < -50) return exp(q);
    double y;
    if (q < -2) {
        const double e = exp(q);
        y = e * (1 - e * (1 - 1.5 * e));
    } else if (q < 2.5) {
        y = 1 + (q - 1) / 2 + (q - 1) * (q - 1) / 16;
    } else {
        const double ln = log(q);
        y = q - ln + ln / q;
    }
    return refined(q, refined(q, refined(q, y)));
}

// The t with slope − pull/t + weight ln t = 0; where the weight is nothing beside the others, that of the others.
INLINE double tied(double weight, double slope, double pull, double reach, double negligible) {
    const double tiny = 2.2250738585072014e-308;
    const double size = at_least(fabs(slope), pull);
    if (!(weight > negligible * size))
        return quotient(at_least(pull, 0.0) + at_least(-slope, 0.0), at_least(slope, 0.0) + at_least(-pull, 0.0), tiny);
    const double ratio = slope / weight;
    const double u = pull > 0 ? omega(log(at_least(pull, tiny)) - log(weight) + ratio) : 0;
    // Only logarithms and quotients, never e^(slope/weight), which overflows for small weights.
    return u > 1e-3 ? pull / (weight * u) : exp(at_most(u - ratio, reach));
}

KERNEL tied_root(
    const REAL *weight, const REAL *slope, const REAL *pull, REAL *t, int64 size, int64 columns, int64 weight_down,
    int64 weight_across, int64 slope_down, int64 slope_across, int64 pull_down, int64 pull_across, double reach,
    double most, double negligible
) {
    FOR_ENTRIES(i, size) {
        const double root =
            tied(AT(weight, i, columns), AT(slope, i, columns), AT(pull, i, columns), reach, negligible);
        t[i] = static_cast<REAL>(at_most(root, most));
    }
}
