#pragma once
// The columns d of a task never meet: a thread takes C of them through all alternations, with what passes from one to the
// next, Z = U'Y [J, D], in its registers. With u = H L^-T/sqrt(N) (ridge_factor.cuh) and t = lambda/2,
//
//   Z_0 = u'(X + A0);   R_i = u Z_i - X;   A_i = shrink(R_i, t);   Z_i+1 = u'(X + A_i);   W = Z_last' L^-1/sqrt(N)
//
// Backward, with the masks m_i = not |R_i| <= t and V_last = u'dR_last + B, B = L^-1 dW'/sqrt(N), from the last iteration
//
//   dR_last = m dA;   dR_i = m_i u V_i+1;   V_i = u'dR_i;   dX = sum_i (u V_i - dR_i);   dA0 = u V_0
//   dt = -sum sgn(R_i) dR_i;   F = sum_i (dR_i Z_i' + Y_i V_i');   S = B Z_last'
//
// in four kernels: forward again, keeping Z, m and the signs of R (a bit each); the chain of V, keeping it; F and S, which
// that leaves independent for each tile of columns; and what follows from them for H, lambda and mu.
#include "cuda/robust_ridge.h"

#include "cuda/ridge_factor.cuh"

namespace heterad::cuda {
namespace {

constexpr int kColumns = 64;  // threads of a block that walks columns
constexpr int kRows = 64;     // rows of u that a block holds at a time
constexpr int kSumsThreads = 128, kSumsTile = 32;

// Where a thread holds J embeddings: C columns, as many as registers allow, and the rows whose F a block holds, of tasks
// of many rows or few.
template <typename T, int J>
struct Shape {
  static constexpr bool kNarrow = sizeof(T) * J <= 128;  // a column's J numbers
  static constexpr int C = kNarrow ? 2 : 1, kTile = kColumns * C, kMany = kNarrow ? 64 : 32, kFew = kNarrow ? 16 : 32;
};

template <typename T>
struct Task {
  const T *x, *a0, *u, *li;
  const bool* mask;
  int64_t n, d, j, n_iter;
  T t;

  __device__ Task(const RobustRidge<T>& r, const T* u, const T* li, int64_t b)
      : x(r.x + b * r.n * r.d), a0(r.a0 + b * r.n * r.d), u(u + b * r.n * r.j), li(li + b * r.j * r.j),
        mask(r.mask ? r.mask + b * r.n : nullptr), n(r.n), d(r.d), j(r.j), n_iter(r.n_iter), t(r.lam[b] / 2) {}

  __device__ bool real(int64_t i) const { return mask == nullptr || mask[i]; }
};

// What backward keeps of some tasks. bits: two words an alternation, row and 32 columns (outside the threshold; above 0).
template <typename T>
struct Tape {
  T *z, *v, *f, *s;  // [tasks, n_iter, j, d], [tasks, n_iter + 1, j, d] (B last), [splits, tasks, n, j], [.., j, j]
  uint2* bits;       // [tasks, n_iter, n, words]
  double* t;         // [tasks, tiles]
  int64_t words, tiles, splits;

  Tape(Arena& arena, const RobustRidge<T>& r, int64_t tile, int64_t splits)
      : words(ceil_div(r.d, tile) * tile / 32), tiles(ceil_div(r.d, tile)), splits(splits) {
    z = arena.take<T>(r.tasks * r.n_iter * r.j * r.d), v = arena.take<T>(r.tasks * (r.n_iter + 1) * r.j * r.d);
    f = arena.take<T>(splits * r.tasks * r.n * r.j), s = arena.take<T>(splits * r.tasks * r.j * r.j);
    bits = arena.take<uint2>(r.tasks * r.n_iter * r.n * words);
    t = arena.take<double>(r.tasks * tiles);
  }
};

template <typename T>
__device__ T shrink(T r, T t) {
  return fabs(r) <= t ? r - r : r - (r > 0 ? t : -t);
}

// Rows first.. of u, padded with zeros to J columns; all threads of the block must come.
template <typename T, int J, int ROWS>
__device__ void load_rows(T (&rows)[ROWS][J], const Task<T>& task, int64_t first) {
  __syncthreads();
  for (int e = threadIdx.x; e < ROWS * J; e += blockDim.x) {
    const int64_t i = first + e / J;
    rows[e / J][e % J] = i < task.n && e % J < task.j ? task.u[i * task.j + e % J] : T(0);
  }
  __syncthreads();
}

// Four numbers at once, where the compiler knows that they lie on 16 bytes.
template <typename T>
struct alignas(16) Quad {
  T at[4];
};

template <typename T, int J>
__device__ void take(T (&to)[J], const T* from) {
#pragma unroll
  for (int k = 0; k < J; k += 4) {
    const Quad<T> quad = *reinterpret_cast<const Quad<T>*>(from + k);
#pragma unroll
    for (int m = 0; m < 4; ++m) to[k + m] = quad.at[m];
  }
}

template <typename T, int J>
__device__ T dot(const T (&a)[J], const T (&b)[J]) {
  T sums[4] = {};
#pragma unroll
  for (int k = 0; k < J; ++k) sums[k % 4] += a[k] * b[k];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// The products of a row in shared memory with two columns.
template <typename T, int J>
__device__ void dots(const T* row, const T (&a)[J], const T (&b)[J], T& with_a, T& with_b) {
  T sums[2][2] = {};
#pragma unroll
  for (int k = 0; k < J; k += 4) {
    const Quad<T> u = *reinterpret_cast<const Quad<T>*>(row + k);
#pragma unroll
    for (int m = 0; m < 4; ++m) sums[0][m % 2] += u.at[m] * a[k + m], sums[1][m % 2] += u.at[m] * b[k + m];
  }
  with_a = sums[0][0] + sums[0][1], with_b = sums[1][0] + sums[1][1];
}

// Calls `use(i, row of u)` for the real rows in order. `held`: the rows are there already.
template <typename T, int J, typename F>
__device__ void for_rows(T (&rows)[kRows][J], const Task<T>& task, bool& held, F use) {
  for (int64_t first = 0; first < task.n; first += kRows) {
    if (!held) load_rows(rows, task, first);
    held = task.n <= kRows;
    const int many = int(task.n - first < kRows ? task.n - first : kRows);
    for (int i = 0; i < many; ++i) {
      if (!task.real(first + i)) continue;
      T u[J];
      take(u, rows[i]);
      use(first + i, u);
    }
  }
}

// The columns of a thread.
template <int C>
struct Columns {
  int64_t at[C];
  bool there[C];

  __device__ Columns(int64_t tile, int64_t d) {
    for (int c = 0; c < C; ++c) {
      at[c] = (tile * C + c) * kColumns + threadIdx.x;
      there[c] = at[c] < d;
    }
  }

  // Writes the columns of a matrix [j, d].
  template <typename T, int J>
  __device__ void keep(const T (&from)[C][J], const Task<T>& task, T* to) const {
#pragma unroll
    for (int k = 0; k < J; ++k)
#pragma unroll
      for (int c = 0; c < C; ++c)
        if (k < task.j && there[c]) to[k * task.d + at[c]] = from[c][k];
  }
};

// KEEP: z, and the bits, for backward; else w and a.
template <typename T, int J, bool KEEP>
__global__ void forward(RobustRidge<T> ridge, const T* u, const T* li, T* w, T* a, Tape<T> tape) {
  constexpr int C = Shape<T, J>::C;
  alignas(16) __shared__ T rows[kRows][J];
  const int64_t b = blockIdx.x / tape.tiles, tile = blockIdx.x % tape.tiles;
  const Task<T> task(ridge, u, li, b);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const Columns<C> columns(tile, task.d);
  const auto at = [&](const T* p, int64_t i, int c) { return columns.there[c] ? p[i * task.d + columns.at[c]] : T(0); };
  const auto keep = [&](int64_t iteration, const T(&z)[C][J]) {
    columns.keep(z, task, tape.z + (b * task.n_iter + iteration) * task.j * task.d);
  };
  const auto tell = [&](int64_t iteration, int64_t i, int c, T r) {
    const unsigned outside = __ballot_sync(kWarp, !(fabs(r) <= task.t)), above = __ballot_sync(kWarp, r > 0);
    const int64_t word = (tile * C + c) * (kColumns / 32) + warp;
    if (lane == 0) tape.bits[((b * task.n_iter + iteration) * task.n + i) * tape.words + word] = uint2{outside, above};
  };

  bool held = false;
  T z[C][J] = {};
  for_rows(rows, task, held, [&](int64_t i, const T(&u)[J]) {
#pragma unroll
    for (int c = 0; c < C; ++c) {
      const T y = at(task.x, i, c) + at(task.a0, i, c);
#pragma unroll
      for (int k = 0; k < J; ++k) z[c][k] += u[k] * y;
    }
  });
  for (int64_t iteration = 0; iteration + 1 < task.n_iter; ++iteration) {
    if (KEEP) keep(iteration, z);
    T next[C][J] = {};
    for_rows(rows, task, held, [&](int64_t i, const T(&u)[J]) {
      T x[C];
#pragma unroll
      for (int c = 0; c < C; ++c) x[c] = at(task.x, i, c);
#pragma unroll
      for (int c = 0; c < C; ++c) {
        const T r = dot(u, z[c]) - x[c];
        if (KEEP) tell(iteration, i, c, r);
        const T y = x[c] + shrink(r, task.t);
#pragma unroll
        for (int k = 0; k < J; ++k) next[c][k] += u[k] * y;
      }
    });
#pragma unroll
    for (int c = 0; c < C; ++c)
#pragma unroll
      for (int k = 0; k < J; ++k) z[c][k] = next[c][k];
  }
  if (KEEP) keep(task.n_iter - 1, z);
  for_rows(rows, task, held, [&](int64_t i, const T(&u)[J]) {
    for (int c = 0; c < C; ++c) {
      const T r = dot(u, z[c]) - at(task.x, i, c);
      if (KEEP) tell(task.n_iter - 1, i, c, r);
      else if (columns.there[c]) a[(b * task.n + i) * task.d + columns.at[c]] = shrink(r, task.t);
    }
  });
  if constexpr (!KEEP) {
    for (int64_t i = 0; i < task.n; ++i)
      for (int c = 0; c < C; ++c)
        if (!task.real(i) && columns.there[c]) a[(b * task.n + i) * task.d + columns.at[c]] = 0;
    const T scale = T(rows_rsqrt(task.mask, task.n));
    for (int64_t k = 0; k < task.j; ++k)
      for (int c = 0; c < C; ++c) {
        T sum = 0;
#pragma unroll
        for (int m = 0; m < J; ++m)
          if (m < task.j) sum += z[c][m] * task.li[m * task.j + k];
        if (columns.there[c]) w[(b * task.d + columns.at[c]) * task.j + k] = sum * scale;
      }
  }
}

template <typename T, int J>
__global__ void chain(RobustRidge<T> ridge, const T* u, const T* li, RobustRidgeGrads<T> grads, Tape<T> tape) {
  constexpr int C = Shape<T, J>::C;
  alignas(16) __shared__ T rows[kRows][J];
  __shared__ double sums[kColumns];
  const int64_t b = blockIdx.x / tape.tiles, tile = blockIdx.x % tape.tiles;
  const Task<T> task(ridge, u, li, b);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const Columns<C> columns(tile, task.d);
  const auto keep = [&](int64_t iteration, const T(&v)[C][J]) {
    columns.keep(v, task, tape.v + (b * (task.n_iter + 1) + iteration) * task.j * task.d);
  };

  T v[C][J] = {};  // B
  const T scale = T(rows_rsqrt(task.mask, task.n));
  if (grads.w != nullptr)
    for (int64_t m = 0; m < task.j; ++m)
      for (int c = 0; c < C; ++c) {
        const T slope = columns.there[c] ? grads.w[(b * task.d + columns.at[c]) * task.j + m] * scale : T(0);
#pragma unroll
        for (int k = 0; k < J; ++k)
          if (k < task.j) v[c][k] += task.li[k * task.j + m] * slope;
      }
  keep(task.n_iter, v);

  bool held = false;
  double total = 0;
  for (int64_t iteration = task.n_iter - 1; iteration >= 0; --iteration) {
    const bool last = iteration == task.n_iter - 1;
    T next[C][J];
#pragma unroll
    for (int c = 0; c < C; ++c)
#pragma unroll
      for (int k = 0; k < J; ++k) next[c][k] = last ? v[c][k] : T(0);
    for_rows(rows, task, held, [&](int64_t i, const T(&u)[J]) {
      const uint2* words = tape.bits + ((b * task.n_iter + iteration) * task.n + i) * tape.words;
#pragma unroll
      for (int c = 0; c < C; ++c) {
        const uint2 bits = words[(tile * C + c) * (kColumns / 32) + warp];
        const int64_t e = (b * task.n + i) * task.d + columns.at[c];
        const T dy = !last ? dot(u, v[c]) : columns.there[c] && grads.a != nullptr ? grads.a[e] : T(0);
        const T dr = bits.x >> lane & 1 ? dy : T(0);
        total -= double(bits.y >> lane & 1 ? dr : -dr);
        if (columns.there[c]) grads.x[e] = last ? -dr : grads.x[e] + (dy - dr);
#pragma unroll
        for (int k = 0; k < J; ++k) next[c][k] += u[k] * dr;
      }
    });
    keep(iteration, next);
#pragma unroll
    for (int c = 0; c < C; ++c)
#pragma unroll
      for (int k = 0; k < J; ++k) v[c][k] = next[c][k];
  }
  for_rows(rows, task, held, [&](int64_t i, const T(&u)[J]) {
    for (int c = 0; c < C; ++c) {
      const int64_t e = (b * task.n + i) * task.d + columns.at[c];
      const T dy = dot(u, v[c]);
      if (!columns.there[c]) continue;
      grads.a0[e] = dy;
      grads.x[e] += dy;
    }
  });
  for (int64_t i = 0; i < task.n; ++i)
    for (int c = 0; c < C; ++c)
      if (!task.real(i) && columns.there[c]) {
        const int64_t e = (b * task.n + i) * task.d + columns.at[c];
        grads.x[e] = grads.a0[e] = 0;
      }
  sums[threadIdx.x] = total;
  for (int half = kColumns / 2; half > 0; half /= 2) {
    __syncthreads();
    if (int(threadIdx.x) < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) tape.t[b * tape.tiles + tile] = sums[0];
}

// A block sums F over a share of the tiles of 32 columns, for ROWS rows; the first of a task's rows S too. First a thread
// has a column, to make dR and Y, a warp a quarter of the rows; then a thread has some entries of F, to sum over columns.
template <typename T, int J, int ROWS>
__global__ __launch_bounds__(kSumsThreads, Shape<T, J>::kNarrow ? 3 : 1)
void sum_factors(RobustRidge<T> ridge, const T* u, const T* li, const T* grad_a, Tape<T> tape) {
  constexpr int kPad = sizeof(T) == 4 ? 4 : 2, kWarps = kSumsThreads / 32;
  constexpr int kOwn = ROWS * J / kSumsThreads, TJ = kOwn < 4 ? kOwn : 4, TR = kOwn / TJ;  // rows x embeddings a thread
  constexpr int kOwnS = J * J / kSumsThreads;
  alignas(16) __shared__ T rows[ROWS][J];
  alignas(16) __shared__ T slopes[kSumsTile][ROWS + kPad], labels[kSumsTile][ROWS + kPad];  // dR, Y
  alignas(16) __shared__ T left[kSumsTile][J + kPad], right[kSumsTile][J + kPad];           // Z, V
  const int64_t parts = ceil_div(ridge.n, int64_t(ROWS)) > 0 ? ceil_div(ridge.n, int64_t(ROWS)) : 1;
  const int64_t part = blockIdx.x % parts, split = blockIdx.x / parts % tape.splits, b = blockIdx.x / parts / tape.splits;
  const Task<T> task(ridge, u, li, b);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int j0 = threadIdx.x % (J / TJ) * TJ, r0 = threadIdx.x / (J / TJ) * TR;
  const int64_t tiles = ceil_div(task.d, int64_t(kSumsTile)), last_tile = tiles * (split + 1) / tape.splits;
  load_rows(rows, task, part * ROWS);
  T f[TR][TJ] = {}, s[kOwnS] = {};

  for (int64_t tile = tiles * split / tape.splits; tile < last_tile; ++tile) {
    const int64_t column = tile * kSumsTile + lane;
    const bool there = column < task.d;
    T sum[TR][TJ] = {};
    const auto fetch = [&](T(&to)[J], const T* tape_of, int64_t place) {
#pragma unroll
      for (int k = 0; k < J; ++k) to[k] = there && k < task.j ? tape_of[(place * task.j + k) * task.d + column] : T(0);
    };
    const auto put = [&](T(&to)[kSumsTile][J + kPad], const T(&from)[J]) {
#pragma unroll
      for (int k = 0; k < J; ++k)
        if (k % kWarps == warp) to[lane][k] = from[k];
    };
    const auto product = [&](const T(&tall)[kSumsTile][ROWS + kPad], const T(&wide)[kSumsTile][J + kPad]) {
#pragma unroll 4
      for (int k = 0; k < kSumsTile; ++k) {
        T rs[TR], js[TJ];
#pragma unroll
        for (int r = 0; r < TR; ++r) rs[r] = tall[k][r0 + r];
#pragma unroll
        for (int m = 0; m < TJ; ++m) js[m] = wide[k][j0 + m];
#pragma unroll
        for (int r = 0; r < TR; ++r)
#pragma unroll
          for (int m = 0; m < TJ; ++m) sum[r][m] += rs[r] * js[m];
      }
    };
    for (int64_t iteration = -1; iteration < task.n_iter; ++iteration) {  // -1: Y_0 alone
      const bool first = iteration < 0, last = iteration + 1 == task.n_iter;
      __syncthreads();
      {
        T z[J] = {}, v[J] = {};
        if (!first) fetch(z, tape.z, b * task.n_iter + iteration);
        if (!last) fetch(v, tape.v, b * (task.n_iter + 1) + iteration + 1);
        if (!first) put(left, z);
        if (!last) put(right, v);
        for (int i = warp; i < ROWS; i += kWarps) {
          const int64_t row = part * ROWS + i;
          const bool real = row < task.n && there && task.real(row);
          T dr = 0, y = 0;
          if (row < task.n) {
            const T x = real ? task.x[row * task.d + column] : T(0);
            if (first) {
              y = real ? x + task.a0[row * task.d + column] : T(0);
            } else {
              T r = 0, dy = 0;
              dots(rows[i], z, v, r, dy);
              const uint2* const bits = tape.bits + ((b * task.n_iter + iteration) * task.n + row) * tape.words + tile;
              if (last) dy = real && grad_a != nullptr ? grad_a[(b * task.n + row) * task.d + column] : T(0);
              dr = real && bits->x >> lane & 1 ? dy : T(0);
              if (!last) y = real ? x + shrink(r - x, task.t) : T(0);
            }
          }
          slopes[lane][i] = dr, labels[lane][i] = y;
        }
      }
      __syncthreads();
      if (!first) product(slopes, left);
      if (!last) product(labels, right);
    }
#pragma unroll
    for (int r = 0; r < TR; ++r)
#pragma unroll
      for (int m = 0; m < TJ; ++m) f[r][m] += sum[r][m];
    if (part == 0) {  // left still holds Z_last
      __syncthreads();
      T v[J];
      fetch(v, tape.v, b * (task.n_iter + 1) + task.n_iter);
      put(right, v);
      __syncthreads();
#pragma unroll
      for (int m = 0; m < kOwnS; ++m) {
        const int e = threadIdx.x + m * kSumsThreads;
        T total = 0;
        for (int k = 0; k < kSumsTile; ++k) total += right[k][e / J] * left[k][e % J];
        s[m] += total;
      }
    }
  }
#pragma unroll
  for (int r = 0; r < TR; ++r)
#pragma unroll
    for (int m = 0; m < TJ; ++m) {
      const int64_t row = part * ROWS + r0 + r;
      if (row < task.n && j0 + m < task.j)
        tape.f[((split * ridge.tasks + b) * task.n + row) * task.j + j0 + m] = f[r][m];
    }
  if (part != 0) return;
#pragma unroll
  for (int m = 0; m < kOwnS; ++m) {
    const int e = threadIdx.x + m * kSumsThreads;
    if (e / J < task.j && e % J < task.j)
      tape.s[((split * ridge.tasks + b) * task.j + e / J) * task.j + e % J] = s[m];
  }
}

}  // namespace
}  // namespace heterad::cuda
