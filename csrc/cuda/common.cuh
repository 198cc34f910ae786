#pragma once
// Shared by the kernels of smoothed_auc: what a task holds, and sums in a fixed order.
#include <limits>

#include "launch.cuh"
#include "scores.h"

namespace heterad::cuda {

constexpr int kThreads = 256;
constexpr int kSums = 64;   // partial sums of the value

template <typename... P, typename... A>
void launch(cudaStream_t stream, int64_t blocks, void (*kernel)(P...), A... args) {
  launch_of(stream, blocks, kThreads, kernel, args...);
}

// 1 / temperature, finite and above 0 in T
template <typename T>
T inverse_of(double temperature) {
  const double most = sizeof(T) == 4 ? 1e38 : 1e300, least = std::numeric_limits<T>::denorm_min();
  const double inverse = temperature * most > 1 ? 1 / temperature : most;
  return T(inverse > least ? inverse : least);
}

inline int64_t blocks_for(int64_t threads) { return ceil_div(threads, kThreads); }

// Blocks of a kernel that strides over work whose size only the device knows.
inline int64_t strided_blocks(int64_t threads) {
  const int64_t blocks = blocks_for(threads);
  return blocks < 4096 ? blocks : 4096;
}

__device__ inline int64_t thread_index() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline int64_t thread_count() { return int64_t(gridDim.x) * blockDim.x; }

// What a task holds, counted in integers, so that the order of the atomics does not matter. [0] normals, [1] anomalies.
struct Summary {
  unsigned long long real[2], plus[2], minus[2], nan;

  __device__ unsigned long long finite(int side) const { return real[side] - plus[side] - minus[side]; }
  __device__ bool undefined() const { return nan || (plus[0] && plus[1]) || (minus[0] && minus[1]); }
  __device__ double pairs() const { return double(real[0]) * double(real[1]); }
  __device__ double decided() const {  // pairs that an infinity puts in order
    return double(plus[1]) * double(real[0]) + double(finite(1)) * double(minus[0]);
  }
};

template <typename T>
__device__ bool is_real(const Scores<T>& s, int64_t i) {
  return s.mask == nullptr || s.mask[i];
}

template <typename T>
__device__ bool is_finite(T x) {
  return x - x == 0;
}

constexpr int kStretch = 1024;  // scores that one warp counts: four counts of 16 bits travel as one number

template <typename T>
__global__ void summarise(Scores<T> scores, int side, Summary* summaries, int64_t batch) {
  const int64_t stretches = ceil_div(scores.n, kStretch), item = thread_index() / 32;
  if (item >= batch * stretches) return;
  const int64_t task = item / stretches, first = item % stretches * kStretch;
  const int64_t end = first + kStretch < scores.n ? first + kStretch : scores.n;
  unsigned long long counts = 0;
  for (int64_t i = task * scores.n + first + threadIdx.x % 32; i < task * scores.n + end; i += 32) {
    if (!is_real(scores, i)) continue;
    const T x = scores.x[i];
    counts += 1 + (x == T(INFINITY) ? 1ull << 16 : 0) + (x == -T(INFINITY) ? 1ull << 32 : 0) + (x != x ? 1ull << 48 : 0);
  }
  for (int half = 16; half > 0; half /= 2) counts += __shfl_xor_sync(kWarp, counts, half);
  if (threadIdx.x % 32 != 0) return;
  Summary& s = summaries[task];
  unsigned long long* const sums[] = {&s.real[side], &s.plus[side], &s.minus[side], &s.nan};
#pragma unroll
  for (int k = 0; k < 4; ++k)
    if (counts >> 16 * k & 0xffff) atomicAdd(sums[k], counts >> 16 * k & 0xffff);
}

template <typename T>
void summarise_all(cudaStream_t stream, const Scores<T>& pos, const Scores<T>& neg, Summary* summaries, int64_t batch) {
  const auto blocks = [&](int64_t n) { return blocks_for(batch * ceil_div(n, kStretch) * 32); };
  cudaMemsetAsync(summaries, 0, batch * sizeof(Summary), stream);
  launch(stream, blocks(pos.n), summarise<T>, pos, 1, summaries, batch);
  launch(stream, blocks(neg.n), summarise<T>, neg, 0, summaries, batch);
}

// The gradient of a real score, from the sum of its slopes.
template <typename T>
__device__ T gradient(const Summary& s, int side, double slopes, double inverse) {
  if (s.undefined()) return T(NAN);
  return s.pairs() > 0 ? T((side ? slopes : -slopes) * inverse / s.pairs()) : T(0);
}

// partial[b * kSums + k]: the sum of one of kSums stretches of values[b], of which there are `count` each (or *counted).
__global__ void sum_stretches(const double* values, int64_t count, const unsigned* counted, double* partial) {
  __shared__ double sums[kThreads];
  const int64_t n = counted ? int64_t(*counted) : count;
  const int64_t task = blockIdx.x / kSums, k = blockIdx.x % kSums;
  double sum = 0;
  for (int64_t i = n * k / kSums + threadIdx.x; i < n * (k + 1) / kSums; i += kThreads) sum += values[task * count + i];
  sums[threadIdx.x] = sum;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (int(threadIdx.x) < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) partial[blockIdx.x] = sums[0];
}

template <typename T>
__global__ void finish(const double* partial, const Summary* summaries, T* value, int64_t batch) {
  const int64_t b = thread_index();
  if (b >= batch) return;
  const Summary& s = summaries[b];
  double total = s.decided();
  for (int k = 0; k < kSums; ++k) total += partial[b * kSums + k];
  value[b] = s.undefined() ? T(NAN) : s.pairs() > 0 ? T(total / s.pairs()) : T(0.5);
}

}  // namespace heterad::cuda
