#pragma once
// One task of ridge regression, C = H'H/N + mu I = L L', as the kernels of robust_ridge and ridge_solve share it.
//
// Everything is said in U = H L^-T / sqrt(N): the hat matrix is K = U U', and W = Y'M with M = U L^-1 / sqrt(N). Backward
// collects F, the gradient of U with L held, and then H and mu once, with no derivative of the factorisation:
//   Psi = sym(U'(F_K / 2 + F_W)),   dH = (F_K + F_W - 2 U Psi) L^-1 / sqrt(N),   dmu = -tr(L^-T Psi L^-1)
// (F_K from P = K Y, F_W from W). C is formed, factored and differentiated in double, whatever T is.
#include <cmath>

#include "ridge_batch.h"
#include "simd.h"

namespace heterad::HETERAD_ISA {
namespace {

// dst [padded(n), ld] = the named rows of src, columns from `first`, zero where src ends
template <typename T, typename S>
void gather(const S* src, int64_t ld_src, const int64_t* rows, int64_t n, int64_t first, int64_t cols, T* dst, int64_t ld) {
  for (int64_t r = 0; r < n; ++r) copy_row(src + rows[r] * ld_src + first, cols, dst + r * ld, ld);
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
  T *u, *li, *m;          // U [ld, jp], L^-1 [jp, jp], M = U L^-1 / sqrt(N) [ld, jp]: W = Y'M
  T *ut, *hat, *hat_room; // U' [jp, ld], K [n, ld], null unless `projects`; hat also where two products with U are cheaper

  Ridge(Arena& arena, int64_t most, int64_t j, bool projects) : j(j), jp(padded(j)), ut(nullptr), hat(nullptr) {
    rows = arena.take<int64_t>(most);
    T** tall[] = {&u, &m, &ut};
    for (int i = 0; i < (projects ? 3 : 2); ++i) *tall[i] = arena.take<T>(padded(most) * jp);
    li = arena.take<T>(jp * jp);
    const int64_t side = most < 2 * j ? most : 2 * j;
    hat_room = projects ? arena.take<T>(side * padded(side)) : nullptr;
  }

  void find_rows(const bool* mask, int64_t total) {
    n = 0;
    for (int64_t i = 0; i < total; ++i)
      if (!mask || mask[i]) rows[n++] = i;
    ld = padded(n);
  }

  void pack(const T* u_saved, const T* li_saved) {
    gather(u_saved, j, rows, n, 0, j, u, jp);
    pad(li_saved, j, j, j, li, jp);
    product<Left::by_row, Right::lower>(n, j, j, u, jp, li, jp, m, jp);
    const T scale = T(1 / std::sqrt(double(n > 0 ? n : 1)));
    for (int64_t i = 0; i < n * jp; ++i) m[i] *= scale;
    if (!ut) return;
    transpose(u, jp, ld, jp, ut, ld);
    hat = n <= 2 * j ? hat_room : nullptr;  // K costs 2 N N a column, U (U'y) 4 N J
    if (hat) product<Left::by_row>(n, n, j, u, jp, ut, ld, hat, ld);
  }

  // p = K y, for `cols` columns of a block; without K leaves U'y in v
  void project(const T* y, int64_t cols, T* v, T* p) const {
    if (hat) return product(n, cols, n, hat, ld, y, C, p, C);
    product(j, cols, n, u, jp, y, C, v, C);
    product(n, cols, j, ut, ld, v, C, p, C);
  }

  // w [cols, J] of the block of columns y
  void weights(const T* y, int64_t cols, T* tmp, T* w) const {
    if (j == jp) return product(cols, j, n, y, C, m, jp, w, j);
    product(cols, j, n, y, C, m, jp, tmp, jp);
    for (int64_t d = 0; d < cols; ++d)
      for (int64_t i = 0; i < j; ++i) w[d * j + i] = tmp[d * jp + i];
  }

  // g = M grad_w', the gradient of y;  e [n, jp] = y grad_w, from which derivative() takes that of M; or added to them
  void weights_bwd(const T* grad_w, const T* y, int64_t cols, T* tmp, T* tmp_t, T* g, bool add_g, T* e, bool add_e) const {
    if (j < jp || cols < C) {
      pad(grad_w, j, cols, j, tmp, jp);
      fill(tmp + cols * jp, (C - cols) * jp, T(0));
      grad_w = tmp;
    }
    transpose(grad_w, jp, C, jp, tmp_t, C);
    product<Left::by_block>(n, j, cols, y, C, grad_w, jp, e, jp, add_e);
    product<Left::by_row>(n, cols, j, m, jp, tmp_t, C, g, C, add_g);
  }
};

// Scratch in double for factor() and derivative()
struct Work {
  double *tall[4], *square[3], *wide, *hat[2];
  Work(Arena& arena, int64_t n, int64_t j, bool want_hat) {
    const int64_t ld = padded(n), jp = padded(j), side = want_hat ? n < 2 * j ? ld : padded(2 * j) : 0;
    for (double*& t : tall) t = arena.take<double>(ld * jp);
    for (double*& s : square) s = arena.take<double>(jp * jp);
    wide = arena.take<double>(jp * 2 * jp);
    for (double*& k : hat) k = arena.take<double>(side * side);
  }
};

// [C | I] -> [L' | L^-1] by elimination, rows of 2 jp; what lies below the diagonal of L' is not zeroed. Eight pivots
// at a time: their own rows one by one, the rows below by a product with minus [8, jp], in `minus`.
// False at a pivot that is not positive.
inline bool eliminate(double* c, int64_t j, int64_t jp, double* minus) {
  constexpr int W = Simd<double>::width;
  constexpr int64_t kPivots = 8;
  for (int64_t first = 0; first < j; first += kPivots) {
    const int64_t last = first + kPivots < j ? first + kPivots : j;
    for (int64_t k = first; k < last; ++k) {
      double* pivot = c + k * 2 * jp;
      if (!(pivot[k] > 0)) return false;
      const double inv = 1 / std::sqrt(pivot[k]);
      const int64_t begin = k / W * W, end = jp + k + 1;
      for (int64_t i = begin; i < end; i += W) store(pivot + i, load(pivot + i) * inv);
      for (int64_t r = k + 1; r < last; ++r) {
        double* row = c + r * 2 * jp;
        const double s = pivot[r];
        for (int64_t i = begin; i < end; i += W) store(row + i, load(row + i) - s * load(pivot + i));
      }
      for (int64_t i = begin; i < jp; i += W) store(minus + (k - first) * jp + i, -load(pivot + i));
    }
    product(j - last, jp, last - first, minus + last, jp, c + first * 2 * jp + last, 2 * jp, c + last * 2 * jp + last, 2 * jp, true);
  }
  return true;
}

// Writes u and li of a task. Data that is not finite gives NaN in both; false where C is not numerically positive.
template <typename T>
bool factor(const Ridge<T>& t, const Work& work, const T* h, T mu, T* u, T* li) {
  const int64_t n = t.n, j = t.j, jp = t.jp;
  const double rows = double(n > 0 ? n : 1), scale = 1 / std::sqrt(rows);
  double *hd = work.tall[0], *ud = work.tall[1], *c = work.wide, *upper = work.square[0];
  gather(h, j, t.rows, n, 0, j, hd, jp);
  product(j, j, n, hd, jp, hd, jp, c, 2 * jp);
  double trace = 0;
  for (int64_t i = 0; i < j; ++i) {
    double* row = c + i * 2 * jp;
    for (int64_t k = 0; k < j; ++k) row[k] /= rows;
    trace += row[i] += double(mu);
    fill(row + j, 2 * jp - j, 0.0);
    row[jp + i] = 1;
  }
  const bool finite = trace - trace == 0;
  if (!finite || !eliminate(c, j, jp, work.square[1])) {
    for (int64_t r = 0; r < n; ++r) fill(u + t.rows[r] * j, j, T(NAN));
    fill(li, j * j, T(NAN));
    return !finite;
  }
  for (int64_t i = 0; i < j; ++i)
    for (int64_t k = 0; k < j; ++k) li[i * j + k] = k <= i ? T(c[i * 2 * jp + jp + k]) : T(0);
  fill(c + j * 2 * jp, (jp - j) * 2 * jp, 0.0);
  transpose(c + jp, 2 * jp, jp, jp, upper, jp);
  product<Left::by_row, Right::upper>(n, j, j, hd, jp, upper, jp, ud, jp);
  for (int64_t r = 0; r < n; ++r)
    for (int64_t i = 0; i < j; ++i) u[t.rows[r] * j + i] = T(ud[r * jp + i] * scale);
  return true;
}

// A gradient in parts, one for each segment of columns; no part: zero.
template <typename T>
struct Parts {
  T* first;
  int64_t count, stride;
  T* part(int64_t s) const { return first + s * stride; }
  void add_up(int64_t size, double* sum) const {
    for (int64_t i = 0; i < size; ++i) sum[i] = count ? double(first[i]) : 0;
    for (int64_t p = 1; p < count; ++p)
      for (int64_t i = 0; i < size; ++i) sum[i] += double(first[p * stride + i]);
  }
};

// Writes grad_h, returns grad_mu, from F_K [n, jp] (or, where t.hat, dK [n, ld]) and E = Y grad_w [n, jp].
template <typename T>
T derivative(const Ridge<T>& t, const Work& work, const Parts<T>& from_k, const Parts<T>& from_w, T* grad_h) {
  const int64_t n = t.n, j = t.j, jp = t.jp, ld = t.ld, size = n * jp;
  const double scale = 1 / std::sqrt(double(n > 0 ? n : 1));
  double *ud = work.tall[0], *f = work.tall[1], *g = work.tall[2], *e = work.tall[3];
  double *psi = work.square[0], *li = work.square[1], *tmp = work.square[2];
  for (int64_t i = 0; i < size; ++i) ud[i] = double(t.u[i]);
  for (int64_t i = 0; i < jp * jp; ++i) li[i] = double(t.li[i]);
  if (from_w.count) {  // F_W = E L^-T / sqrt(N)
    from_w.add_up(size, e);
    for (int64_t i = 0; i < jp * jp; ++i) tmp[i] = li[i] * scale;
    transpose(tmp, jp, jp, jp, psi, jp);
    product<Left::by_row, Right::upper>(n, j, j, e, jp, psi, jp, f, jp);
  } else {
    fill(f, size, 0.0);
  }
  const double* half = f;  // F_K / 2 + F_W; f itself becomes F_K + F_W
  if (from_k.count) {
    if (t.hat) {
      double *dk = work.hat[0], *dkt = work.hat[1];
      from_k.add_up(n * ld, dk);
      fill(dk + n * ld, (ld - n) * ld, 0.0);
      transpose(dk, ld, ld, ld, dkt, ld);
      for (int64_t i = 0; i < n * ld; ++i) dk[i] += dkt[i];
      product(n, j, n, dk, ld, ud, jp, e, jp);
    } else {
      from_k.add_up(size, e);
    }
    for (int64_t i = 0; i < size; ++i) {
      g[i] = f[i] + e[i] / 2;
      f[i] += e[i];
    }
    half = g;
  }
  product(j, j, n, ud, jp, half, jp, tmp, jp);
  fill(tmp + j * jp, (jp - j) * jp, 0.0);
  transpose(tmp, jp, jp, jp, psi, jp);
  for (int64_t i = 0; i < j * jp; ++i) psi[i] = -(psi[i] + tmp[i]);
  product<Left::by_row, Right::lower>(j, j, j, psi, jp, li, jp, tmp, jp);
  Simd<double>::vec trace = {};
  for (int64_t i = 0; i < j; ++i)
    for (int64_t k = 0; k < j; k += Simd<double>::width) trace += load(tmp + i * jp + k) * load(li + i * jp + k);
  product<Left::by_row, Right::lower>(n, j, j, f, jp, li, jp, g, jp);
  product<Left::by_row>(n, j, j, ud, jp, tmp, jp, g, jp, true);
  for (int64_t r = 0; r < n; ++r)
    for (int64_t i = 0; i < j; ++i) grad_h[t.rows[r] * j + i] = T(g[r * jp + i] * scale);
  return T(sum_of<double>(trace) / 2);
}

}  // namespace
}  // namespace heterad::HETERAD_ISA
