// CSR data times thin factors, products of two of them at the stored entries, and Kullback–Leibler over these.
//
// A warp takes `chunk` stored entries that follow each other, whatever rows they are in, so that rows and columns of
// any length keep all warps alike busy. A row that lies in several chunks is left in parts, which `join` adds up in
// the order of the chunks. For the transpose the entries come in the order of their columns: `order` says where each
// stands in the order of the rows, and then `indptr` are the ends of columns and `places` the numbers of rows.
//
// REAL = float, double
// INDEX = int, int64

// Entries of a group of lanes whose loads do not wait for each other.
#define AT_ONCE 2
// Entries that are summed in REAL before their sum goes into a double.
#define RUN 32

// The row that stores entry `p`: the last one that begins at or before it.
INLINE int64 row_at(const int64 *indptr, int64 rows, int64 p) {
    int64 low = 0, high = rows;
    while (high - low > 1) {
        const int64 middle = low + (high - low) / 2;
        if (indptr[middle] <= p) low = middle;
        else high = middle;
    }
    return low;
}

// ⟨u[row], v[column]⟩ at the entries lo … hi, the first of them in `row` or later; `group` lanes share an entry.
INLINE void inner_products(const INDEX *indices, const int64 *indptr, int64 lo, int64 hi, int64 row, int group,
                           const REAL *u, const REAL *v, int64 r, REAL *out) {
    const int member = lane() % group, groups = LANES / group;
    for (int64 from = lo + lane() / group; from - lane() / group < hi; from += AT_ONCE * groups) {
        REAL sum[AT_ONCE] = {};
        const REAL *a[AT_ONCE], *b[AT_ONCE];
#pragma unroll
        for (int e = 0; e < AT_ONCE; e++) {
            const int64 p = at_most(from + e * groups, hi - 1);  // the last again: every lane comes to the sums below
            while (indptr[row + 1] <= p) row++;
            a[e] = u + row * r;
            b[e] = v + static_cast<int64>(indices[p]) * r;
        }
#pragma unroll 4
        for (int64 k = member; k < r; k += group) {
#pragma unroll
            for (int e = 0; e < AT_ONCE; e++) sum[e] += a[e][k] * b[e][k];
        }
#pragma unroll
        for (int e = 0; e < AT_ONCE; e++) {
            for (int step = group / 2; step > 0; step /= 2) sum[e] += __shfl_xor_sync(ALL_LANES, sum[e], step);
            if (member == 0 && from + e * groups < hi) out[from + e * groups] = sum[e];
        }
    }
}

KERNEL sampled(const INDEX *indices, const int64 *indptr, int64 rows, int64 entries, int64 chunk, int64 group,
               const REAL *u, const REAL *v, int64 r, REAL *out) {
    const int64 lo = warp_number() * chunk, hi = at_most(lo + chunk, entries);
    if (lo >= hi) return;
    inner_products(indices, indptr, lo, hi, row_at(indptr, rows, lo), static_cast<int>(group), u, v, r, out);
}

// A warp on its way through the entries lo … hi, with the sums of the present row: STRIPES columns in each lane.
template <int STRIPES>
struct Walk {
    int64 chunk, lo, hi, row, end;
    double total[STRIPES];
};

template <int STRIPES>
INLINE Walk<STRIPES> begin(const int64 *indptr, int64 rows, int64 number, int64 chunk, int64 entries) {
    Walk<STRIPES> walk = {};
    walk.chunk = number;
    walk.lo = number * chunk;
    walk.hi = at_most(walk.lo + chunk, entries);
    if (walk.lo < walk.hi) {
        walk.row = row_at(indptr, rows, walk.lo);
        walk.end = indptr[walk.row + 1];
    }
    return walk;
}

// Writes the sums: to `out` if the row lies in this chunk, else to the chunk's first part, or to its second for a row
// that begins here.
template <int STRIPES>
INLINE void finish(Walk<STRIPES> &walk, const int64 *indptr, int64 base, int64 r, REAL *out, double *parts) {
    const bool begins = indptr[walk.row] >= walk.lo, whole = begins && walk.end <= walk.hi;
#pragma unroll
    for (int t = 0; t < STRIPES; t++) {
        const int64 k = base + t * LANES + lane();
        if (k < r && whole) out[walk.row * r + k] = static_cast<REAL>(walk.total[t]);
        if (k < r && !whole) parts[(2 * walk.chunk + begins) * r + k] = walk.total[t];
        walk.total[t] = 0;
    }
}

// Adds the entries from … to of one row.
template <int STRIPES>
INLINE void add(Walk<STRIPES> &walk, const REAL *values, const INDEX *places, const INDEX *order, int64 from, int64 to,
                const REAL *b, int64 base, int64 r) {
    REAL part[STRIPES] = {};
#pragma unroll 4
    for (int64 p = from; p < to; p++) {
        const REAL value = values[order ? static_cast<int64>(order[p]) : p];
        const REAL *line = b + static_cast<int64>(places[p]) * r;
#pragma unroll
        for (int t = 0; t < STRIPES; t++) {
            const int64 k = base + t * LANES + lane();
            if (k < r) part[t] += value * line[k];
        }
    }
#pragma unroll
    for (int t = 0; t < STRIPES; t++) walk.total[t] += part[t];
}

// Adds the entries from … to, of whatever rows, and finishes the rows that end before `to`.
template <int STRIPES>
INLINE void add_rows(Walk<STRIPES> &walk, const REAL *values, const INDEX *places, const INDEX *order,
                     const int64 *indptr, int64 from, int64 to, const REAL *b, int64 base, int64 r, REAL *out,
                     double *parts) {
    while (from < to) {
        if (walk.end <= from) {
            finish(walk, indptr, base, r, out, parts);
            while (indptr[walk.row + 1] <= from) walk.row++;
            walk.end = indptr[walk.row + 1];
        }
        const int64 stop = at_most(at_most(from + RUN, to), walk.end);
        add(walk, values, places, order, from, stop, b, base, r);
        from = stop;
    }
}

#define PRODUCT_TAKES \
    const REAL *values, const INDEX *places, const INDEX *order, const int64 *indptr, int64 rows, int64 entries, \
        int64 chunk, int64 chunks, const REAL *b, int64 r, REAL *out, double *parts
#define PRODUCT_GIVEN values, places, order, indptr, rows, entries, chunk, chunks, b, r, out, parts

template <int STRIPES>
INLINE void row_sums(PRODUCT_TAKES) {
    const int64 base = warp_number() / chunks * (STRIPES * LANES);
    Walk<STRIPES> walk = begin<STRIPES>(indptr, rows, warp_number() % chunks, chunk, entries);
    if (walk.lo >= walk.hi || base >= r) return;
    add_rows(walk, values, places, order, indptr, walk.lo, walk.hi, b, base, r, out, parts);
    finish(walk, indptr, base, r, out, parts);
}

// Rows of x b, a warp for each chunk and so many columns; `out` is zero where a row stores nothing. Each is a kernel of
// its own for the narrow ones not to take the registers of the wide one.
KERNEL product_32(PRODUCT_TAKES) { row_sums<1>(PRODUCT_GIVEN); }
KERNEL product_64(PRODUCT_TAKES) { row_sums<2>(PRODUCT_GIVEN); }
KERNEL product_128(PRODUCT_TAKES) { row_sums<4>(PRODUCT_GIVEN); }

// The row that begins in a chunk and goes on in the next: the sum of its parts.
KERNEL join(const int64 *indptr, int64 rows, int64 entries, int64 chunk, int64 r, REAL *out, const double *parts) {
    const int64 own = warp_number(), lo = own * chunk, hi = lo + chunk;
    if (hi >= entries) return;
    const int64 row = row_at(indptr, rows, hi - 1), end = indptr[row + 1];
    if (indptr[row] < lo || end <= hi) return;
    FOR_LANES(k, 0, r) {
        double sum = parts[(2 * own + 1) * r + k];
#pragma unroll 8
        for (int64 other = own + 1; other * chunk < end; other++) sum += parts[2 * other * r + k];
        out[row * r + k] = static_cast<REAL>(sum);
    }
}

// x ln(x/ŷ) − x, with x/ŷ in the place of ŷ.
INLINE double kl_term(REAL x, REAL &y, REAL floor, double tiny) {
    const double v = static_cast<double>(x), quotient = v / static_cast<double>(y);
    y = x / at_least(y, floor);
    return x == 0 ? 0.0 : v * log(at_least(quotient, tiny)) - v;
}

#define KL_TAKES \
    const REAL *values, const INDEX *indices, const int64 *indptr, int64 rows, int64 entries, int64 chunk, \
        int64 group, const REAL *w, const REAL *v, int64 r, double floor, double tiny, REAL *ratio, double *value, \
        REAL *left, double *parts
#define KL_GIVEN values, indices, indptr, rows, entries, chunk, group, w, v, r, floor, tiny, ratio, value, left, parts

template <int STRIPES>
INLINE void kl_chunk(KL_TAKES) {
    Walk<STRIPES> walk = begin<STRIPES>(indptr, rows, warp_number(), chunk, entries);
    if (walk.lo >= walk.hi) return;
    double sum = 0;
    int64 row = walk.row;
    for (int64 from = walk.lo; from < walk.hi; from += LANES) {
        const int64 to = at_most(from + LANES, walk.hi), own = from + lane();
        while (indptr[row + 1] <= from) row++;
        inner_products(indices, indptr, from, to, row, static_cast<int>(group), w, v, r, ratio);
        __syncwarp();
        if (own < to) sum += kl_term(values[own], ratio[own], static_cast<REAL>(floor), tiny);
        __syncwarp();
        if (left) add_rows(walk, ratio, indices, nullptr, indptr, from, to, v, 0, r, left, parts);
    }
    if (left) finish(walk, indptr, 0, r, left, parts);
    sum = warp_sum(sum);
    if (lane() == 0) value[walk.chunk] = sum;
}

// The value of each chunk, x/ŷ in `ratio`, and rows of (x/ŷ) vᵀ in `left`, if that is not null and has so many columns.
KERNEL kl_32(KL_TAKES) { kl_chunk<1>(KL_GIVEN); }
KERNEL kl_64(KL_TAKES) { kl_chunk<2>(KL_GIVEN); }
KERNEL kl_128(KL_TAKES) { kl_chunk<4>(KL_GIVEN); }

// The row of each entry.
KERNEL row_numbers(const int64 *indptr, int64 rows, int64 entries, int64 chunk, INDEX *out) {
    const int64 lo = warp_number() * chunk, hi = at_most(lo + chunk, entries);
    int64 row = lo < hi ? row_at(indptr, rows, lo) : 0;
    FOR_LANES(p, lo, hi) {
        while (indptr[row + 1] <= p) row++;
        out[p] = static_cast<INDEX>(row);
    }
}

// Every entry of a row, a warp for each; of entries of one column among LANES the first brings the sum. `out` is zero.
KERNEL dense(const REAL *values, const INDEX *indices, const int64 *indptr, int64 rows, int64 n, REAL *out) {
    const int64 row = warp_number();
    if (row >= rows) return;
    for (int64 from = indptr[row]; from < indptr[row + 1]; from += LANES) {
        const int64 to = at_most(from + LANES, indptr[row + 1]), own = from + lane();
        bool first = own < to;
        double sum = 0;
        for (int64 p = from; p < to; p++) {
            if (own >= to || indices[p] != indices[own]) continue;
            first = first && p >= own;
            sum += values[p];
        }
        if (first) {
            REAL &place = out[row * n + indices[own]];
            place = static_cast<REAL>(place + sum);
        }
        __syncwarp();  // the same column may come again among the next
    }
}
