// Adapting to support sets and scoring their queries, one call each way: for small tasks what surrounds the parts costs as
// much as they do. The parts are those of mlp.h, robust_ridge.h and reconstruction.h.
#include "episode.h"

#include <cmath>
#include <cstring>

#include "reconstruction.h"
#include "ridge_batch.h"
#include "robust_ridge.h"

namespace heterad::HETERAD_ISA {
namespace {

// Of each task's rows, the first and the others in places of their own; a single task's lie so already.
template <typename T>
struct Halves {
  T *first, *second;

  Halves(Arena& arena, const Episode& z, int64_t width) {
    const int64_t apart = z.tasks > 1 ? z.tasks : 0;
    first = arena.take<T>(apart * z.n * width);
    second = arena.take<T>(apart * z.m * width);
  }
  void of(const Episode& z, int64_t width, T* whole) {
    if (z.tasks == 1) return void((first = whole, second = whole + z.n * width));
    for (int64_t b = 0; b < z.tasks; ++b) {
      const T* from = whole + b * (z.n + z.m) * width;
      std::memcpy(first + b * z.n * width, from, z.n * width * sizeof(T));
      std::memcpy(second + b * z.m * width, from + z.n * width, z.m * width * sizeof(T));
    }
  }
  void into(const Episode& z, int64_t width, T* whole) const {
    if (z.tasks == 1) return;
    for (int64_t b = 0; b < z.tasks; ++b) {
      T* to = whole + b * (z.n + z.m) * width;
      std::memcpy(to, first + b * z.n * width, z.n * width * sizeof(T));
      std::memcpy(to + z.n * width, second + b * z.m * width, z.m * width * sizeof(T));
    }
  }
};

int64_t out_of(const Mlp& net) { return net.width[net.layers]; }

template <typename T>
struct Kept {
  Halves<T> rows, embedded;
  T *y, *pooled, *z, *e, *a0, *lam, *mu, *w, *a, *u, *li, *residual, *f, *g, *h, *v;

  Kept(Arena& arena, const Episode& s) : rows(arena, s, s.f.width[0]), embedded(arena, s, out_of(s.h)) {
    const int64_t d = s.f.width[0], j = out_of(s.h), wide = out_of(s.f), support = s.tasks * s.n;
    y = arena.take<T>(support * wide);
    pooled = arena.take<T>(s.tasks * wide);
    z = arena.take<T>(s.tasks * out_of(s.g));
    e = arena.take<T>(s.tasks * (s.n + s.m) * j);
    a0 = arena.take<T>(support * d);
    lam = arena.take<T>(s.tasks);
    mu = arena.take<T>(s.tasks);
    w = arena.take<T>(s.tasks * d * j);
    a = arena.take<T>(support * d);
    u = arena.take<T>(support * j);
    li = arena.take<T>(s.tasks * j * j);
    residual = arena.take<T>(s.tasks * s.m * d);
    T** hidden[] = {&f, &g, &h, &v};
    const Mlp* nets[] = {&s.f, &s.g, &s.h, &s.v};
    for (int i = 0; i < 4; ++i) *hidden[i] = arena.take<T>(nets[i]->hidden(nets[i]->layers));
  }
};

// The gradients that one call hands on to the next
template <typename T>
struct Passed {
  Halves<T> embedded;
  T *e, *w, *x, *a0, *lam, *mu, *z, *z_too, *pooled, *y;

  Passed(Arena& arena, const Episode& s) : embedded(arena, s, out_of(s.h)) {
    const int64_t d = s.f.width[0], j = out_of(s.h), wide = out_of(s.f), support = s.tasks * s.n;
    e = arena.take<T>(s.tasks * (s.n + s.m) * j);
    w = arena.take<T>(s.tasks * d * j);
    x = arena.take<T>(support * d);
    a0 = arena.take<T>(support * d);
    lam = arena.take<T>(s.tasks);
    mu = arena.take<T>(s.tasks);
    z = arena.take<T>(s.tasks * out_of(s.g));
    z_too = arena.take<T>(s.tasks * out_of(s.g));
    pooled = arena.take<T>(s.tasks * wide);
    y = arena.take<T>(support * wide);
  }
};

template <typename T>
T share(const Episode& s, const bool* mask, int64_t b) {
  int64_t real = s.n;
  if (mask)
    for (int64_t r = real = 0; r < s.n; ++r) real += mask[b * s.n + r];
  return s.mean && real > 1 ? T(1) / T(real) : T(1);
}

template <typename T>
void pool(const Episode& s, const T* y, const bool* mask, T* pooled) {
  const int64_t wide = out_of(s.f);
  for (int64_t b = 0; b < s.tasks; ++b) {
    const T scale = share<T>(s, mask, b);
    for (int64_t i = 0; i < wide; ++i) {
      double sum = 0;
      for (int64_t r = b * s.n; r < (b + 1) * s.n; ++r)
        if (!mask || mask[r]) sum += double(y[r * wide + i]);
      pooled[b * wide + i] = T(sum * double(scale));
    }
  }
}

template <typename T>
void pool_bwd(const Episode& s, const T* grad, const bool* mask, T* grad_y) {
  const int64_t wide = out_of(s.f);
  for (int64_t b = 0; b < s.tasks; ++b) {
    const T scale = share<T>(s, mask, b);
    for (int64_t r = b * s.n; r < (b + 1) * s.n; ++r)
      for (int64_t i = 0; i < wide; ++i) grad_y[r * wide + i] = !mask || mask[r] ? grad[b * wide + i] * scale : T(0);
  }
}

RobustRidge ridge_of(const Episode& s) { return {s.tasks, s.n, s.f.width[0], out_of(s.h), s.n_iter, s.threads}; }
Reconstruction reconstruction_of(const Episode& s) { return {s.tasks, s.m, s.f.width[0], out_of(s.h), s.threads}; }

template <typename T>
Kept<T> kept_at(const Episode& s, void* memory, const T* rows) {
  Arena arena{reinterpret_cast<uintptr_t>(memory)};
  Kept<T> kept(arena, s);
  if (s.tasks == 1) {  // what lies as it should is not copied
    kept.rows.of(s, s.f.width[0], const_cast<T*>(rows));
    kept.embedded.of(s, out_of(s.h), kept.e);
  }
  return kept;
}

}  // namespace

template <typename T>
int64_t episode_room(const Episode& s) {
  Arena arena;
  Kept<T>(arena, s);
  return arena.used;
}

template <typename T>
int64_t episode_fwd(const Episode& s, const Weights<const T>& weights, const T* rows, const bool* mask, void* memory, T* scores) {
  Kept<T> k = kept_at(s, memory, rows);
  if (s.tasks > 1) k.rows.of(s, s.f.width[0], const_cast<T*>(rows));
  mlp_fwd<T>(s.f, weights.f, k.rows.first, nullptr, k.f, k.y);
  pool(s, k.y, mask, k.pooled);
  mlp_fwd<T>(s.g, weights.g, k.pooled, nullptr, k.g, k.z);
  mlp_fwd<T>(s.h, weights.h, rows, k.z, k.h, k.e);
  mlp_fwd<T>(s.v, weights.v, k.rows.first, k.z, k.v, k.a0);
  if (s.tasks > 1) k.embedded.of(s, out_of(s.h), k.e);
  for (int64_t b = 0; b < s.tasks; ++b) {
    k.lam[b] = T(std::exp(double(*weights.log_lam)));
    k.mu[b] = T(std::exp(double(*weights.log_mu)));
  }
  if (mask) std::memset(k.u, 0, s.tasks * s.n * out_of(s.h) * sizeof(T));
  const int64_t failed = robust_ridge_fwd<T>(ridge_of(s), k.rows.first, k.embedded.first, k.a0, k.lam, k.mu, mask, k.w, k.a, k.u, k.li);
  reconstruction_fwd<T>(reconstruction_of(s), k.rows.second, k.embedded.second, k.w, k.residual, scores);
  return failed;
}

template <typename T>
void episode_bwd(const Episode& s, const Weights<const T>& weights, const T* rows, const bool* mask, void* memory,
                 const T* grad, const Weights<T>& grads) {
  const Kept<T> k = kept_at(s, memory, rows);
  const int64_t d = s.f.width[0], j = out_of(s.h), task = out_of(s.g);
  Arena count;
  Passed<T>(count, s);
  const Buffer buffer(count.used);
  Arena arena = buffer.arena();
  Passed<T> p(arena, s);
  if (s.tasks == 1) p.embedded.of(s, j, p.e);
  reconstruction_bwd<T>(reconstruction_of(s), grad, k.residual, k.embedded.second, k.w, nullptr, p.embedded.second, p.w);
  if (mask) {
    std::memset(p.embedded.first, 0, s.tasks * s.n * j * sizeof(T));
    std::memset(p.a0, 0, s.tasks * s.n * d * sizeof(T));
  }
  robust_ridge_bwd<T>(ridge_of(s), p.w, nullptr, k.rows.first, k.a0, k.lam, k.u, k.li, mask, p.x, p.embedded.first, p.a0, p.lam, p.mu);
  p.embedded.into(s, j, p.e);
  std::memset(p.z, 0, s.tasks * task * sizeof(T));
  std::memset(p.z_too, 0, s.tasks * task * sizeof(T));
  mlp_bwd<T>(s.h, weights.h, rows, k.z, k.h, p.e, grads.h, nullptr, p.z);
  mlp_bwd<T>(s.v, weights.v, k.rows.first, k.z, k.v, p.a0, grads.v, nullptr, p.z_too);
  for (int64_t i = 0; i < s.tasks * task; ++i) p.z[i] += p.z_too[i];
  mlp_bwd<T>(s.g, weights.g, k.pooled, nullptr, k.g, p.z, grads.g, p.pooled, nullptr);
  pool_bwd(s, p.pooled, mask, p.y);
  mlp_bwd<T>(s.f, weights.f, k.rows.first, nullptr, k.f, p.y, grads.f, nullptr, nullptr);
  double lam = 0, mu = 0;
  for (int64_t b = 0; b < s.tasks; ++b) {
    lam += double(p.lam[b]) * double(k.lam[b]);
    mu += double(p.mu[b]) * double(k.mu[b]);
  }
  *grads.log_lam = T(lam);
  *grads.log_mu = T(mu);
}

#define HETERAD_INSTANTIATE(T)                                                                                         \
  template int64_t episode_room<T>(const Episode&);                                                                    \
  template int64_t episode_fwd(const Episode&, const Weights<const T>&, const T*, const bool*, void*, T*);             \
  template void episode_bwd(const Episode&, const Weights<const T>&, const T*, const bool*, void*, const T*, const Weights<T>&);
HETERAD_INSTANTIATE(float)
HETERAD_INSTANTIATE(double)

}  // namespace heterad::HETERAD_ISA
