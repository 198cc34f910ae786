#include "deviation_loss.h"

#include "simd.h"

namespace heterad::HETERAD_ISA {
namespace {

constexpr int64_t kChunk = 1 << 14;  // scores per partial sum: the result does not depend on the number of threads
constexpr int64_t kBlock = 256;      // labels widened at a time: loops over one width of numbers become vectors

// For V a number T or a vector of them. The divisions are the reference's, so that the kinks lie where its kinks lie.
template <typename T>
struct Scaled {
  T mu, sigma, margin;
  explicit Scaled(const DeviationLoss& f) : mu(T(f.mu)), sigma(T(f.sigma)), margin(T(f.margin)) {}

  template <typename V>
  V dev(V s) const { return (s - mu) / sigma; }
  template <typename V>
  V loss(V s, V anomaly) const {  // NaN passes on both sides
    const V zero{}, d = dev(s), gap = margin - d;
    return anomaly != 0 ? (gap < 0 ? zero : gap) : (d < 0 ? -d : d);
  }
  template <typename V>
  V slope(V s, V anomaly) const {  // times sigma
    const V zero{}, one = zero + 1, d = dev(s);
    const V pushed = margin - d > 0 ? -one : zero, pulled = d > 0 ? one : (d < 0 ? -one : zero);
    return d == d ? (anomaly != 0 ? pushed : pulled) : d;
  }
};

// body(i, zero) for the places of whole vectors with a vector, then for the rest with a number
template <typename T, typename Body>
void in_vectors(int64_t n, Body body) {
  constexpr int64_t W = Simd<T>::width;
  int64_t i = 0;
  for (; i + W <= n; i += W) body(i, typename Simd<T>::vec{});
  for (; i < n; ++i) body(i, T(0));
}

template <typename V, typename T>
V read(const T* p) {
  if constexpr (sizeof(V) == sizeof(T)) return *p;
  else return load(p);
}

template <typename T>
void write(T* p, T value) { *p = value; }
template <typename T>
void write(T* p, typename Simd<T>::vec value) { store(p, value); }

// Labels as numbers 0 and 1 of the scores' type.
template <typename T, typename U>
void widen(const LabelView<U>& y, int64_t begin, int64_t n, T* anomaly) {
  const U* const label = y.p + begin;
  const U one = y.one;
  for (int64_t i = 0; i < n; ++i) anomaly[i] = label[i] == one ? T(1) : T(0);
}

template <typename T, typename View>
int64_t fwd(const T* s, View y, const DeviationLoss f, T* loss, int64_t n, int threads) {
  const int64_t chunks = (n + kChunk - 1) / kChunk;
  const Scaled<T> scaled(f);
  double* partial = new double[chunks];
  bool any_odd = false;
#pragma omp parallel for num_threads(team(threads)) if (chunks > 1) reduction(| : any_odd)
  for (int64_t c = 0; c < chunks; ++c) {
    const int64_t end = (c + 1) * kChunk < n ? (c + 1) * kChunk : n;
    double sum = 0;
    for (int64_t begin = c * kChunk; begin < end; begin += kBlock) {
      const int64_t m = end - begin < kBlock ? end - begin : kBlock;
      T anomaly[kBlock];
      widen(y, begin, m, anomaly);
      any_odd |= y.any_odd(begin, m);
      if (f.reduction == Reduction::none) {
        in_vectors<T>(m, [&](int64_t i, auto zero) {
          using V = decltype(zero);
          write(loss + begin + i, scaled.loss(read<V>(s + begin + i), read<V>(anomaly + i)));
        });
      } else {
        typename Simd<T>::vec block{};
        T rest = 0;
        in_vectors<T>(m, [&](int64_t i, auto zero) {
          using V = decltype(zero);
          const V here = scaled.loss(read<V>(s + begin + i), read<V>(anomaly + i));
          if constexpr (sizeof(V) == sizeof(T)) rest += here;
          else block += here;
        });
        sum += sum_of<T>(block) + double(rest);
      }
    }
    partial[c] = sum;
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
  const Scaled<T> scaled(f);
  const T inverse = T(1 / f.sigma);
  const bool each = f.reduction == Reduction::none;
  const T same = each ? T(0) : T(*grad / f.sigma / (f.reduction == Reduction::mean ? n : 1));
#pragma omp parallel for num_threads(team(threads)) if (n > kChunk)
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t m = n - begin < kBlock ? n - begin : kBlock;
    T anomaly[kBlock];
    widen(y, begin, m, anomaly);
    in_vectors<T>(m, [&](int64_t i, auto zero) {
      using V = decltype(zero);
      const V slope = scaled.slope(read<V>(s + begin + i), read<V>(anomaly + i));
      const V weight = each ? V(read<V>(grad + begin + i) * inverse) : V(zero + same);
      write(grad_s + begin + i, V(slope * weight));
    });
  }
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
