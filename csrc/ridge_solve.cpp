#include "ridge_solve.h"

#include "ridge.h"

namespace heterad::HETERAD_ISA {
namespace {

template <typename T>
struct Forward {
  static constexpr int64_t C = Simd<T>::block;
  RidgeSolve size;
  const T *h, *y, *mu;
  const bool* mask;
  T *w, *u, *li;
  int64_t* failed;  // a flag for each task

  struct State : Ridge<T> {
    State(Arena& arena, const Forward& k) : Ridge<T>(arena, k.size.n, k.size.j, false) {}
  };
  struct Own {
    Work work;
    T *y, *tmp;
    Own(Arena& arena, const Forward& k) : work(arena, k.size.n, k.size.j, false) {
      y = arena.take<T>(padded(k.size.n) * C);
      tmp = arena.take<T>(padded(k.size.j) * C);
    }
  };

  void prepare(State& t, const Own& own, int64_t b) const {
    const auto [tasks, n, d, j, threads] = size;
    t.find_rows(mask ? mask + b * n : nullptr, n);
    failed[b] = !factor(t, own.work, h + b * n * j, mu[b], u + b * n * j, li + b * j * j);
    t.pack(u + b * n * j, li + b * j * j);
  }

  void segment(State& t, const Own& own, int64_t b, int64_t s) const {
    const auto [tasks, n, d, j, threads] = size;
    const Columns<T> columns(d);
    for (int64_t block = columns.start(s); block < columns.start(s + 1); ++block) {
      const int64_t first = block * C, cols = d - first < C ? d - first : C;
      gather(y + b * n * d, d, t.rows, t.n, first, cols, own.y, C);
      t.weights(own.y, cols, own.tmp, w + (b * d + first) * j);
    }
  }

  void finish(State&, const Own&, int64_t) const {}
};

template <typename T>
struct Backward {
  static constexpr int64_t C = Simd<T>::block;
  RidgeSolve size;
  const T *grad_w, *y, *u, *li;
  const bool* mask;
  T *grad_h, *grad_y, *grad_mu;

  struct State : Ridge<T> {
    Parts<T> fw;
    State(Arena& arena, const Backward& k) : Ridge<T>(arena, k.size.n, k.size.j, false) {
      fw.count = Columns<T>(k.size.d).segments;
      fw.stride = k.size.n * padded(k.size.j);
      fw.first = arena.take<T>(fw.count * fw.stride);
    }
  };
  struct Own {
    Work work;
    T *y, *g, *tmp, *tmp_t;
    Own(Arena& arena, const Backward& k) : work(arena, k.size.n, k.size.j, false) {
      y = arena.take<T>(padded(k.size.n) * C);
      g = arena.take<T>(padded(k.size.n) * C);
      tmp = arena.take<T>(padded(k.size.j) * C);
      tmp_t = arena.take<T>(padded(k.size.j) * C);
    }
  };

  void prepare(State& t, const Own&, int64_t b) const {
    t.find_rows(mask ? mask + b * size.n : nullptr, size.n);
    t.pack(u + b * size.n * size.j, li + b * size.j * size.j);
  }

  void segment(State& t, const Own& own, int64_t b, int64_t s) const {
    const auto [tasks, n, d, j, threads] = size;
    const Columns<T> columns(d);
    for (int64_t block = columns.start(s); block < columns.start(s + 1); ++block) {
      const int64_t first = block * C, cols = d - first < C ? d - first : C;
      gather(y + b * n * d, d, t.rows, t.n, first, cols, own.y, C);
      t.weights_bwd(grad_w + (b * d + first) * j, own.y, cols, own.tmp, own.tmp_t, own.g, false, t.fw.part(s), block > columns.start(s));
      scatter(own.g, C, t.rows, t.n, first, cols, grad_y + b * n * d, d);
    }
  }

  void finish(State& t, const Own& own, int64_t b) const {
    grad_mu[b] = derivative(t, own.work, Parts<T>{nullptr, 0, 0}, t.fw, grad_h + b * size.n * size.j);
  }
};

// Below some 100,000 multiplications one thread is faster.
int useful(const RidgeSolve& z) {
  return double(z.tasks) * double(z.n + z.j) * double(z.j) * double(z.j + z.d) < 1e5 ? 1 : team(z.threads);
}

}  // namespace

template <typename T>
int64_t ridge_solve_fwd(const RidgeSolve& size, const T* h, const T* y, const T* mu, const bool* mask, T* w, T* u, T* li) {
  const Buffer flags(size.tasks * int64_t(sizeof(int64_t)));
  auto* failed = static_cast<int64_t*>(flags.start);
  run(Forward<T>{size, h, y, mu, mask, w, u, li, failed}, size.tasks, Columns<T>(size.d).segments, useful(size));
  for (int64_t b = 0; b < size.tasks; ++b)
    if (failed[b]) return b;
  return -1;
}

template <typename T>
void ridge_solve_bwd(const RidgeSolve& size, const T* grad_w, const T* y, const T* u, const T* li, const bool* mask,
                     T* grad_h, T* grad_y, T* grad_mu) {
  const Backward<T> kernel{size, grad_w, y, u, li, mask, grad_h, grad_y, grad_mu};
  run(kernel, size.tasks, Columns<T>(size.d).segments, useful(size));
}

#define HETERAD_INSTANTIATE(T)                                                                                       \
  template int64_t ridge_solve_fwd(const RidgeSolve&, const T*, const T*, const T*, const bool*, T*, T*, T*);        \
  template void ridge_solve_bwd(const RidgeSolve&, const T*, const T*, const T*, const T*, const bool*, T*, T*, T*);
HETERAD_INSTANTIATE(float)
HETERAD_INSTANTIATE(double)

}  // namespace heterad::HETERAD_ISA
