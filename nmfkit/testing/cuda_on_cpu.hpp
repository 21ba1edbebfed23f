// CUDA C on the CPU: what a source is compiled with so that its kernels run, block after block, in fibers.
//
// Every thread of a block has a stack of its own and runs until it comes to a barrier of its block or warp; it goes on
// when all others of that block or warp have come there. So shuffles and shared memory mean what they mean on a GPU,
// and a barrier that some threads never reach is an error instead of undefined. A warp runs ahead of the others as far
// as it can, and every other launch goes through blocks and threads from last to first: that shows where a barrier is
// missing.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>
#include <ucontext.h>

#define __global__
#define __device__
#define __forceinline__ inline
#define __noinline__
#define __shared__ static thread_local
#define __launch_bounds__(...)
#define DYNAMIC_SHARED(T, name) T *name = reinterpret_cast<T *>(shim::dynamic_shared.data())

namespace shim {

struct Place {
    unsigned x;
};

struct Fiber {
    ucontext_t context;
    std::vector<char> stack;
    Place thread;
    bool done;
    int waiting;  // 0: runs, 1: for its warp, 2: for its block
};

constexpr int WARP = 32;
constexpr size_t STACK = 64 * 1024;
thread_local std::vector<Fiber> fibers;
thread_local std::vector<double> dynamic_shared;
thread_local ucontext_t scheduler;
thread_local Fiber *current;
thread_local void (*body)(void *);
thread_local void *body_data;
thread_local bool backwards;
thread_local char slots[1024][sizeof(double)];

inline void wait(int kind) {
    Fiber *self = current;
    self->waiting = kind;
    swapcontext(&self->context, &scheduler);
}

inline void trampoline() {
    body(body_data);
    current->done = true;
    swapcontext(&current->context, &scheduler);
}

}  // namespace shim

static thread_local shim::Place threadIdx, blockIdx, blockDim, gridDim;

namespace shim {

inline void resume(Fiber &fiber) {
    current = &fiber;
    threadIdx = fiber.thread;
    swapcontext(&scheduler, &fiber.context);
}

// Lets a group of fibers go on that all wait for the same thing; whether it was so.
inline bool release(Fiber *first, int count, int kind) {
    for (int i = 0; i < count; i++)
        if (first[i].done || first[i].waiting != kind) return false;
    for (int i = 0; i < count; i++) first[i].waiting = 0;
    return true;
}

// One warp as far as it goes without the others; whether it is not at its end.
inline bool run_warp(Fiber *first, int count) {
    for (;;) {
        bool moved = false, left = false;
        for (int turn = 0; turn < count; turn++) {
            Fiber &fiber = first[backwards ? count - 1 - turn : turn];
            left |= !fiber.done;
            if (fiber.done || fiber.waiting) continue;
            resume(fiber);
            moved = true;
        }
        if (!moved && !release(first, count, 1)) return left;
    }
}

// One block; false where threads wait for others that never come.
inline bool run_block(int threads) {
    if (static_cast<int>(fibers.size()) < threads) fibers.resize(threads);
    for (int t = 0; t < threads; t++) {
        Fiber &fiber = fibers[t];
        fiber.stack.resize(STACK);
        fiber.thread = {static_cast<unsigned>(t)};
        fiber.done = false;
        fiber.waiting = 0;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, trampoline, 0);
    }
    const int warps = (threads + WARP - 1) / WARP;
    for (;;) {
        bool left = false;
        for (int turn = 0; turn < warps; turn++) {
            const int first = (backwards ? warps - 1 - turn : turn) * WARP;
            left |= run_warp(fibers.data() + first, threads - first < WARP ? threads - first : WARP);
        }
        if (!left) return true;
        if (!release(fibers.data(), threads, 2)) return false;
    }
}

template <class... A>
struct Call {
    void (*kernel)(A...);
    void **args;
    template <size_t... I>
    void go(std::index_sequence<I...>) {
        kernel(*static_cast<std::decay_t<A> *>(args[I])...);
    }
    static void run(void *self) { static_cast<Call *>(self)->go(std::index_sequence_for<A...>{}); }
};

template <class... A>
int launch(void (*kernel)(A...), long long blocks, int threads, long long shared, void **args) {
    static_assert(((sizeof(A) == 8) && ...), "arguments have 64 bits");
    Call<A...> call{kernel, args};
    gridDim = {static_cast<unsigned>(blocks)};
    blockDim = {static_cast<unsigned>(threads)};
    dynamic_shared.resize(shared / sizeof(double) + 1);
    backwards = !backwards;
    for (long long turn = 0; turn < blocks; turn++) {
        blockIdx = {static_cast<unsigned>(backwards ? blocks - 1 - turn : turn)};
        for (double &x : dynamic_shared) x = NAN;  // nothing is left there from another block
        body = Call<A...>::run;
        body_data = &call;
        if (!run_block(threads)) return 1;
    }
    return 0;
}

template <class T>
constexpr char letter() {
    using V = std::remove_cv_t<T>;
    if (std::is_same_v<V, float>) return 'f';
    if (std::is_same_v<V, double>) return 'd';
    if (std::is_same_v<V, int>) return 'i';
    if (std::is_same_v<V, long long>) return 'q';
    if (std::is_same_v<V, unsigned char> || std::is_same_v<V, bool>) return 'B';
    return '?';
}

// A signature as text: two letters an argument, `p` and the letter of what it points to, `P` where that is not const.
template <class... A>
const char *signature(void (*)(A...)) {
    static thread_local char text[2 * sizeof...(A) + 1];
    char *end = text;
    ((*end++ = !std::is_pointer_v<A> ? 's' : std::is_const_v<std::remove_pointer_t<A>> ? 'p' : 'P',
      *end++ = letter<std::remove_pointer_t<A>>()),
     ...);
    *end = 0;
    return text;
}

}  // namespace shim

inline void __syncthreads() { shim::wait(2); }
inline void __syncwarp(unsigned = 0xffffffffu) { shim::wait(1); }

template <class T>
T from_lane(T value, int source) {
    static_assert(sizeof(T) <= sizeof(double), "a shuffle moves at most 64 bits");
    const unsigned self = threadIdx.x, warp = self / shim::WARP * shim::WARP;
    std::memcpy(shim::slots[self], &value, sizeof(T));
    __syncwarp();
    T other;
    std::memcpy(&other, shim::slots[warp + source], sizeof(T));
    __syncwarp();  // nobody overwrites what others are still to read
    return other;
}

template <class T>
T __shfl_sync(unsigned, T value, int source) {
    return from_lane(value, source & (shim::WARP - 1));
}
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
    return from_lane(value, static_cast<int>(threadIdx.x % shim::WARP) ^ mask);
}
template <class T>
T __shfl_down_sync(unsigned, T value, int delta) {
    const int own = threadIdx.x % shim::WARP, other = own + delta;
    return from_lane(value, other < shim::WARP ? other : own);
}
template <class T>
T __shfl_up_sync(unsigned, T value, int delta) {
    const int own = threadIdx.x % shim::WARP, other = own - delta;
    return from_lane(value, other >= 0 ? other : own);
}
inline unsigned __ballot_sync(unsigned, int predicate) {
    unsigned bits = 0;
    for (int i = 0; i < shim::WARP; i++) bits |= static_cast<unsigned>(__shfl_sync(0, predicate != 0, i)) << i;
    return bits;
}
inline int __any_sync(unsigned, int predicate) { return __ballot_sync(0, predicate) != 0; }
inline int __all_sync(unsigned, int predicate) { return __ballot_sync(0, predicate) == 0xffffffffu; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
template <class T>
T __ldg(const T *p) {
    return *p;
}
template <class T>
T atomicAdd(T *at, T value) {
    static_assert(std::is_integral_v<T>, "sums of floats depend on the order of threads");
    T before = *at;
    *at = before + value;
    return before;
}
inline double __longlong_as_double(long long bits) {
    double x;
    std::memcpy(&x, &bits, sizeof(x));
    return x;
}
inline int __float_as_int(float x) {
    int bits;
    std::memcpy(&bits, &x, sizeof(bits));
    return bits;
}
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
using std::isfinite;
using std::isinf;
using std::isnan;
