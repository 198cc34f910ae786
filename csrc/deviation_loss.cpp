#include "deviation_loss.h"

#include <cmath>

namespace heterad::HETERAD_ISA {
namespace {

constexpr int64_t kChunk = 1 << 14;  // scores per partial sum: the result does not depend on the number of threads

template <typename T>
T dev_of(T s, const DeviationLoss& f) {
  return (s - T(f.mu)) / T(f.sigma);
}

// Both branches let NaN pass.
template <typename T>
T loss_of(T dev, bool anomaly, T margin) {
  const T gap = margin - dev;
  return anomaly ? (gap < 0 ? T(0) : gap) : std::abs(dev);
}

template <typename T>
T slope_of(T dev, bool anomaly, T margin) {
  const T normal = dev > 0 ? T(1) : (dev < 0 ? T(-1) : dev);
  return anomaly ? (margin - dev <= 0 ? T(0) : T(-1)) : normal;
}

template <typename T, typename View>
int64_t fwd(const T* s, View y, const DeviationLoss f, T* loss, int64_t n, int threads) {
  const int64_t chunks = (n + kChunk - 1) / kChunk;
  const T margin = T(f.margin);
  double* partial = new double[chunks];
  bool any_odd = false;
#pragma omp parallel for num_threads(team(threads)) if (chunks > 1) reduction(| : any_odd)
  for (int64_t c = 0; c < chunks; ++c) {
    const int64_t begin = c * kChunk, end = begin + kChunk < n ? begin + kChunk : n;
    double sum = 0;
    bool odd = false;
    if (f.reduction == Reduction::none) {
#pragma omp simd reduction(| : odd)
      for (int64_t i = begin; i < end; ++i) {
        loss[i] = loss_of(dev_of(s[i], f), y.anomaly(i), margin);
        odd |= y.odd(i);
      }
    } else {
#pragma omp simd reduction(+ : sum) reduction(| : odd)
      for (int64_t i = begin; i < end; ++i) {
        sum += loss_of(dev_of(s[i], f), y.anomaly(i), margin);
        odd |= y.odd(i);
      }
    }
    partial[c] = sum;
    any_odd |= odd;
  }
  double total = 0;
  for (int64_t c = 0; c < chunks; ++c) total += partial[c];
  delete[] partial;
  if (f.reduction != Reduction::none) *loss = T(f.reduction == Reduction::mean ? total / double(n) : total);
  if (any_odd)
    for (int64_t i = 0; i < n; ++i)
      if (y.odd(i)) return i;
  return -1;
}

template <typename T, typename View>
void bwd(const T* s, View y, const DeviationLoss f, const T* grad, T* grad_s, int64_t n, int threads) {
  const T margin = T(f.margin), inverse = T(1 / f.sigma);
  if (f.reduction == Reduction::none) {
#pragma omp parallel for simd num_threads(team(threads)) if (n > kChunk)
    for (int64_t i = 0; i < n; ++i) grad_s[i] = slope_of(dev_of(s[i], f), y.anomaly(i), margin) * (grad[i] * inverse);
    return;
  }
  const T g = T(*grad / f.sigma / (f.reduction == Reduction::mean ? double(n) : 1));
#pragma omp parallel for simd num_threads(team(threads)) if (n > kChunk)
  for (int64_t i = 0; i < n; ++i) grad_s[i] = slope_of(dev_of(s[i], f), y.anomaly(i), margin) * g;
}

}  // namespace

template <typename T>
int64_t deviation_loss_fwd(const T* s, Labels y, DeviationLoss f, T* loss, int64_t n, int threads) {
  return with_labels(y, [&](auto view) { return fwd(s, view, f, loss, n, threads); });
}

template <typename T>
void deviation_loss_bwd(const T* s, Labels y, DeviationLoss f, const T* grad, T* grad_s, int64_t n, int threads) {
  with_labels(y, [&](auto view) { bwd(s, view, f, grad, grad_s, n, threads); });
}

template int64_t deviation_loss_fwd(const float*, Labels, DeviationLoss, float*, int64_t, int);
template int64_t deviation_loss_fwd(const double*, Labels, DeviationLoss, double*, int64_t, int);
template void deviation_loss_bwd(const float*, Labels, DeviationLoss, const float*, float*, int64_t, int);
template void deviation_loss_bwd(const double*, Labels, DeviationLoss, const double*, double*, int64_t, int);

}  // namespace heterad::HETERAD_ISA
