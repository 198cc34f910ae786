#pragma once
// Vectors of the instruction set at hand, small transposes and small products. For kernel sources only.
#include <cstdint>

namespace heterad::HETERAD_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kBytes = 64, kTile = 12;  // rows of a register tile two vectors wide: 24 sums of 32 registers
#elif defined(__AVX2__)
constexpr int kBytes = 32, kTile = 6;
#else
constexpr int kBytes = 16, kTile = 6;
#endif
constexpr int64_t kPad = kBytes / int64_t(sizeof(float));  // leading dimensions are multiples: whole vectors of any type

inline int64_t padded(int64_t n) { return (n + kPad - 1) / kPad * kPad; }

template <typename T>
T clip(T r, T t) {
  const T low = r < t ? r : t;  // two steps: one minimum, one maximum; NaN in either makes r - clip(r, t) NaN
  return low > -t ? low : -t;
}

template <typename T>
struct Simd {
  static constexpr int width = kBytes / int(sizeof(T));
  static constexpr int64_t block = 2 * width;  // columns of a block, the leading dimension of everything stored by block
  typedef T vec __attribute__((vector_size(kBytes)));
  typedef T memory __attribute__((vector_size(kBytes), aligned(sizeof(T)), may_alias));
};

template <typename T>
typename Simd<T>::vec load(const T* p) {
  return *reinterpret_cast<const typename Simd<T>::memory*>(p);
}

template <typename T>
void store(T* p, typename Simd<T>::vec v) {
  *reinterpret_cast<typename Simd<T>::memory*>(p) = v;
}

template <typename T>
double sum_of(typename Simd<T>::vec v) {
  double s = 0;
  for (int l = 0; l < Simd<T>::width; ++l) s += double(v[l]);
  return s;
}

template <typename T>
void fill(T* p, int64_t count, T value) {
  for (int64_t i = 0; i < count; ++i) p[i] = value;
}

// to [ld] = from [cols], then zeros
template <typename T, typename S>
void copy_row(const S* from, int64_t cols, T* to, int64_t ld) {
  if constexpr (sizeof(T) == sizeof(S)) {
    if (cols == ld) {
      for (int64_t i = 0; i < ld; i += Simd<T>::width) store(to + i, load(from + i));
      return;
    }
  }
  for (int64_t i = 0; i < cols; ++i) to[i] = T(from[i]);
  for (int64_t i = cols; i < ld; ++i) to[i] = T(0);
}

// to [rows, ld] = from [rows, cols], zeros to the right
template <typename T>
void pad(const T* from, int64_t ld_from, int64_t rows, int64_t cols, T* to, int64_t ld) {
  for (int64_t r = 0; r < rows; ++r) copy_row(from + r * ld_from, cols, to + r * ld, ld);
}

// (a0 b0 a1 b1 ...): of the lower halves, then of the upper
template <typename V, int W>
void interleave(V a, V b, V& low, V& high) {
  if constexpr (W == 16) {
    low = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    high = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  } else if constexpr (W == 8) {
    low = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    high = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  } else if constexpr (W == 4) {
    low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  } else {
    low = __builtin_shufflevector(a, b, 0, 2);
    high = __builtin_shufflevector(a, b, 1, 3);
  }
}

// dst [cols, rows] = src [rows, cols] transposed; whole vectors are read and written both ways
template <typename T>
void transpose(const T* src, int64_t ld_src, int64_t rows, int64_t cols, T* dst, int64_t ld_dst) {
  using V = typename Simd<T>::vec;
  constexpr int W = Simd<T>::width;
  for (int64_t i = 0; i < rows; i += W) {
    for (int64_t j = 0; j < cols; j += W) {
      V m[W], t[W];
#pragma GCC unroll 16
      for (int r = 0; r < W; ++r) m[r] = load(src + (i + r) * ld_src + j);
#pragma GCC unroll 4
      for (int span = 1; span < W; span *= 2) {
#pragma GCC unroll 8
        for (int r = 0; r < W / 2; ++r) interleave<V, W>(m[r], m[r + W / 2], t[2 * r], t[2 * r + 1]);
#pragma GCC unroll 16
        for (int r = 0; r < W; ++r) m[r] = t[r];
      }
#pragma GCC unroll 16
      for (int r = 0; r < W; ++r) store(dst + (j + r) * ld_dst + i, m[r]);
    }
  }
}

// How the left factor of a product lies: a[k * ld + r], a[r * ld + k], or a[r * block + k] (stored by block).
enum class Left { by_depth, by_row, by_block };

template <typename T, Left L>
int64_t place(int64_t r, int64_t k, int64_t ld) {
  return L == Left::by_depth ? k * ld + r : L == Left::by_row ? r * ld + k : r * Simd<T>::block + k;
}

template <typename T, Left L, int R, int C>
void tile(int64_t depth, const T* a, int64_t ld_a, const T* b, int64_t ld_b, T* c, int64_t ld_c, bool add) {
  using V = typename Simd<T>::vec;
  constexpr int W = Simd<T>::width;
  V sum[R][C] = {};
  if (add) {
    T* row = c;
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r, row += ld_c)
#pragma GCC unroll 2
      for (int v = 0; v < C; ++v) sum[r][v] = load(row + v * W);
  }
  for (int64_t k = 0; k < depth; ++k) {
    V right[C];
#pragma GCC unroll 2
    for (int v = 0; v < C; ++v) right[v] = load(b + k * ld_b + v * W);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const T left = a[place<T, L>(r, k, ld_a)];
#pragma GCC unroll 2
      for (int v = 0; v < C; ++v) sum[r][v] += left * right[v];
    }
  }
  __asm__("" : "+r"(c), "+r"(ld_c));  // or addresses of all rows are kept, spilled, through the loop
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r, c += ld_c)
#pragma GCC unroll 2
    for (int v = 0; v < C; ++v) store(c + v * W, sum[r][v]);
}

template <typename T, Left L, int R, int C>
void tile_of(int64_t rows, int64_t depth, const T* a, int64_t ld_a, const T* b, int64_t ld_b, T* c, int64_t ld_c,
             bool add) {
  if constexpr (R > 1) {
    if (rows < R) return tile_of<T, L, R - 1, C>(rows, depth, a, ld_a, b, ld_b, c, ld_c, add);
  }
  tile<T, L, R, C>(depth, a, ld_a, b, ld_b, c, ld_c, add);
}

// What of the right factor of a product is not zero: all of it, or of a triangular one b[k, i] with k <= i, or k >= i.
enum class Right { whole, upper, lower };

// c [rows, cols] (+)= a [rows, depth] b [depth, cols]; cols rounds up to whole vectors, in b and in c
template <Left L = Left::by_depth, Right R = Right::whole, typename T>
void product(int64_t rows, int64_t cols, int64_t depth, const T* a, int64_t ld_a, const T* b, int64_t ld_b, T* c,
             int64_t ld_c, bool add = false) {
  constexpr int W = Simd<T>::width;
  const int64_t tiles = (rows + kTile - 1) / kTile;
  for (int64_t j = 0; j < cols; j += 2 * W) {
    const int64_t first = R == Right::lower ? j : 0, last = R == Right::upper && j + 2 * W < depth ? j + 2 * W : depth;
    const T* right = b + first * ld_b + j;
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t r = rows * t / tiles, height = rows * (t + 1) / tiles - r;
      const T* left = a + place<T, L>(r, first, ld_a);
      T* out = c + r * ld_c + j;
      if (cols - j > W) tile_of<T, L, kTile, 2>(height, last - first, left, ld_a, right, ld_b, out, ld_c, add);
      else tile_of<T, L, kTile, 1>(height, last - first, left, ld_a, right, ld_b, out, ld_c, add);
    }
  }
}

}  // namespace
}  // namespace heterad::HETERAD_ISA
