#pragma once
// One task of ridge regression, C = H'H/N + mu I = L L', as the kernels of robust_ridge and ridge_solve share it.
//
// Everything is said in U = H L^-T / sqrt(N): the hat matrix is K = U U', and W = (U'Y)' L^-1 / sqrt(N). Backward
// collects F, the gradient of U with L held, and then H and mu once, with no derivative of the factorisation:
//   Psi = sym(U'F_W) + U'F_K / 2,   dH = (F_K + F_W - 2 U Psi) L^-1 / sqrt(N),   dmu = -tr(L^-T Psi L^-1)
// (F_K from P = K Y, F_W from W). C is formed, factored and differentiated in double, whatever T is.
#include <cmath>

#include "ridge_batch.h"
#include "simd.h"

namespace heterad::HETERAD_ISA {
namespace {

template <typename T>
void fill(T* p, int64_t count, T value) {
  for (int64_t i = 0; i < count; ++i) p[i] = value;
}

// dst [padded(n), ld] = the named rows of src, columns from `first`, zero where src ends
template <typename T, typename S>
void gather(const S* src, int64_t ld_src, const int64_t* rows, int64_t n, int64_t first, int64_t cols, T* dst, int64_t ld) {
  for (int64_t r = 0; r < n; ++r) {
    const S* from = src + rows[r] * ld_src + first;
    for (int64_t i = 0; i < cols; ++i) dst[r * ld + i] = T(from[i]);
    for (int64_t i = cols; i < ld; ++i) dst[r * ld + i] = T(0);
  }
  fill(dst + n * ld, (padded(n) - n) * ld, T(0));
}

template <typename T, typename S>
void scatter(const S* src, int64_t ld, const int64_t* rows, int64_t n, int64_t first, int64_t cols, T* dst, int64_t ld_dst) {
  for (int64_t r = 0; r < n; ++r) {
    T* to = dst + rows[r] * ld_dst + first;
    for (int64_t i = 0; i < cols; ++i) to[i] = T(src[r * ld + i]);
  }
}

constexpr int64_t kSegments = 16;  // at most so many parts of a task's columns are shared out over threads

template <typename T>
struct Columns {
  int64_t blocks, segments;
  explicit Columns(int64_t d) : blocks((d + Simd<T>::block - 1) / Simd<T>::block), segments(blocks < kSegments ? blocks : kSegments) {}
  int64_t start(int64_t s) const { return blocks * s / segments; }
};

// A task as its saved tensors give it, packed: only real rows, leading dimensions padded.
template <typename T>
struct Ridge {
  static constexpr int64_t C = Simd<T>::block;
  int64_t n, ld, j, jp;   // real rows, padded; embedding, padded
  int64_t* rows;          // where the real rows lie
  T *u, *ut, *li, *lit;   // U [ld, jp], L^-1 [jp, jp], and their transposes
  T *hat, *hat_room;      // K [n, ld]; hat is null where two products with U are cheaper
  T scale;                // 1 / sqrt(n)

  Ridge(Arena& arena, int64_t most, int64_t j, bool want_hat) : j(j), jp(padded(j)) {
    rows = arena.take<int64_t>(most);
    u = arena.take<T>(padded(most) * jp);
    ut = arena.take<T>(jp * padded(most));
    li = arena.take<T>(jp * jp);
    lit = arena.take<T>(jp * jp);
    const int64_t side = most < 2 * j ? most : 2 * j;
    hat_room = want_hat ? arena.take<T>(side * padded(side)) : nullptr;
  }

  void find_rows(const bool* mask, int64_t total) {
    n = 0;
    for (int64_t i = 0; i < total; ++i)
      if (!mask || mask[i]) rows[n++] = i;
    ld = padded(n);
    scale = T(1 / std::sqrt(double(n > 0 ? n : 1)));
  }

  void pack(const T* u_saved, const T* li_saved) {
    gather(u_saved, j, rows, n, 0, j, u, jp);
    transpose(u, jp, ld, jp, ut, ld);
    for (int64_t i = 0; i < jp; ++i)
      for (int64_t k = 0; k < jp; ++k) li[i * jp + k] = i < j && k < j ? li_saved[i * j + k] : T(0);
    transpose(li, jp, jp, jp, lit, jp);
    hat = n <= 2 * j ? hat_room : nullptr;  // K costs 2 N N a column, U (U'y) 4 N J
    if (hat) product(n, n, j, ut, ld, ut, ld, hat, ld);
  }

  // p = K y, for `cols` columns of a block; without K leaves U'y in v
  void project(const T* y, int64_t cols, T* v, T* p) const {
    if (hat) return product(n, cols, n, hat, ld, y, C, p, C);
    product(j, cols, n, u, jp, y, C, v, C);
    product(n, cols, j, ut, ld, v, C, p, C);
  }

  // w [cols, J] of the block of columns y; leaves U'y in v
  void weights(const T* y, int64_t cols, T* v, T* tmp, T* w) const {
    product(j, cols, n, u, jp, y, C, v, C);
    product(cols, j, j, v, C, li, jp, tmp, jp);
    for (int64_t d = 0; d < cols; ++d)
      for (int64_t i = 0; i < j; ++i) w[d * j + i] = tmp[d * jp + i] * scale;
  }

  // b = L^-1 grad_w' / sqrt(N) [J, block] and its transpose bt [block, jp]: the gradient of Y is U b, that of U is Y bt
  void weights_bwd(const T* grad_w, int64_t cols, T* tmp, T* b, T* bt) const {
    for (int64_t d = 0; d < C; ++d)
      for (int64_t i = 0; i < jp; ++i) bt[d * jp + i] = d < cols && i < j ? grad_w[d * j + i] * scale : T(0);
    transpose(bt, jp, C, jp, tmp, C);
    product(j, C, j, lit, jp, tmp, C, b, C);
    fill(b + j * C, (jp - j) * C, T(0));
    transpose(b, C, jp, C, bt, jp);
  }
};

// Scratch in double for factor() and derivative()
struct Work {
  double *tall[3], *flat, *square[5], *hat[2];
  Work(Arena& arena, int64_t n, int64_t j, bool want_hat) {
    const int64_t ld = padded(n), jp = padded(j), side = want_hat ? n < 2 * j ? ld : padded(2 * j) : 0;
    for (double*& t : tall) t = arena.take<double>(ld * jp);
    flat = arena.take<double>(jp * ld);
    for (double*& s : square) s = arena.take<double>(jp * jp);
    for (double*& k : hat) k = arena.take<double>(side * side);
  }
};

// Upper R with R'R = g, in place; false at a pivot that is not positive.
inline bool cholesky(double* g, int64_t j, int64_t jp) {
  for (int64_t k = 0; k < j; ++k) {
    double* row = g + k * jp;
    if (!(row[k] > 0)) return false;
    const double inv = 1 / std::sqrt(row[k]);
    for (int64_t i = k; i < j; ++i) row[i] *= inv;
    for (int64_t r = k + 1; r < j; ++r) {
      double* next = g + r * jp;
      const double s = row[r];
      for (int64_t i = r; i < j; ++i) next[i] -= s * row[i];
    }
  }
  return true;
}

// Writes u and li of a task. Data that is not finite gives NaN in both; false where C is not numerically positive.
template <typename T>
bool factor(const Ridge<T>& t, const Work& work, const T* h, T mu, T* u, T* li) {
  const int64_t n = t.n, j = t.j, jp = t.jp;
  double *hd = work.tall[0], *ht = work.flat, *ud = work.tall[1];
  double *g = work.square[0], *lower = work.square[1], *upper = work.square[2];
  gather(h, j, t.rows, n, 0, j, hd, jp);
  product(j, j, n, hd, jp, hd, jp, g, jp);
  double trace = 0;
  for (int64_t i = 0; i < j; ++i) {
    for (int64_t k = 0; k < j; ++k) g[i * jp + k] /= double(n > 0 ? n : 1);
    g[i * jp + i] += double(mu);
    trace += g[i * jp + i];
  }
  const bool finite = trace - trace == 0, positive = finite && cholesky(g, j, jp);
  if (!positive) {
    const T nan = T(NAN);
    for (int64_t r = 0; r < n; ++r) fill(u + t.rows[r] * j, j, nan);
    fill(li, j * j, nan);
    return !finite;
  }
  fill(lower, jp * jp, 0.0);
  for (int64_t i = 0; i < j; ++i) {
    double* row = lower + i * jp;
    row[i] = 1;
    for (int64_t k = 0; k < i; ++k) {
      const double s = g[k * jp + i];
      for (int64_t c = 0; c <= k; ++c) row[c] -= s * lower[k * jp + c];
    }
    const double inv = 1 / g[i * jp + i];
    for (int64_t c = 0; c <= i; ++c) row[c] *= inv;
  }
  const double scale = 1 / std::sqrt(double(n > 0 ? n : 1));
  transpose(lower, jp, jp, jp, upper, jp);
  transpose(hd, jp, t.ld, jp, ht, t.ld);
  product(n, j, j, ht, t.ld, upper, jp, ud, jp);
  for (int64_t r = 0; r < n; ++r)
    for (int64_t i = 0; i < j; ++i) u[t.rows[r] * j + i] = T(ud[r * jp + i] * scale);
  for (int64_t i = 0; i < j; ++i)
    for (int64_t k = 0; k < j; ++k) li[i * j + k] = T(lower[i * jp + k]);
  return true;
}

// A gradient in parts, one for each segment of columns; no part: zero.
template <typename T>
struct Parts {
  T* first;
  int64_t count, stride;
  T* part(int64_t s) const { return first + s * stride; }
  void add_up(int64_t size, double* sum) const {
    fill(sum, size, 0.0);
    for (int64_t p = 0; p < count; ++p)
      for (int64_t i = 0; i < size; ++i) sum[i] += double(first[p * stride + i]);
  }
};

// Writes grad_h, returns grad_mu, from F_K [n, jp] (or, where t.hat, dK [n, ld]) and F_W [n, jp].
template <typename T>
T derivative(const Ridge<T>& t, const Work& work, const Parts<T>& fk, const Parts<T>& fw, T* grad_h) {
  const int64_t n = t.n, j = t.j, jp = t.jp, ld = t.ld, size = n * jp;
  double *ud = work.tall[0], *f = work.tall[1], *g = work.tall[2], *flat = work.flat;
  double *from_k = work.square[0], *from_w = work.square[1], *psi = work.square[2], *li = work.square[3], *q = work.square[4];
  for (int64_t i = 0; i < ld * jp; ++i) ud[i] = double(t.u[i]);
  for (int64_t i = 0; i < jp * jp; ++i) li[i] = double(t.li[i]);
  fill(f, ld * jp, 0.0);
  if (t.hat && fk.count) {
    double *dk = work.hat[0], *dkt = work.hat[1];
    fk.add_up(n * ld, dk);
    fill(dk + n * ld, (ld - n) * ld, 0.0);
    transpose(dk, ld, ld, ld, dkt, ld);
    for (int64_t i = 0; i < n * ld; ++i) dk[i] += dkt[i];
    product(n, j, n, dk, ld, ud, jp, f, jp);
  } else {
    fk.add_up(size, f);
  }
  fw.add_up(size, g);
  product(j, j, n, ud, jp, f, jp, from_k, jp);
  product(j, j, n, ud, jp, g, jp, from_w, jp);
  for (int64_t i = 0; i < size; ++i) f[i] += g[i];
  for (int64_t i = 0; i < j; ++i)
    for (int64_t k = 0; k < jp; ++k)
      psi[i * jp + k] = k < j ? (from_k[i * jp + k] + from_k[k * jp + i]) / 4 + (from_w[i * jp + k] + from_w[k * jp + i]) / 2 : 0;
  product(j, j, j, psi, jp, li, jp, q, jp);
  double trace = 0;
  for (int64_t i = 0; i < j; ++i)
    for (int64_t k = 0; k < j; ++k) trace += q[i * jp + k] * li[i * jp + k];
  for (int64_t i = 0; i < j * jp; ++i) psi[i] *= -2;
  transpose(ud, jp, ld, jp, flat, ld);
  product(n, j, j, flat, ld, psi, jp, f, jp, true);
  transpose(f, jp, ld, jp, flat, ld);
  product(n, j, j, flat, ld, li, jp, g, jp);
  const double scale = 1 / std::sqrt(double(n > 0 ? n : 1));
  for (int64_t r = 0; r < n; ++r)
    for (int64_t i = 0; i < j; ++i) grad_h[t.rows[r] * j + i] = T(g[r * jp + i] * scale);
  return T(-trace);
}

}  // namespace
}  // namespace heterad::HETERAD_ISA
