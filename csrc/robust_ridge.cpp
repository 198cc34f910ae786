// The columns d of a task never meet, so a block of them goes through all alternations in the first-level cache:
//   Y = X + A0;  then  R = K Y - X,  A = R - clip(R, lam/2),  Y = X + A.
// Backward runs a block forward again, keeping A of each alternation, then walks back:
//   dR = dA where A != 0;  dlam -= sum(sgn(A) dR)/2;  dX -= dR;  F_K += dR (U'Y)' + Y (U'dR)';  dA = K dR;  dX += dA.
// Where K is at hand, dK += dR Y' stands for F_K = (dK + dK') U.
#include "robust_ridge.h"

#include "ridge.h"

namespace heterad::HETERAD_ISA {
namespace {

template <typename T>
T clip(T r, T t) {
  return r > t ? t : (r < -t ? -t : r);
}

template <typename T>
void shrink(int64_t count, const T* p, const T* x, T half, T* a) {
  for (int64_t e = 0; e < count; ++e) {
    const T r = p[e] - x[e];
    a[e] = r - clip(r, half);
  }
}

// dr = g where a != 0, NaN where a is not finite; returns sum(sgn(a) dr)
template <typename T>
T unshrink(int64_t count, const T* a, const T* g, T* dr) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t e = 0; e < count; ++e) {
    const T r = a[e] == 0 ? T(0) : g[e] + (a[e] - a[e]);
    dr[e] = r;
    sum += a[e] > 0 ? r : -r;
  }
  return sum;
}

template <typename T>
void add(int64_t count, const T* x, const T* y, T* sum) {
  for (int64_t e = 0; e < count; ++e) sum[e] = x[e] + y[e];
}

template <typename T>
void subtract(int64_t count, const T* x, const T* y, T* difference) {
  for (int64_t e = 0; e < count; ++e) difference[e] = x[e] - y[e];
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
    T *x, *y, *p, *v, *tmp;
    Own(Arena& arena, const Forward& k) : work(arena, k.size.n, k.size.j, false) {
      T** tall[] = {&x, &y, &p};
      for (T** m : tall) *m = arena.take<T>(padded(k.size.n) * C);
      T** flat[] = {&v, &tmp};
      for (T** m : flat) *m = arena.take<T>(padded(k.size.j) * C);
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
    for (int64_t i = 0; i < n_iter; ++i) {
      add(count, own.x, own.p, own.y);
      t.project(own.y, cols, own.v, own.p);
      shrink(count, own.p, own.x, half, own.p);
    }
    scatter(own.p, C, t.rows, t.n, first, cols, a + at, d);
    t.weights(own.y, cols, own.v, own.tmp, w + (b * d + first) * j);
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
    T *x, *y, *p, *g, *dr, *yt, *v, *tmp, *b, *bt, *a, *vt;
    Own(Arena& arena, const Backward& k) : work(arena, k.size.n, k.size.j, true) {
      const int64_t rows = padded(k.size.n) * C, cols = padded(k.size.j) * C;
      T** tall[] = {&x, &y, &p, &g, &dr, &yt};
      for (T** m : tall) *m = arena.take<T>(rows);
      T** flat[] = {&v, &tmp, &b, &bt};
      for (T** m : flat) *m = arena.take<T>(cols);
      a = arena.take<T>((k.size.n_iter + 1) * rows);
      vt = arena.take<T>(k.size.n_iter * cols);
    }
  };

  void prepare(State& t, const Own&, int64_t b) const {
    const auto [tasks, n, d, j, n_iter, threads] = size;
    t.find_rows(mask ? mask + b * n : nullptr, n);
    t.pack(u + b * n * j, li + b * j * j);
  }

  void segment(State& t, const Own& own, int64_t b, int64_t s) const {
    const Columns<T> columns(size.d);
    const int64_t begin = columns.start(s);
    t.lam[s] = 0;
    fill(own.v, t.jp * C, T(0));
    for (int64_t block = begin; block < columns.start(s + 1); ++block) {
      replay(t, own, b, block * C);
      walk_back(t, own, b, block * C, t.fk.part(s), t.fw.part(s), t.lam[s], block == begin);
    }
  }

  // Forward again: leaves X in own.x, A of each alternation in own.a, (U'Y)' of each in own.vt
  void replay(const State& t, const Own& own, int64_t b, int64_t first) const {
    const auto [tasks, n, d, j, n_iter, threads] = size;
    const int64_t cols = d - first < C ? d - first : C, count = t.n * C, at = b * n * d, step = padded(n) * C;
    gather(x + at, d, t.rows, t.n, first, cols, own.x, C);
    gather(a0 + at, d, t.rows, t.n, first, cols, own.a, C);
    gather(a0 + at, d, t.rows, t.n, first, 0, own.y, C);
    fill(own.p, count, T(0));  // the columns past d stay 0: they would enter the sum for lam
    for (int64_t i = 0; i < n_iter; ++i) {
      add(count, own.x, own.a + i * step, own.y);
      t.project(own.y, cols, own.v, own.p);
      if (!t.hat) transpose(own.v, C, t.jp, C, own.vt + i * C * t.jp, t.jp);
      shrink(count, own.p, own.x, lam[b] / 2, own.a + (i + 1) * step);
    }
  }

  void walk_back(const State& t, const Own& own, int64_t b, int64_t first, T* fk, T* fw, double& sum, bool fresh) const {
    const auto [tasks, n, d, j, n_iter, threads] = size;
    const int64_t cols = d - first < C ? d - first : C, count = t.n * C, at = b * n * d, step = padded(n) * C;
    T* dx = own.p;
    fill(dx, count, T(0));
    if (grad_a) gather(grad_a + at, d, t.rows, t.n, first, cols, own.g, C);
    else fill(own.g, count, T(0));
    for (int64_t i = n_iter - 1; i >= 0; --i) {
      const bool last = i == n_iter - 1, onto = !(fresh && last);
      sum -= double(unshrink(count, own.a + (i + 1) * step, own.g, own.dr)) / 2;
      subtract(count, dx, own.dr, dx);
      add(count, own.x, own.a + i * step, own.y);
      t.project(own.dr, cols, own.v, own.g);
      if (t.hat) {
        transpose(own.y, C, t.ld, C, own.yt, t.ld);
        product<Left::by_block>(t.n, t.n, cols, own.dr, C, own.yt, t.ld, fk, t.ld, onto);
      } else {
        product<Left::by_block>(t.n, j, cols, own.dr, C, own.vt + i * C * t.jp, t.jp, fk, t.jp, onto);
        transpose(own.v, C, t.jp, C, own.bt, t.jp);
        product<Left::by_block>(t.n, j, cols, own.y, C, own.bt, t.jp, fk, t.jp, true);
      }
      if (last && grad_w) {
        t.weights_bwd(grad_w + (b * d + first) * j, cols, own.tmp, own.b, own.bt);
        product<Left::by_block>(t.n, j, cols, own.y, C, own.bt, t.jp, fw, t.jp, !fresh);
        product(t.n, cols, j, t.ut, t.ld, own.b, C, own.g, C, true);
      }
      add(count, dx, own.g, dx);
    }
    scatter(dx, C, t.rows, t.n, first, cols, grad_x + at, d);
    scatter(own.g, C, t.rows, t.n, first, cols, grad_a0 + at, d);
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
