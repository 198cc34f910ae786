#pragma once
// The pair sum by brute force, with one exponential per score and one reciprocal per pair:
// z = exp(p) exp(-n), sigmoid = z / (1 + z), slope = z / (1 + z)^2. The caller centres the scores so that z is finite.
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "simd.h"

namespace heterad::HETERAD_ISA {
namespace {

constexpr int64_t kRows = 32;        // rows of a block: a column's sum over it stays in T
constexpr int64_t kColumns = 4096;   // columns of a block, at most: a row's sum over it stays in T
constexpr int64_t kParts = 64;       // parts of the columns that are shared out over threads, at most
template <typename T>
constexpr int64_t kColumnTile = 4 * Simd<T>::width;

// exp(x) for |x| < 700 to the last bits; x holds whole vectors
inline void exp_in_place(double* x, int64_t n) {
  using V = Simd<double>::vec;
  typedef int64_t I __attribute__((vector_size(kBytes)));
  constexpr double kLog2e = 1.4426950408889634, kLn2High = 0x1.62e42fefa38p-1, kLn2Low = 0x1.ef35793c7673p-45;
  constexpr double kShift = 0x1.8p52;  // adding it rounds to an integer, which lands in the lowest bits
  constexpr double kTaylor[] = {1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040,
                                1.0 / 720,       1.0 / 120,      1.0 / 24,      1.0 / 6,      1.0 / 2,     1.0};
  for (int64_t i = 0; i < n; i += Simd<double>::width) {
    const V v = load(x + i), t = v * kLog2e + kShift, k = t - kShift, r = (v - k * kLn2High) - k * kLn2Low;
    V p = r / 6227020800.0;
#pragma GCC unroll 12
    for (double c : kTaylor) p = (p + c) * r;
    p += 1.0;
    store(x + i, (V)((I)p + ((I)t << 52)));
  }
}

// 1 / x to the last bits, x from 1 to the widest product of exponentials
inline Simd<double>::vec reciprocal(Simd<double>::vec x) { return 1.0 / x; }
inline Simd<float>::vec reciprocal(Simd<float>::vec x) {
#if defined(__AVX512F__)
  const Simd<float>::vec r = _mm512_maskz_rcp14_ps(__mmask16(-1), x);
#elif defined(__AVX2__)
  const Simd<float>::vec r = _mm256_rcp_ps(x);
#else
  return 1.0f / x;
#endif
#if defined(__AVX2__)
  return r + r * (1.0f - x * r);
#endif
}

// One block of rows and columns: adds the slopes' sums to `row` and `col`, returns the sum of the sigmoids.
template <typename T, bool grad>
double pair_block(const T* a, int64_t rows, const T* b, int64_t cols, double* row, double* col) {
  using V = typename Simd<T>::vec;
  constexpr int64_t W = Simd<T>::width, C = kColumnTile<T> / W;
  V rows_sum[kRows];
  for (int64_t i = 0; i < rows; ++i) rows_sum[i] = V{};
  double total = 0;
  for (int64_t j = 0; j < cols; j += C * W) {
    V right[C], down[C];
#pragma GCC unroll 4
    for (int64_t v = 0; v < C; ++v) right[v] = load(b + j + v * W), down[v] = V{};
    V sigmoids{};
    for (int64_t i = 0; i < rows; ++i) {
      V across = rows_sum[i];
#pragma GCC unroll 4
      for (int64_t v = 0; v < C; ++v) {
        const V z = a[i] * right[v], r = reciprocal(T(1) + z), s = z * r;
        sigmoids += s;
        if constexpr (grad) {
          down[v] += s * r;
          across += s * r;
        }
      }
      rows_sum[i] = across;
    }
    total += sum_of<T>(sigmoids);
    if constexpr (grad)
      for (int64_t v = 0; v < C; ++v)
        for (int64_t l = 0; l < W; ++l) col[j + v * W + l] += double(down[v][l]);
  }
  if constexpr (grad)
    for (int64_t i = 0; i < rows; ++i) row[i] += sum_of<T>(rows_sum[i]);
  return total;
}

// Columns of a part: as many parts as there are columns for, whatever the threads
inline int64_t part_width(int64_t cols) {
  const int64_t width = (cols + kParts - 1) / kParts;
  return (width + 255) / 256 * 256;
}

// a [rows], b [cols]: the exponentials, zero where a score is not to count; cols fills whole tiles. `col` starts at zero,
// so does `rows_by_part` [parts, rows], whose sum over the parts is the rows'; null: the value only.
template <typename T>
double pair_sums(const T* a, int64_t rows, const T* b, int64_t cols, double* rows_by_part, double* col, int threads) {
  const int64_t width = part_width(cols), parts = (cols + width - 1) / width;
  double totals[kParts];
#pragma omp parallel for num_threads(team(threads)) if (threads > 1 && rows * cols > 1 << 16) schedule(static)
  for (int64_t part = 0; part < parts; ++part) {
    double total = 0;
    const int64_t end = (part + 1) * width < cols ? (part + 1) * width : cols;
    for (int64_t j = part * width; j < end; j += kColumns) {
      const int64_t wide = end - j < kColumns ? end - j : kColumns;
      for (int64_t i = 0; i < rows; i += kRows) {
        const int64_t high = rows - i < kRows ? rows - i : kRows;
        total += rows_by_part ? pair_block<T, true>(a + i, high, b + j, wide, rows_by_part + part * rows + i, col + j)
                              : pair_block<T, false>(a + i, high, b + j, wide, nullptr, nullptr);
      }
    }
    totals[part] = total;
  }
  double total = 0;
  for (int64_t part = 0; part < parts; ++part) total += totals[part];
  return total;
}

}  // namespace
}  // namespace heterad::HETERAD_ISA
