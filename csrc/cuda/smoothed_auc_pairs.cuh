#pragma once
// Brute force over pairs. A warp owns a tile of rows (anomalies) in registers and passes columns (normals) round its
// lanes together with their sums, so that forward and both gradients come from one exponential and one reciprocal a pair.
#include "common.cuh"

namespace heterad::cuda {

constexpr int kRows = 4;               // per lane
constexpr int kRowTile = 32 * kRows;   // per warp
constexpr int kColumnChunk = 256;      // per warp

__device__ inline float exp2_of(float x) { return exp2f(x); }
__device__ inline double exp2_of(double x) { return exp2(x); }

// 1 / d of numbers in [1, 2]. In float one approximate reciprocal serves all four: special functions are what is scarce.
__device__ inline void reciprocals(const float (&d)[kRows], float (&w)[kRows]) {
  static_assert(kRows == 4, "written out for four");
  const float left = d[0] * d[1], right = d[2] * d[3], all = __fdividef(1.0f, left * right);
  const float of_left = all * right, of_right = all * left;
  w[0] = of_left * d[1], w[1] = of_left * d[0], w[2] = of_right * d[3], w[3] = of_right * d[2];
}
__device__ inline void reciprocals(const double (&d)[kRows], double (&w)[kRows]) {
  for (int r = 0; r < kRows; ++r) w[r] = 1 / d[r];
}

template <typename T>
struct PairWork {
  int64_t row_tiles, chunks, items;  // items: warps' worth of work in a task
  T *row_sums, *column_sums;         // [batch, chunks, P], [batch, row_tiles, Q]
  double *values, *partial;          // [batch, items], [batch, kSums]
  Summary* summaries;

  PairWork(Arena& arena, int64_t batch, int64_t p, int64_t q)
      : row_tiles(ceil_div(p, kRowTile)), chunks(ceil_div(q, kColumnChunk)), items(row_tiles * chunks) {
    row_sums = arena.take<T>(batch * chunks * p);
    column_sums = arena.take<T>(batch * row_tiles * q);
    values = arena.take<double>(batch * items);
    partial = arena.take<double>(batch * kSums);
    summaries = arena.take<Summary>(batch);
  }
};

// A finite real score, or the infinity that makes its sigmoids and slopes vanish.
template <typename T>
__device__ T score_or(const Scores<T>& s, int64_t task, int64_t i, T absent) {
  if (i >= s.n || !is_real(s, task * s.n + i)) return absent;
  const T x = s.x[task * s.n + i];
  return is_finite(x) ? x : absent;
}

template <typename T>
__global__ void sum_tiles(Scores<T> pos, Scores<T> neg, T rate, PairWork<T> work, int64_t batch) {
  const int lane = threadIdx.x % 32, next = (lane + 1) % 32;
  const int64_t item = thread_index() / 32;
  if (item >= batch * work.items) return;
  const int64_t task = item / work.items, tile = item % work.items / work.chunks, chunk = item % work.chunks;
  T p[kRows];
  double row_sum[kRows] = {}, total = 0;
  for (int r = 0; r < kRows; ++r) p[r] = score_or(pos, task, tile * kRowTile + r * 32 + lane, -T(INFINITY));
  const int64_t end = (chunk + 1) * kColumnChunk < neg.n ? (chunk + 1) * kColumnChunk : neg.n;
  for (int64_t first = chunk * kColumnChunk; first < end; first += 32) {
    T n = score_or(neg, task, first + lane, T(INFINITY)), column_sum = 0, sigmoids = 0, slopes[kRows] = {};
    for (int step = 0; step < 32; ++step) {
      T z[kRows], d[kRows], w[kRows];
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        z[r] = exp2_of(-fabs(p[r] - n) * rate);
        d[r] = 1 + z[r];
      }
      reciprocals(d, w);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const T other = z[r] * w[r], slope = other * w[r];
        sigmoids += p[r] < n ? other : w[r];
        slopes[r] += slope;
        column_sum += slope;
      }
      n = __shfl_sync(kWarp, n, next);
      column_sum = __shfl_sync(kWarp, column_sum, next);
    }
    total += double(sigmoids);
    for (int r = 0; r < kRows; ++r) row_sum[r] += double(slopes[r]);
    if (first + lane < end) work.column_sums[(task * work.row_tiles + tile) * neg.n + first + lane] = column_sum;
  }
  for (int r = 0; r < kRows; ++r) {
    const int64_t row = tile * kRowTile + r * 32 + lane;
    if (row < pos.n) work.row_sums[(task * work.chunks + chunk) * pos.n + row] = T(row_sum[r]);
  }
  for (int half = 16; half > 0; half /= 2) total += __shfl_xor_sync(kWarp, total, half);
  if (lane == 0) work.values[item] = total;
}

// grad[task, i] from the `parts` partial sums of each score
template <typename T>
__global__ void gather(Scores<T> s, int side, const T* sums, int64_t parts, const Summary* summaries, double inverse,
                       int64_t batch) {
  const int64_t i = thread_index();
  if (i >= batch * s.n) return;
  const int64_t task = i / s.n;
  double slopes = 0;
  for (int64_t k = 0; k < parts; ++k) slopes += double(sums[(task * parts + k) * s.n + i % s.n]);
  s.grad[i] = is_real(s, i) ? gradient<T>(summaries[task], side, slopes, inverse) : T(0);
}

// log2(e) / temperature, finite and above 0.
template <typename T>
T rate_of(double temperature) {
  const T inverse = inverse_of<T>(temperature);
  return T(double(inverse) * 1.4426950408889634);
}

template <typename T>
void by_pairs(Scores<T> pos, Scores<T> neg, double temperature, T* value, int64_t batch, Arena& arena,
              cudaStream_t stream) {
  const PairWork<T> work(arena, batch, pos.n, neg.n);
  summarise_all(stream, pos, neg, work.summaries, batch);
  launch(stream, blocks_for(batch * work.items * 32), sum_tiles<T>, pos, neg, rate_of<T>(temperature), work, batch);
  launch(stream, batch * kSums, sum_stretches, work.values, work.items, nullptr, work.partial);
  launch(stream, blocks_for(batch), finish<T>, work.partial, work.summaries, value, batch);
  if (pos.grad == nullptr) return;
  const double inverse = inverse_of<double>(temperature);
  launch(stream, blocks_for(batch * pos.n), gather<T>, pos, 1, work.row_sums, work.chunks, work.summaries, inverse, batch);
  launch(stream, blocks_for(batch * neg.n), gather<T>, neg, 0, work.column_sums, work.row_tiles, work.summaries, inverse,
         batch);
}

}  // namespace heterad::cuda
