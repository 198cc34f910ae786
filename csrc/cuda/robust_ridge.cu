#include "cuda/robust_ridge.h"

#include "cuda/robust_ridge_kernels.cuh"

namespace heterad::cuda {
namespace {

#ifndef HETERAD_SUMS_BLOCKS
#define HETERAD_SUMS_BLOCKS 1024
#endif

// As many shares of the columns as give every multiprocessor blocks enough.
template <typename T>
int64_t splits_of(const RobustRidge<T>& r, int64_t tasks) {
  const int64_t most = ceil_div(r.d, int64_t(kSumsTile));
  const int64_t wanted = ceil_div(HETERAD_SUMS_BLOCKS, tasks * (r.n / kRows + 1));
  return wanted < most ? wanted : most > 0 ? most : 1;
}

template <typename T>
RobustRidge<T> part_of(RobustRidge<T> r, int64_t first, int64_t tasks) {
  r.tasks = tasks;
  r.x += first * r.n * r.d, r.a0 += first * r.n * r.d;
  r.lam += first;
  if (r.mask) r.mask += first * r.n;
  return r;
}

template <typename T, int J>
std::size_t bytes_of(RobustRidge<T> r, int64_t tasks) {
  Arena arena{nullptr};
  r.tasks = tasks;
  Tape<T>(arena, r, Shape<T, J>::kTile, splits_of(r, tasks));
  return arena.used;
}

// Tasks at a time: as many as the budget holds, one at least.
template <typename T, int J>
int64_t tasks_at_a_time(const RobustRidge<T>& r, std::size_t budget) {
  int64_t tasks = r.tasks;
  while (tasks > 1 && bytes_of<T, J>(r, tasks) > budget) tasks = (tasks + 1) / 2;
  return tasks;
}

template <typename T, int J>
struct Kernels {
  static constexpr int kTile = Shape<T, J>::kTile;

  static void fwd(const RobustRidge<T>& r, T* w, T* a, T* u, T* li, cudaStream_t stream) {
    launch_of(stream, r.tasks, kFactorThreads, factor<T, J>, r.h, r.mu, r.mask, u, li, r.n, r.j);
    Arena nothing{nullptr};
    const Tape<T> none(nothing, r, kTile, 1);
    launch_of(stream, r.tasks * none.tiles, kColumns, forward<T, J, false>, r, u, li, w, a, none);
  }

  static std::size_t workspace(const RobustRidge<T>& r, std::size_t budget) {
    return bytes_of<T, J>(r, tasks_at_a_time<T, J>(r, budget));
  }

  static void bwd(const RobustRidge<T>& ridge, const T* u, const T* li, RobustRidgeGrads<T> grads, void* workspace,
                  std::size_t budget, cudaStream_t stream) {
    const int64_t step = tasks_at_a_time<T, J>(ridge, budget), splits = splits_of(ridge, step);
    for (int64_t first = 0; first < ridge.tasks; first += step) {
      const auto r = part_of(ridge, first, ridge.tasks - first < step ? ridge.tasks - first : step);
      RobustRidgeGrads<T> g = grads;
      if (g.w) g.w += first * r.d * r.j;
      if (g.a) g.a += first * r.n * r.d;
      g.x += first * r.n * r.d, g.a0 += first * r.n * r.d, g.h += first * r.n * r.j, g.lam += first, g.mu += first;
      const T *some_u = u + first * r.n * r.j, *some_li = li + first * r.j * r.j;
      Arena arena{static_cast<char*>(workspace)};
      const Tape<T> tape(arena, r, kTile, splits);
      T* const none = nullptr;
      launch_of(stream, r.tasks * tape.tiles, kColumns, forward<T, J, true>, r, some_u, some_li, none, none, tape);
      launch_of(stream, r.tasks * tape.tiles, kColumns, chain<T, J>, r, some_u, some_li, g, tape);
      if (r.n <= Shape<T, J>::kFew) sums<Shape<T, J>::kFew>(r, some_u, some_li, g.a, tape, stream);
      else sums<Shape<T, J>::kMany>(r, some_u, some_li, g.a, tape, stream);
      launch_of(stream, r.tasks, kFactorThreads, factor_bwd<T, J>, some_u, some_li, r.mask, tape.f, tape.s, tape.t, g.h, g.lam,
                g.mu, r.n, r.j, tape.splits, tape.tiles);
    }
  }

  template <int ROWS>
  static void sums(const RobustRidge<T>& r, const T* u, const T* li, const T* grad_a, const Tape<T>& tape,
                   cudaStream_t stream) {
    const int64_t parts = ceil_div(r.n, int64_t(ROWS)) > 0 ? ceil_div(r.n, int64_t(ROWS)) : 1;
    launch_of(stream, r.tasks * tape.splits * parts, kSumsThreads, sum_factors<T, J, ROWS>, r, u, li, grad_a, tape);
  }
};

// Calls `use` with the kernels that hold j embeddings.
template <typename T, typename F>
auto with_kernels(int64_t j, F use) {
  if (j <= 32 || sizeof(T) == 8) return use(Kernels<T, 32>());
  return use(Kernels<T, sizeof(T) == 8 ? 32 : 64>());
}

}  // namespace

template <typename T>
const char* robust_ridge_fwd(const RobustRidge<T>& ridge, T* w, T* a, T* u, T* li, void* stream) {
  if (ridge.tasks == 0) return nullptr;
  with_kernels<T>(ridge.j, [&](auto k) { k.fwd(ridge, w, a, u, li, static_cast<cudaStream_t>(stream)); });
  return last_error();
}

template <typename T>
std::size_t robust_ridge_workspace(const RobustRidge<T>& ridge, std::size_t budget) {
  if (ridge.tasks == 0) return 0;
  return with_kernels<T>(ridge.j, [&](auto k) { return k.workspace(ridge, budget); });
}

template <typename T>
const char* robust_ridge_bwd(const RobustRidge<T>& ridge, const T* u, const T* li, const RobustRidgeGrads<T>& grads,
                             void* workspace, std::size_t budget, void* stream) {
  if (ridge.tasks == 0) return nullptr;
  with_kernels<T>(ridge.j, [&](auto k) {
    k.bwd(ridge, u, li, grads, workspace, budget, static_cast<cudaStream_t>(stream));
  });
  return last_error();
}

#define HETERAD_ROBUST_RIDGE(T)                                                                                      \
  template const char* robust_ridge_fwd(const RobustRidge<T>&, T*, T*, T*, T*, void*);                               \
  template std::size_t robust_ridge_workspace(const RobustRidge<T>&, std::size_t);                                   \
  template const char* robust_ridge_bwd(const RobustRidge<T>&, const T*, const T*, const RobustRidgeGrads<T>&, void*, \
                                        std::size_t, void*);
HETERAD_ROBUST_RIDGE(float)
HETERAD_ROBUST_RIDGE(double)

}  // namespace heterad::cuda
