#pragma once
#include <cstddef>
#include <cstdint>

namespace heterad::cuda {

// x, a0 [tasks, n, d], h [tasks, n, j], lam, mu [tasks], mask [tasks, n] or null; all on the device, whole.
template <typename T>
struct RobustRidge {
  int64_t tasks, n, d, j, n_iter;
  const T *x, *h, *a0, *lam, *mu;
  const bool* mask;
};

// Of w [tasks, d, j] and a [tasks, n, d], a null being zero, and where those of the arguments go.
template <typename T>
struct RobustRidgeGrads {
  const T *w, *a;
  T *x, *h, *a0, *lam, *mu;
};

// The most embeddings (j) that the kernels hold in registers.
inline int64_t robust_ridge_most(bool f64) { return f64 ? 32 : 64; }

// What csrc/robust_ridge.h says, on the current device, all of it queued on `stream` (a cudaStream_t) without waiting;
// of a C that is not numerically positive definite nothing is said, and rows that are not real are 0 in what is written.
// `workspace` is device memory of robust_ridge_workspace<T>(...) bytes: `budget` at most, or what one task needs.
// Return an error's text, or null. backward reads neither h nor mu; u [tasks, n, j] and li [tasks, j, j] are forward's.
template <typename T>
const char* robust_ridge_fwd(const RobustRidge<T>& ridge, T* w, T* a, T* u, T* li, void* stream);

template <typename T>
std::size_t robust_ridge_workspace(const RobustRidge<T>& ridge, std::size_t budget);

template <typename T>
const char* robust_ridge_bwd(const RobustRidge<T>& ridge, const T* u, const T* li, const RobustRidgeGrads<T>& grads,
                             void* workspace, std::size_t budget, void* stream);

}  // namespace heterad::cuda
