// Runs the CUDA C++ that CubeCL 0.11.3 makes of AKI's kernels on a CPU (x86-64); emulate.py translates and
// includes it. One fiber per thread, block after block; warp collectives (shuffles, votes, mma.sync, ldmatrix)
// run when all live lanes of the warp have arrived, __syncthreads when all live threads of the block have.
//
// The order of warps and lanes, and when cp.async lands: 0 forward and late, 1 reverse and at once, N > 1 random
// with seed N. Each warp runs as far ahead of the others as barriers allow, so a missing barrier or wait changes
// the results under one of the orders. Shared memory starts as NaN (0xff) and ends at an inaccessible page.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <math.h>
#include <stdint.h>
#include <sys/mman.h>
#include <signal.h>
#include <unistd.h>
#include <algorithm>
#include <random>
#include <type_traits>
#include <utility>
#include <vector>

#define __device__
#define __host__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __restrict__
#define __align__(n)

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x, y, z; };
constexpr unsigned warpSize = 32;

// ------------------------------------------------------------------ fibers
extern "C" void emu_switch(void** save_sp, void* load_sp);
asm(R"(
.text
.globl emu_switch
.hidden emu_switch
.type emu_switch,@function
emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emu_switch,.-emu_switch
)");

namespace emu {
enum State : uint8_t { RUN, WAIT_WARP, WAIT_BLOCK, DONE };
typedef void (*Op)(void** data, uint32_t mask);
struct AsyncCopy { char* dst; const char* src; int size, valid; int group; };
struct Fiber {
  void* sp;
  uint3 tid;
  unsigned warp, lane;
  State state;
  int group = 0;
  std::vector<AsyncCopy> copies;
};
struct Warp { uint32_t alive, waiting; void* data[32]; Op op[32]; long site[32]; };
struct Sched {
  Fiber* cur;
  void* main_sp;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  std::vector<char*> stacks;
  char* shared; size_t shared_len;
  uint3 block;
  unsigned live, at_barrier;
  long progress;
  std::mt19937 rng;
  int order_mode;
};
static Sched* S;
constexpr size_t STACK = 1 << 20;  // of a fiber
static uint3 grid_dim, block_dim;
static int errors, divergent;

#define EMU_FAIL(...) do { if (emu::errors++ < 8) { fprintf(stderr, "[emu] block %u %u %u thread %u: ", emu::S->block.x, emu::S->block.y, emu::S->block.z, emu::S->cur ? emu::S->cur->tid.x : 0u); fprintf(stderr, __VA_ARGS__); fputc('\n', stderr); } } while (0)

static inline void yield_() { Fiber* f = S->cur; emu_switch(&f->sp, S->main_sp); }

static void release(Warp& w, unsigned warp_index) {
  // Groups of lanes at the same site, lowest lane first. One group in convergent code.
  while (w.waiting) {
    int first = __builtin_ctz(w.waiting);
    uint32_t mask = 0;
    for (int l = 0; l < 32; l++)
      if ((w.waiting >> l & 1) && w.site[l] == w.site[first] && w.op[l] == w.op[first]) mask |= 1u << l;
    if (mask != w.alive) divergent++;
    w.op[first](w.data, mask);
    w.waiting &= ~mask;
    for (int l = 0; l < 32; l++)
      if (mask >> l & 1) { S->fibers[warp_index * 32 + l].state = RUN; }
    S->progress++;
  }
}
static inline void collective(Op op, void* data, long site) {
  Fiber* f = S->cur;
  Warp& w = S->warps[f->warp];
  w.data[f->lane] = data; w.op[f->lane] = op; w.site[f->lane] = site;
  w.waiting |= 1u << f->lane;
  f->state = WAIT_WARP;
  if (w.waiting == w.alive) release(w, f->warp);
  if (f->state != RUN) yield_();
}
static void release_block() {
  for (auto& f : S->fibers) if (f.state == WAIT_BLOCK) f.state = RUN;
  S->at_barrier = 0;
  S->progress++;
}
static inline void syncthreads() {
  Fiber* f = S->cur;
  f->state = WAIT_BLOCK;
  if (++S->at_barrier == S->live) release_block();
  if (f->state != RUN) yield_();
}

static void (*entry)();
static void fiber_main() {
  entry();
  Fiber* f = S->cur;
  f->state = DONE;
  Warp& w = S->warps[f->warp];
  w.alive &= ~(1u << f->lane);
  S->live--;
  S->progress++;
  if (w.waiting && w.waiting == w.alive) release(w, f->warp);
  if (S->live && S->at_barrier == S->live) release_block();
  for (;;) yield_();
}

static void run_block(uint3 b) {
  Sched& s = *S;
  unsigned n = block_dim.x * block_dim.y * block_dim.z;
  while (s.stacks.size() < n) {
    char* p = (char*)mmap(0, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    mprotect(p, 4096, PROT_NONE);
    s.stacks.push_back(p);
  }
  s.block = b;
  memset(s.shared, 0xff, s.shared_len);
  s.fibers.assign(n, Fiber{});
  s.warps.assign((n + 31) / 32, Warp{});
  s.live = n; s.at_barrier = 0; s.progress = 0;
  for (unsigned i = 0; i < n; i++) {
    Fiber& f = s.fibers[i];
    f.tid = {i % block_dim.x, i / block_dim.x % block_dim.y, i / (block_dim.x * block_dim.y)};
    f.warp = i / 32; f.lane = i % 32; f.state = RUN;
    s.warps[f.warp].alive |= 1u << f.lane;
    void** sp = (void**)(s.stacks[i] + STACK);
    *--sp = 0;                   // keeps the 16-byte alignment expected at function entry
    *--sp = (void*)fiber_main;   // ret target
    for (int k = 0; k < 6; k++) *--sp = 0;
    f.sp = sp;
  }
  long stuck = 0;
  unsigned nw = s.warps.size();
  std::vector<unsigned> warps(nw);
  for (unsigned w = 0; w < nw; w++) warps[w] = s.order_mode == 1 ? nw - 1 - w : w;
  while (s.live) {
    long before = s.progress;
    bool ran = false;
    // Largest skew: a warp runs until it can go no further (random mode: a random number of steps).
    if (s.order_mode > 1) std::shuffle(warps.begin(), warps.end(), s.rng);
    for (unsigned w : warps) {
      unsigned steps = s.order_mode > 1 ? 1 + s.rng() % 64 : ~0u;
      for (bool moved = true; moved && steps; steps--) {
        moved = false;
        unsigned lo = w * 32, hi = std::min(n, lo + 32), shift = s.order_mode > 1 ? s.rng() % 32 : 0;
        for (unsigned k = lo; k < hi; k++) {
          unsigned i = s.order_mode == 1 ? hi - 1 - (k - lo) : lo + (k - lo + shift) % (hi - lo);
          Fiber& f = s.fibers[i];
          if (f.state != RUN) continue;
          s.cur = &f;
          emu_switch(&s.main_sp, f.sp);
          moved = true;
        }
        ran |= moved;
      }
    }
    s.cur = nullptr;
    if (ran || s.progress != before) { stuck = 0; continue; }
    if (stuck++ < 3) continue;
    // Nobody can move: warps whose other lanes wait elsewhere run their collective with the lanes present.
    bool any = false;
    for (unsigned w = 0; w < s.warps.size(); w++)
      if (s.warps[w].waiting) { s.cur = &s.fibers[w * 32 + __builtin_ctz(s.warps[w].waiting)]; release(s.warps[w], w); any = true; }
    s.cur = &s.fibers[0];
    if (!any) { EMU_FAIL("deadlock: %u live threads, %u at __syncthreads, none can move", s.live, s.at_barrier); break; }
    stuck = 0;
  }
}

static void on_fault(int sig, siginfo_t* si, void*) {
  if (S && S->cur) {
    ptrdiff_t off = (char*)si->si_addr - S->shared;
    fprintf(stderr, "[emu] signal %d at %p: block %u %u %u thread %u %u %u", sig, si->si_addr, S->block.x, S->block.y, S->block.z, S->cur->tid.x, S->cur->tid.y, S->cur->tid.z);
    if (S->shared_len && off >= 0 && off < (ptrdiff_t)S->shared_len + 4096) fprintf(stderr, ", shared offset %td of %zu", off, S->shared_len);
    else fprintf(stderr, " (a buffer overrun, or STACK too small)");
    fputc('\n', stderr);
  }
  _exit(139);
}

static int launch(const unsigned* grid, const unsigned* block, size_t shared, unsigned order) {
  grid_dim = {grid[0], grid[1], grid[2]};
  block_dim = {block[0], block[1], block[2]};
  errors = 0; divergent = 0;
  Sched s{};
  size_t used = (shared + 127) & ~(size_t)127, mapped = ((used + 4095) & ~(size_t)4095) + 4096;
  char* base = (char*)mmap(0, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(base + mapped - 4096, 4096, PROT_NONE);
  s.shared = base + mapped - 4096 - used; s.shared_len = used;
  s.order_mode = order;
  s.rng.seed(order);
  S = &s;
  std::vector<char> alt(65536);
  stack_t ss{}, old_ss{};
  ss.ss_sp = alt.data(); ss.ss_size = alt.size();
  sigaltstack(&ss, &old_ss);
  struct sigaction sa{}, old_segv{}, old_bus{};
  sa.sa_sigaction = on_fault; sa.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &sa, &old_segv); sigaction(SIGBUS, &sa, &old_bus);
  for (unsigned z = 0; z < grid[2]; z++) for (unsigned y = 0; y < grid[1]; y++) for (unsigned x = 0; x < grid[0]; x++)
    if (!errors) run_block({x, y, z});
  sigaction(SIGSEGV, &old_segv, nullptr); sigaction(SIGBUS, &old_bus, nullptr);
  for (char* p : s.stacks) munmap(p, STACK);
  munmap(base, mapped);
  sigaltstack(&old_ss, nullptr);
  S = nullptr;
  if (divergent) fprintf(stderr, "[emu] note: %d warp collectives ran with part of the live lanes (divergent code)\n", divergent);
  return errors;
}
}  // namespace emu

#define threadIdx (emu::S->cur->tid)
#define blockIdx (emu::S->block)
#define blockDim (emu::block_dim)
#define gridDim (emu::grid_dim)
#define __syncthreads() emu::syncthreads()
#define __syncwarp(...) emu::collective(emu::nop, nullptr, __COUNTER__)
static inline unsigned __activemask() { return emu::S->warps[emu::S->cur->warp].alive; }
namespace emu { static void nop(void**, uint32_t) {} }
static inline unsigned __cvta_generic_to_shared(const void* p) {
  size_t off = (const char*)p - emu::S->shared;
  if (off >= emu::S->shared_len) { EMU_FAIL("shared address outside the block's %zu bytes: offset %zd", emu::S->shared_len, (ssize_t)off); return 16; }
  return (unsigned)off + 16;  // never 0
}
namespace emu {
static inline char* shared_at(unsigned a, unsigned len) {
  if (a < 16 || a - 16 + len > S->shared_len) { EMU_FAIL("shared access outside the block: %u + %u", a - 16, len); return S->shared; }
  return S->shared + (a - 16);
}
}

// ------------------------------------------------------------------ 16-bit floats
static inline float emu_h2f(uint16_t b) { _Float16 h; memcpy(&h, &b, 2); return (float)h; }
static inline uint16_t emu_f2h(float f) { _Float16 h = (_Float16)f; uint16_t b; memcpy(&b, &h, 2); return b; }
static inline float emu_b2f(uint16_t b) { uint32_t u = (uint32_t)b << 16; float f; memcpy(&f, &u, 4); return f; }
static inline uint16_t emu_f2b(float f) {
  uint32_t u; memcpy(&u, &f, 4);
  if ((u & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
#define EMU_HALF(T, TO, FROM)                                                              \
  struct alignas(2) T {                                                                    \
    uint16_t bits;                                                                         \
    T() = default;                                                                         \
    template <class U, class = std::enable_if_t<std::is_arithmetic<U>::value>> explicit(false) T(U v) : bits(FROM((float)v)) {} \
    operator float() const { return TO(bits); }                                            \
    static T raw(uint16_t b) { T t; t.bits = b; return t; }                                \
  };                                                                                       \
  static inline T operator+(T a, T b) { return T(float(a) + float(b)); }                   \
  static inline T operator-(T a, T b) { return T(float(a) - float(b)); }                   \
  static inline T operator*(T a, T b) { return T(float(a) * float(b)); }                   \
  static inline T operator/(T a, T b) { return T(float(a) / float(b)); }                   \
  static inline T operator-(T a) { return T::raw(a.bits ^ 0x8000); }                       \
  static inline bool operator<(T a, T b) { return float(a) < float(b); }                   \
  static inline bool operator>(T a, T b) { return float(a) > float(b); }                   \
  static inline bool operator<=(T a, T b) { return float(a) <= float(b); }                 \
  static inline bool operator>=(T a, T b) { return float(a) >= float(b); }                 \
  static inline bool operator==(T a, T b) { return float(a) == float(b); }                 \
  static inline bool operator!=(T a, T b) { return float(a) != float(b); }                 \
  struct alignas(4) T##x2_ { T x, y; };                                                    \
  static inline T##x2_ operator+(T##x2_ a, T##x2_ b) { return {a.x + b.x, a.y + b.y}; }    \
  static inline T##x2_ operator-(T##x2_ a, T##x2_ b) { return {a.x - b.x, a.y - b.y}; }    \
  static inline T##x2_ operator*(T##x2_ a, T##x2_ b) { return {a.x * b.x, a.y * b.y}; }    \
  static inline T##x2_ operator/(T##x2_ a, T##x2_ b) { return {a.x / b.x, a.y / b.y}; }    \
  static inline T##x2_ operator-(T##x2_ a) { return {-a.x, -a.y}; }                        \
  EMU_H1(T, exp, expf) EMU_H1(T, exp2, exp2f) EMU_H1(T, log, logf) EMU_H1(T, log2, log2f) EMU_H1(T, sqrt, sqrtf) EMU_H1(T, sin, sinf) \
  EMU_H1(T, cos, cosf) EMU_H1(T, tanh, tanhf) EMU_H1(T, ceil, ceilf) EMU_H1(T, floor, floorf) EMU_H1(T, trunc, truncf) EMU_H1(T, rint, rintf) \
  static inline T hrsqrt(T a) { return T(1.0f / sqrtf(float(a))); }                        \
  static inline T##x2_ h2rsqrt(T##x2_ a) { return {hrsqrt(a.x), hrsqrt(a.y)}; }            \
  static inline T __habs(T a) { return T::raw(a.bits & 0x7fff); }                          \
  static inline T##x2_ __habs2(T##x2_ a) { return {__habs(a.x), __habs(a.y)}; }            \
  static inline T __hmax(T a, T b) { return T(fmaxf(a, b)); }                              \
  static inline T __hmin(T a, T b) { return T(fminf(a, b)); }                              \
  static inline T##x2_ __hmax2(T##x2_ a, T##x2_ b) { return {__hmax(a.x, b.x), __hmax(a.y, b.y)}; } \
  static inline T##x2_ __hmin2(T##x2_ a, T##x2_ b) { return {__hmin(a.x, b.x), __hmin(a.y, b.y)}; } \
  static inline T __hfma(T a, T b, T c) { return T(fmaf(a, b, c)); }                       \
  static inline T##x2_ __hfma2(T##x2_ a, T##x2_ b, T##x2_ c) { return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)}; } \
  static inline bool __hisnan(T a) { return std::isnan(float(a)); }                        \
  static inline bool __hisinf(T a) { return std::isinf(float(a)); }
#define EMU_H1(T, name, f) static inline T h##name(T a) { return T(f(float(a))); } static inline T##x2_ h2##name(T##x2_ a) { return {h##name(a.x), h##name(a.y)}; }
EMU_HALF(__half, emu_h2f, emu_f2h)
EMU_HALF(__nv_bfloat16, emu_b2f, emu_f2b)
typedef __halfx2_ __half2;
typedef __nv_bfloat16x2_ __nv_bfloat162;
static inline __half __float2half_rn(float f) { return __half(f); }
static inline __nv_bfloat16 __float2bfloat16(float f) { return __nv_bfloat16(f); }

// ------------------------------------------------------------------ arithmetic
template <class T> static inline std::enable_if_t<std::is_integral<T>::value, T> max(T a, T b) { return a > b ? a : b; }
template <class T> static inline std::enable_if_t<std::is_integral<T>::value, T> min(T a, T b) { return a < b ? a : b; }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline float min(float a, float b) { return fminf(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline float rsqrt(float a) { return 1.0f / sqrtf(a); }
static inline int __popc(unsigned v) { return __builtin_popcount(v); }
static inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
static inline int __clz(unsigned v) { return v ? __builtin_clz(v) : 32; }
static inline int __ffs(int v) { return __builtin_ffs(v); }
static inline unsigned __brev(unsigned v) { unsigned r = 0; for (int i = 0; i < 32; i++) r |= (v >> i & 1) << (31 - i); return r; }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
static inline int __mulhi(int a, int b) { return (int)((int64_t)a * b >> 32); }
#define __expf(a) expf(a)  // glibc owns the name
#define __logf(a) logf(a)  // glibc owns the name
#define __powf(a, b) powf(a, b)  // glibc owns the name
static inline float __frcp_rn(float a) { return 1.0f / a; }
static inline float __fsqrt_rn(float a) { return sqrtf(a); }
static inline float __frsqrt_rn(float a) { return 1.0f / sqrtf(a); }
static inline float __fdividef(float a, float b) { return a / b; }
#define __sinf(a) sinf(a)  // glibc owns the name
#define __cosf(a) cosf(a)  // glibc owns the name
#define __tanhf(a) tanhf(a)  // glibc owns the name
static inline uint32_t emu_bits(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }

// ------------------------------------------------------------------ shuffles and votes
namespace emu {
struct Shfl { uint64_t val, out; int src; };
static void shfl_op(void** d, uint32_t mask) {
  for (int l = 0; l < 32; l++) if (mask >> l & 1) {
    Shfl* s = (Shfl*)d[l];
    if (mask >> s->src & 1) s->out = ((Shfl*)d[s->src])->val;
    else { EMU_FAIL("shuffle reads lane %d, which does not take part (mask %08x)", s->src, mask); s->out = ~0ull; }
  }
}
template <class T> static inline T shfl(T v, int src, bool in_range, long site) {
  static_assert(sizeof(T) <= 8, "shuffle of more than 8 bytes");
  Shfl s{0, 0, in_range ? src : (int)S->cur->lane};
  memcpy(&s.val, &v, sizeof v);
  collective(shfl_op, &s, site);
  memcpy(&v, &s.out, sizeof v);
  return v;
}
static inline int lane() { return S->cur->lane; }
struct Vote { bool p; uint32_t out; };
static void vote_op(void** d, uint32_t mask) {
  uint32_t r = 0;
  for (int l = 0; l < 32; l++) if ((mask >> l & 1) && ((Vote*)d[l])->p) r |= 1u << l;
  for (int l = 0; l < 32; l++) if (mask >> l & 1) ((Vote*)d[l])->out = r;
}
static inline uint32_t vote(bool p, long site) { Vote v{p, 0}; collective(vote_op, &v, site); return v.out; }
}
#define __shfl_sync(m, v, l) emu::shfl(v, (int)(l) & 31, true, __COUNTER__)
#define __shfl_xor_sync(m, v, x) emu::shfl(v, emu::lane() ^ (int)(x), true, __COUNTER__)
#define __shfl_up_sync(m, v, x) emu::shfl(v, emu::lane() - (int)(x), emu::lane() - (int)(x) >= 0, __COUNTER__)
#define __shfl_down_sync(m, v, x) emu::shfl(v, emu::lane() + (int)(x), emu::lane() + (int)(x) < 32, __COUNTER__)
#define __ballot_sync(m, p) emu::vote(p, __COUNTER__)
#define __any_sync(m, p) (emu::vote(p, __COUNTER__) != 0)
#define __all_sync(m, p) (emu::vote(!(p), __COUNTER__) == 0)

// ------------------------------------------------------------------ PTX
namespace emu {
static inline void need_full(uint32_t mask, const char* what) { if (mask != ~0u) EMU_FAIL("%s needs all 32 lanes, mask is %08x", what, mask); }
enum Ty { F16, BF16 };
template <Ty T> static inline float half_of(uint32_t r, int i) {
  return T == F16 ? emu_h2f(r >> (16 * i)) : emu_b2f(r >> (16 * i));
}
struct Mma { float* d[4]; uint32_t a[4], b[2]; float c[4]; };
// mma.m16n8k16: PTX ISA 9.7.14.5.8
template <Ty T> static void mma_op(void** data, uint32_t mask) {
  need_full(mask, "mma.sync");
  constexpr int K = 16;
  float A[16][16], B[8][16];
  if (mask != ~0u) return;
  for (int l = 0; l < 32; l++) {
    Mma& m = *(Mma*)data[l];
    int g = l / 4, t = l % 4;
    for (int i = 0; i < 2; i++) {
      A[g][2 * t + i] = half_of<T>(m.a[0], i); A[g + 8][2 * t + i] = half_of<T>(m.a[1], i);
      A[g][2 * t + 8 + i] = half_of<T>(m.a[2], i); A[g + 8][2 * t + 8 + i] = half_of<T>(m.a[3], i);
      B[g][2 * t + i] = half_of<T>(m.b[0], i); B[g][2 * t + 8 + i] = half_of<T>(m.b[1], i);
    }
  }
  for (int l = 0; l < 32; l++) {
    Mma& m = *(Mma*)data[l];
    for (int i = 0; i < 4; i++) {
      int row = l / 4 + (i / 2) * 8, col = (l % 4) * 2 + i % 2;
      float s = 0;
      for (int k = 0; k < K; k++) s += A[row][k] * B[col][k];
      *m.d[i] = m.c[i] + s;
    }
  }
}
template <Ty T> static inline void mma(long site, float& d0, float& d1, float& d2, float& d3, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                                       uint32_t b0, uint32_t b1, float c0, float c1, float c2, float c3) {
  Mma m{{&d0, &d1, &d2, &d3}, {a0, a1, a2, a3}, {b0, b1}, {c0, c1, c2, c3}};
  collective(mma_op<T>, &m, site);
}
struct LdSt { uint32_t addr; uint32_t* r[4]; };
template <int N, bool TRANS, bool STORE> static void ldst_op(void** data, uint32_t mask) {
  need_full(mask, STORE ? "stmatrix" : "ldmatrix");
  if (mask != ~0u) return;
  for (int n = 0; n < N; n++) {
    char* row[8];
    for (int i = 0; i < 8; i++) {
      uint32_t a = ((LdSt*)data[n * 8 + i])->addr;
      if (a & 15) EMU_FAIL("ldmatrix/stmatrix address %u of lane %d is not 16-byte aligned", a, n * 8 + i);
      row[i] = shared_at(a, 16);
    }
    for (int l = 0; l < 32; l++)
      for (int h = 0; h < 2; h++) {
        int r = l / 4, c = (l % 4) * 2 + h;
        uint16_t* mem = (uint16_t*)(TRANS ? row[c] : row[r]) + (TRANS ? r : c);
        uint16_t* reg = (uint16_t*)((LdSt*)data[l])->r[n] + h;
        if (STORE) *mem = *reg; else *reg = *mem;
      }
  }
}
template <int N, bool TRANS, bool STORE, class... R> static inline void ldst(long site, uint32_t addr, R&&... r) {
  LdSt x{addr, {const_cast<uint32_t*>(&r)...}};
  collective(ldst_op<N, TRANS, STORE>, &x, site);
}
static inline void cp_async(uint32_t dst, const void* src, int size, int valid) {
  if ((dst & (size - 1)) || ((uintptr_t)src & (size - 1))) EMU_FAIL("cp.async of %d bytes: misaligned address", size);
  char* d = shared_at(dst, size);
  // The bytes may land at any time from here to the wait: late in order 0, at once in order 1, by chance in the others.
  if (S->order_mode == 1 || (S->order_mode > 1 && S->rng() % 2)) { memcpy(d, src, valid); memset(d + valid, 0, size - valid); }
  else S->cur->copies.push_back({d, (const char*)src, size, valid, S->cur->group});
}
static inline void cp_async_commit() { S->cur->group++; }
static inline void cp_async_wait(int pending) {
  auto& c = S->cur->copies; size_t k = 0;
  for (auto& x : c) {
    if (x.group < S->cur->group - pending) { memcpy(x.dst, x.src, x.valid); memset(x.dst + x.valid, 0, x.size - x.valid); }
    else c[k++] = x;
  }
  c.resize(k);
}
static inline void cp_async_wait_all() { S->cur->group++; cp_async_wait(0); }
static inline void max_nan(float& d, float a, float b) { d = isnan(a) || isnan(b) ? NAN : fmaxf(a, b); }
static inline void min_nan(float& d, float a, float b) { d = isnan(a) || isnan(b) ? NAN : fminf(a, b); }
static inline void ex2(float& d, float a) { d = exp2f(a); }
static inline void lg2(float& d, float a) { d = log2f(a); }
static inline void rcp(float& d, float a) { d = 1.0f / a; }
// cvt.rn.{f16x2,bf16x2}.f32 d, a, b: a goes to the upper half
static inline void cvt_f16x2(uint32_t& d, float a, float b) { d = (uint32_t)emu_f2h(a) << 16 | emu_f2h(b); }
static inline void cvt_bf16x2(uint32_t& d, float a, float b) { d = (uint32_t)emu_f2b(a) << 16 | emu_f2b(b); }
}
