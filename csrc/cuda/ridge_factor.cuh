#pragma once
// The factor of ridge regression that no label enters, and its derivative; a block a task, in float64.
//   C = H'H/N + mu = L L';  li = L^-1, u = H L^-T/sqrt(N), so that U U' is the hat matrix and W = Y' U L^-1/sqrt(N).
//   Backward, where u received F and L^-1 the part that S sums:  Q = (U'F + S) L^-1,
//   dH = (F L^-1 - U Q)/sqrt(N),  dmu = -sum(Q o L^-1)/2.
#include "launch.cuh"

namespace heterad::cuda {

constexpr int kFactorThreads = 128;  // threads

// 1/sqrt(N) over the real rows; 1 where none is real. Every thread of the block must come.
__device__ inline double rows_rsqrt(const bool* mask, int64_t n) {
  if (mask == nullptr) return 1 / sqrt(double(n > 0 ? n : 1));
  int count = 0;
  for (int64_t i = threadIdx.x % 32; i < n; i += 32) count += mask[i];
  for (int half = 16; half > 0; half /= 2) count += __shfl_xor_sync(kWarp, count, half);
  return 1 / sqrt(double(count > 0 ? count : 1));
}

template <typename T, int J>
__global__ void factor(const T* h, const T* mu, const bool* mask, T* u, T* li, int64_t n, int64_t j) {
  constexpr int kOwn = J * J / kFactorThreads, kChunk = 16;
  __shared__ double c[J][J + 1], rows[kChunk][J];
  const int64_t task = blockIdx.x;
  h += task * n * j, u += task * n * j, li += task * j * j;
  mask = mask ? mask + task * n : nullptr;
  const double scale = rows_rsqrt(mask, n), ridge = double(mu[task]);
  double own[kOwn] = {};  // entries threadIdx.x + k * kFactorThreads of C
  for (int64_t first = 0; first < n; first += kChunk) {
    __syncthreads();
    for (int e = threadIdx.x; e < kChunk * J; e += kFactorThreads) {
      const int64_t i = first + e / J;
      const bool there = i < n && e % J < j && (mask == nullptr || mask[i]);
      rows[e / J][e % J] = there ? double(h[i * j + e % J]) * scale : 0;
    }
    __syncthreads();
    for (int i = 0; i < kChunk; ++i)
#pragma unroll
      for (int k = 0; k < kOwn; ++k) {
        const int e = threadIdx.x + k * kFactorThreads;
        own[k] += rows[i][e / J] * rows[i][e % J];
      }
  }
#pragma unroll
  for (int k = 0; k < kOwn; ++k) {
    const int e = threadIdx.x + k * kFactorThreads;
    c[e / J][e % J] = own[k] + (e / J == e % J ? ridge : 0);
  }
  // Gauss elimination without a second matrix: after step k columns 0..k hold L^-1, the others what is left of C.
  for (int k = 0; k < j; ++k) {
    __syncthreads();
    const double pivot = c[k][k], s = 1 / sqrt(pivot < ridge ? ridge : pivot);  // exact ones are never below; NaN stays
#pragma unroll
    for (int m = 0; m < kOwn; ++m) {
      const int row = (threadIdx.x + m * kFactorThreads) / J, column = (threadIdx.x + m * kFactorThreads) % J;
      const double right = (column == k ? 1 : c[k][column]) * s, below = row > k ? c[row][k] * s : 0;
      own[m] = row == k ? (column <= k ? right : 0) : (column == k ? 0 : c[row][column]) - below * right;
    }
    __syncthreads();
#pragma unroll
    for (int m = 0; m < kOwn; ++m) c[(threadIdx.x + m * kFactorThreads) / J][(threadIdx.x + m * kFactorThreads) % J] = own[m];
  }
  __syncthreads();
  for (int64_t e = threadIdx.x; e < j * j; e += kFactorThreads) li[e] = T(c[e / j][e % j]);
  for (int64_t e = threadIdx.x; e < n * j; e += kFactorThreads) {
    const int64_t i = e / j;
    const int column = int(e % j);
    double sum = 0;
    if (mask == nullptr || mask[i])
      for (int k = 0; k < j; ++k) sum += double(h[i * j + k]) * c[column][k];
    u[e] = T(sum * scale);
  }
}

// f [splits, tasks, n, j] and s [splits, tasks, j, j] are summed over the splits, the former in place; t [tasks, tiles].
template <typename T, int J>
__global__ void factor_bwd(const T* u, const T* li, const bool* mask, T* f, const T* s, const double* t, T* grad_h,
                           T* grad_lam, T* grad_mu, int64_t n, int64_t j, int64_t splits, int64_t tiles) {
  constexpr int kOwn = J * J / kFactorThreads;
  __shared__ double q[J][J + 1], sums[kFactorThreads];
  const int64_t task = blockIdx.x, tasks = gridDim.x;
  u += task * n * j, f += task * n * j, grad_h += task * n * j, li += task * j * j, s += task * j * j, t += task * tiles;
  const double scale = rows_rsqrt(mask ? mask + task * n : nullptr, n);
  for (int64_t e = threadIdx.x; e < n * j; e += kFactorThreads) {
    double sum = 0;
    for (int64_t k = 0; k < splits; ++k) sum += double(f[k * tasks * n * j + e]);
    f[e] = T(sum);
  }
  __syncthreads();
  double own[kOwn] = {};
#pragma unroll
  for (int m = 0; m < kOwn; ++m) {
    const int row = (threadIdx.x + m * kFactorThreads) / J, column = (threadIdx.x + m * kFactorThreads) % J;
    if (row < j && column < j) {
      for (int64_t k = 0; k < splits; ++k) own[m] += double(s[k * tasks * j * j + row * j + column]);
      for (int64_t i = 0; i < n; ++i) own[m] += double(u[i * j + row]) * double(f[i * j + column]);
    }
    q[row][column] = own[m];
  }
  __syncthreads();
  double trace = 0;
#pragma unroll
  for (int m = 0; m < kOwn; ++m) {
    const int row = (threadIdx.x + m * kFactorThreads) / J, column = (threadIdx.x + m * kFactorThreads) % J;
    own[m] = 0;
    if (row < j && column < j) {
      for (int k = 0; k < j; ++k) own[m] += q[row][k] * double(li[k * j + column]);
      trace += own[m] * double(li[row * j + column]);
    }
  }
  __syncthreads();
#pragma unroll
  for (int m = 0; m < kOwn; ++m) q[(threadIdx.x + m * kFactorThreads) / J][(threadIdx.x + m * kFactorThreads) % J] = own[m];
  sums[threadIdx.x] = trace;
  for (int half = kFactorThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (int(threadIdx.x) < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) {
    double total = 0;
    for (int64_t k = 0; k < tiles; ++k) total += t[k];
    grad_mu[task] = T(sums[0] / -2);
    grad_lam[task] = T(total / 2);
  }
  for (int64_t e = threadIdx.x; e < n * j; e += kFactorThreads) {
    const int64_t i = e / j, column = e % j;
    double sum = 0;
    for (int k = 0; k < j; ++k)
      sum += double(f[i * j + k]) * double(li[k * j + column]) - double(u[i * j + k]) * q[k][column];
    grad_h[e] = T(sum * scale);
  }
}

}  // namespace heterad::cuda
