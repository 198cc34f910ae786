#pragma once
#include <cstdint>

#include "isa.h"

namespace heterad {

struct RobustRidge {
  int64_t tasks, n, d, j, n_iter;
  int threads;
};

}  // namespace heterad

// x, a0, a [tasks, n, d], h, u [tasks, n, j], lam, mu [tasks], mask [tasks, n] or null, w [tasks, d, j], li [tasks, j, j].
// Rows that are not real are neither read nor written. Null gradients of w or of a are zero.
// Returns the first task whose C is not numerically positive definite, or -1.
HETERAD_KERNEL(
  template <typename T>
  int64_t robust_ridge_fwd(const RobustRidge& size, const T* x, const T* h, const T* a0, const T* lam, const T* mu,
                           const bool* mask, T* w, T* a, T* u, T* li);
  template <typename T>
  void robust_ridge_bwd(const RobustRidge& size, const T* grad_w, const T* grad_a, const T* x, const T* a0, const T* lam,
                        const T* u, const T* li, const bool* mask, T* grad_x, T* grad_h, T* grad_a0, T* grad_lam, T* grad_mu);
)
