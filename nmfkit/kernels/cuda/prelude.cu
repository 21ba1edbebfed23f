// What every source begins with. Sums are double; nothing depends on the order in which threads run.

typedef long long int64;

#define KERNEL extern "C" __global__ void
#define INLINE static __device__ __forceinline__
#define MEMBER __device__ __forceinline__
#define APART static __device__ __noinline__  // what is seldom called takes no registers elsewhere
#define LANES 32
#define ALL_LANES 0xffffffffu
#define INFINITE __longlong_as_double(0x7ff0000000000000LL)

// The entries lo … hi, shared out among the lanes of a warp.
#define FOR_LANES(i, lo, hi) for (int64 i = (lo) + lane(); i < (hi); i += LANES)
// The entries 0 … n, shared out among all threads.
#define FOR_ENTRIES(i, n) for (int64 i = thread_number(); i < (n); i += thread_count())

// Shared memory whose size the launch tells, as an array of T called `name`.
#ifndef DYNAMIC_SHARED
#define DYNAMIC_SHARED(T, name)              \
    extern __shared__ double dynamic_shared[]; \
    T *name = reinterpret_cast<T *>(dynamic_shared)
#endif

INLINE int64 thread_number() { return static_cast<int64>(blockIdx.x) * blockDim.x + threadIdx.x; }
INLINE int64 thread_count() { return static_cast<int64>(gridDim.x) * blockDim.x; }
INLINE int lane() { return static_cast<int>(threadIdx.x) % LANES; }
INLINE int64 warp_number() { return thread_number() / LANES; }
INLINE int64 warp_count() { return thread_count() / LANES; }

// The sum over the lanes of a warp, in all of them; every lane must come here.
INLINE double warp_sum(double x) {
    for (int step = LANES / 2; step > 0; step /= 2) x += __shfl_xor_sync(ALL_LANES, x, step);
    return x;
}

// The sum over the threads of a block, in its first; every thread must come here, and a block is whole warps.
INLINE double block_sum(double x) {
    __shared__ double parts[LANES];
    const int warps = static_cast<int>(blockDim.x) / LANES;
    x = warp_sum(x);
    __syncthreads();  // parts may still be read for an earlier sum
    if (lane() == 0) parts[threadIdx.x / LANES] = x;
    __syncthreads();
    return warp_sum(lane() < warps ? parts[lane()] : 0.0);
}

// The same in double, subnormal numbers too, which single precision takes for zeros where it is compiled to.
INLINE double widened(double x) { return x; }
INLINE double widened(float x) {
    const int bits = __float_as_int(x), size = bits & 0x7fffffff;
    if (size >= 0x00800000 || size == 0) return x;
    return (bits < 0 ? -size : size) * 1.401298464324817e-45;
}

// Maximum and minimum that let what is no number through, as NumPy's do.
template <class T>
INLINE T at_least(T x, T low) { return x < low ? low : x; }
template <class T>
INLINE T at_most(T x, T high) { return x > high ? high : x; }
