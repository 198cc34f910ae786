#include "soft_threshold.h"

#include <cmath>

#include "simd.h"

namespace heterad::HETERAD_ISA {
namespace {

constexpr int64_t kChunk = 1 << 14;  // entries per partial sum: the result does not depend on the number of threads

}  // namespace

template <typename T>
void soft_threshold_fwd(const T* r, T t, T* out, int64_t n, int threads) {
#pragma omp parallel for simd num_threads(team(threads)) if (n > kChunk)
  for (int64_t i = 0; i < n; ++i) out[i] = r[i] - clip(r[i], t);
}

template <typename T>
double soft_threshold_bwd(const T* r, T t, const T* grad, T* grad_r, int64_t n, int threads) {
  const int64_t chunks = (n + kChunk - 1) / kChunk;
  double* partial = new double[chunks];
#pragma omp parallel for num_threads(team(threads)) if (chunks > 1)
  for (int64_t c = 0; c < chunks; ++c) {
    const int64_t end = (c + 1) * kChunk < n ? (c + 1) * kChunk : n;
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = c * kChunk; i < end; ++i) {
      const T g = std::abs(r[i]) <= t ? T(0) : grad[i];  // NaN passes
      grad_r[i] = g;
      sum += r[i] > 0 ? g : -g;
    }
    partial[c] = sum;
  }
  double total = 0;
  for (int64_t c = 0; c < chunks; ++c) total += partial[c];
  delete[] partial;
  return -total;
}

template void soft_threshold_fwd(const float*, float, float*, int64_t, int);
template void soft_threshold_fwd(const double*, double, double*, int64_t, int);
template double soft_threshold_bwd(const float*, float, const float*, float*, int64_t, int);
template double soft_threshold_bwd(const double*, double, const double*, double*, int64_t, int);

}  // namespace heterad::HETERAD_ISA
