// The columns d of a task never meet, so a block of them goes through all alternations in the first-level cache:
//   Y = X + A0;  then  R = K Y - X,  A = R - clip(R, lam/2),  Y = X + A.
// Backward runs a block forward again, keeping A of each alternation, then walks back:
//   dR = dA where A != 0;  dlam -= sum(sgn(A) dR)/2;  dX += dA - dR;  F_K += dR (U'Y)' + Y (U'dR)';  dA = K dR
// (of the last A-update dX lacks dA, before the first it gets dA).
// Where K is at hand, dK += dR Y' stands for F_K = (dK + dK') U.
#include "robust_ridge.h"

#include "ridge.h"

namespace heterad::HETERAD_ISA {
namespace {

template <typename T>
void add(int64_t count, const T* x, const T* y, T* sum) {
  for (int64_t e = 0; e < count; ++e) sum[e] = x[e] + y[e];
}

// a = A-update where K Y = p
template <typename T>
void shrink(int64_t count, const T* p, const T* x, T half, T* a) {
  for (int64_t e = 0; e < count; ++e) {
    const T r = p[e] - x[e];
    a[e] = r - clip(r, half);
  }
}

// The same, and y = x + a
template <typename T>
void shrink(int64_t count, const T* p, const T* x, T half, T* a, T* y) {
  for (int64_t e = 0; e < count; ++e) {
    const T r = p[e] - x[e], outside = r - clip(r, half);
    a[e] = outside;
    y[e] = x[e] + outside;
  }
}

// dr = g where a != 0, NaN where a is not finite; dx += g - dr; returns sum(sgn(a) dr), in parts
template <typename T>
double unshrink(int64_t count, const T* a, const T* g, T* dr, T* dx) {
  constexpr int64_t kPart = 16 * Simd<T>::block;
  double total = 0;
  for (int64_t begin = 0; begin < count; begin += kPart) {
    const int64_t end = begin + kPart < count ? begin + kPart : count;
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t e = begin; e < end; ++e) {
      const T r = a[e] == 0 ? T(0) : g[e] + (a[e] - a[e]);
      dr[e] = r;
      dx[e] += g[e] - r;
      sum += a[e] > 0 ? r : -r;
    }
    total += double(sum);
  }
  return total;
}

template <typename T>
struct Forward {
  static constexpr int64_t C = Simd<T>::block;
  RobustRidge size;
  const T *x, *h, *a0, *lam, *mu;
  const bool* mask;
  T *w, *a, *u, *li;
  int64_t* failed;  // a flag for each task

  struct State : Ridge<T> {
    State(Arena& arena, const Forward& k) : Ridge<T>(arena, k.size.n, k.size.j, true) {}
  };
  struct Own {
    Work work;
    T *x, *y, *p, *v;
    Own(Arena& arena, const Forward& k) : work(arena, k.size.n, k.size.j, false) {
      T** tall[] = {&x, &y, &p};
      for (T** m : tall) *m = arena.take<T>(padded(k.size.n) * C);
      v = arena.take<T>(padded(k.size.j) * C);
    }
  };

  void prepare(State& t, const Own& own, int64_t b) const {
    const auto [tasks, n, d, j, n_iter, threads] = size;
    t.find_rows(mask ? mask + b * n : nullptr, n);
    failed[b] = !factor(t, own.work, h + b * n * j, mu[b], u + b * n * j, li + b * j * j);
    t.pack(u + b * n * j, li + b * j * j);
  }

  void segment(State& t, const Own& own, int64_t b, int64_t s) const {
    const Columns<T> columns(size.d);
    for (int64_t block = columns.start(s); block < columns.start(s + 1); ++block) run_block(t, own, b, block * C);
  }

  void run_block(const State& t, const Own& own, int64_t b, int64_t first) const {
    const auto [tasks, n, d, j, n_iter, threads] = size;
    const int64_t cols = d - first < C ? d - first : C, count = t.n * C, at = b * n * d;
    const T half = lam[b] / 2;
    gather(x + at, d, t.rows, t.n, first, cols, own.x, C);
    gather(a0 + at, d, t.rows, t.n, first, cols, own.p, C);
    add(count, own.x, own.p, own.y);
    for (int64_t i = 1; i < n_iter; ++i) {
      t.project(own.y, cols, own.v, own.p);
      shrink(count, own.p, own.x, half, own.p, own.y);
    }
    t.weights(own.y, cols, own.v, w + (b * d + first) * j);
    t.project(own.y, cols, own.v, own.p);
    shrink(count, own.p, own.x, half, own.p);
    scatter(own.p, C, t.rows, t.n, first, cols, a + at, d);
  }

  void finish(State&, const Own&, int64_t) const {}
};

template <typename T>
struct Backward {
  static constexpr int64_t C = Simd<T>::block;
  RobustRidge size;
  const T *grad_w, *grad_a, *x, *a0, *lam, *u, *li;
  const bool* mask;
  T *grad_x, *grad_h, *grad_a0, *grad_lam, *grad_mu;

  struct State : Ridge<T> {
    Parts<T> fk, fw;
    double* lam;  // of each segment
    State(Arena& arena, const Backward& k) : Ridge<T>(arena, k.size.n, k.size.j, true) {
      const int64_t segments = Columns<T>(k.size.d).segments, n = k.size.n, jp = padded(k.size.j);
      const int64_t side = n < 2 * k.size.j ? n : 2 * k.size.j, dk = side * padded(side);
      fw = {nullptr, k.grad_w ? segments : 0, n * jp};
      fk = {nullptr, segments, dk > fw.stride ? dk : fw.stride};
      fw.first = arena.take<T>(fw.count * fw.stride);
      fk.first = arena.take<T>(fk.count * fk.stride);
      lam = arena.take<double>(segments);
    }
  };
  struct Own {
    Work work;
    T *x, *p, *g, *dr, *v, *vt, *tmp;
    T *a, *y, *flat;  // of each alternation: A; Y (with K only the latest); the right factor of F_K: (U'Y)', with K Y'
    Own(Arena& arena, const Backward& k) : work(arena, k.size.n, k.size.j, true) {
      const int64_t rows = padded(k.size.n) * C, cols = padded(k.size.j) * C;
      T** tall[] = {&x, &p, &g, &dr};
      for (T** m : tall) *m = arena.take<T>(rows);
      T** wide[] = {&v, &vt, &tmp};
      for (T** m : wide) *m = arena.take<T>(cols);
      a = arena.take<T>((k.size.n_iter + 1) * rows);
      y = arena.take<T>(k.size.n_iter * rows);
      flat = arena.take<T>(k.size.n_iter * (rows > cols ? rows : cols));
    }
  };

  void prepare(State& t, const Own&, int64_t b) const {
    const auto [tasks, n, d, j, n_iter, threads] = size;
    t.find_rows(mask ? mask + b * n : nullptr, n);
    t.pack(u + b * n * j, li + b * j * j);
  }

  void segment(State& t, const Own& own, int64_t b, int64_t s) const {
    const Columns<T> columns(size.d);
    t.lam[s] = 0;
    fill(t.fk.part(s), t.fk.stride, T(0));
    fill(own.v, t.jp * C, T(0));
    for (int64_t block = columns.start(s); block < columns.start(s + 1); ++block) {
      replay(t, own, b, block * C);
      walk_back(t, own, b, block * C, t.fk.part(s), t.fw.part(s), block > columns.start(s), t.lam[s]);
    }
  }

  // Alternations that gradients flow through: the last A-update counts only where A has a gradient.
  int64_t steps() const { return size.n_iter - (grad_a ? 0 : 1); }
  T* y_of(const State& t, const Own& own, int64_t i) const { return t.hat ? own.y : own.y + i * padded(size.n) * C; }

  void replay(const State& t, const Own& own, int64_t b, int64_t first) const {
    const auto [tasks, n, d, j, n_iter, threads] = size;
    const int64_t cols = d - first < C ? d - first : C, count = t.n * C, at = b * n * d, step = padded(n) * C;
    const T half = lam[b] / 2;
    gather(x + at, d, t.rows, t.n, first, cols, own.x, C);
    gather(a0 + at, d, t.rows, t.n, first, cols, own.a, C);
    fill(own.y + count, (t.ld - t.n) * C, T(0));
    fill(own.p, count, T(0));  // columns past the last are summed too
    add(count, own.x, own.a, own.y);
    for (int64_t i = 0; i < steps(); ++i) {
      T *y = y_of(t, own, i), *next = own.a + (i + 1) * step;
      t.project(y, cols, own.v, own.p);
      if (t.hat) transpose(y, C, t.ld, C, own.flat + i * C * t.ld, t.ld);
      else transpose(own.v, C, t.jp, C, own.flat + i * C * t.jp, t.jp);
      if (i + 1 < n_iter) shrink(count, own.p, own.x, half, next, y_of(t, own, i + 1));
      else shrink(count, own.p, own.x, half, next);
    }
  }

  void walk_back(const State& t, const Own& own, int64_t b, int64_t first, T* fk, T* fw, bool add_fw,
                 double& sum) const {
    const auto [tasks, n, d, j, n_iter, threads] = size;
    const int64_t cols = d - first < C ? d - first : C, count = t.n * C, at = b * n * d, step = padded(n) * C;
    T *dx = own.p, *g = own.g;
    if (grad_a) gather(grad_a + at, d, t.rows, t.n, first, cols, g, C);
    else fill(g, count, T(0));
    for (int64_t e = 0; e < count; ++e) dx[e] = -g[e];
    for (int64_t i = n_iter - 1; i >= 0; --i) {
      if (i < steps()) {
        sum -= unshrink(count, own.a + (i + 1) * step, g, own.dr, dx) / 2;
        t.project(own.dr, cols, own.v, g);
        if (t.hat) {
          product<Left::by_block>(t.n, t.n, cols, own.dr, C, own.flat + i * C * t.ld, t.ld, fk, t.ld, true);
        } else {
          product<Left::by_block>(t.n, j, cols, own.dr, C, own.flat + i * C * t.jp, t.jp, fk, t.jp, true);
          transpose(own.v, C, t.jp, C, own.vt, t.jp);
          product<Left::by_block>(t.n, j, cols, y_of(t, own, i), C, own.vt, t.jp, fk, t.jp, true);
        }
      }
      if (i == n_iter - 1 && grad_w) {
        const T* y = y_of(t, own, i);
        t.weights_bwd(grad_w + (b * d + first) * j, y, cols, own.tmp, own.vt, g, i < steps(), fw, add_fw);
      }
    }
    add(count, dx, g, dx);
    scatter(dx, C, t.rows, t.n, first, cols, grad_x + at, d);
    scatter(g, C, t.rows, t.n, first, cols, grad_a0 + at, d);
  }

  void finish(State& t, const Own& own, int64_t b) const {
    const int64_t segments = Columns<T>(size.d).segments;
    double sum = 0;
    for (int64_t s = 0; s < segments; ++s) sum += t.lam[s];
    grad_lam[b] = T(sum);
    grad_mu[b] = derivative(t, own.work, t.fk, t.fw, grad_h + b * size.n * size.j);
  }
};

// Below some 100,000 multiplications one thread is faster.
int useful(const RobustRidge& z) {
  const double side = double(z.n < 2 * z.j ? z.n : 2 * z.j);
  return double(z.tasks) * double(z.n_iter) * double(z.n) * double(z.d) * side < 1e5 ? 1 : team(z.threads);
}

}  // namespace

template <typename T>
int64_t robust_ridge_fwd(const RobustRidge& size, const T* x, const T* h, const T* a0, const T* lam, const T* mu,
                         const bool* mask, T* w, T* a, T* u, T* li) {
  const Buffer flags(size.tasks * int64_t(sizeof(int64_t)));
  auto* failed = static_cast<int64_t*>(flags.start);
  const Forward<T> kernel{size, x, h, a0, lam, mu, mask, w, a, u, li, failed};
  run(kernel, size.tasks, Columns<T>(size.d).segments, useful(size));
  for (int64_t b = 0; b < size.tasks; ++b)
    if (failed[b]) return b;
  return -1;
}

template <typename T>
void robust_ridge_bwd(const RobustRidge& size, const T* grad_w, const T* grad_a, const T* x, const T* a0, const T* lam,
                      const T* u, const T* li, const bool* mask, T* grad_x, T* grad_h, T* grad_a0, T* grad_lam, T* grad_mu) {
  const Backward<T> kernel{size, grad_w, grad_a, x, a0, lam, u, li, mask, grad_x, grad_h, grad_a0, grad_lam, grad_mu};
  run(kernel, size.tasks, Columns<T>(size.d).segments, useful(size));
}

#define HETERAD_INSTANTIATE(T)                                                                                          \
  template int64_t robust_ridge_fwd(const RobustRidge&, const T*, const T*, const T*, const T*, const T*, const bool*, \
                                    T*, T*, T*, T*);                                                                    \
  template void robust_ridge_bwd(const RobustRidge&, const T*, const T*, const T*, const T*, const T*, const T*,       \
                                 const T*, const bool*, T*, T*, T*, T*, T*);
HETERAD_INSTANTIATE(float)
HETERAD_INSTANTIATE(double)

}  // namespace heterad::HETERAD_ISA
