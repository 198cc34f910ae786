#pragma once
#include <cstdint>

#include "isa.h"

namespace heterad {

struct RidgeSolve {
  int64_t tasks, n, d, j;
  int threads;
};

}  // namespace heterad

// h, u [tasks, n, j], y [tasks, n, d], mu [tasks], mask [tasks, n] or null, w [tasks, d, j], li [tasks, j, j].
// Rows that are not real are neither read nor written.
// Returns the first task whose C is not numerically positive definite, or -1.
HETERAD_KERNEL(
  template <typename T>
  int64_t ridge_solve_fwd(const RidgeSolve& size, const T* h, const T* y, const T* mu, const bool* mask, T* w, T* u, T* li);
  template <typename T>
  void ridge_solve_bwd(const RidgeSolve& size, const T* grad_w, const T* y, const T* u, const T* li, const bool* mask,
                       T* grad_h, T* grad_y, T* grad_mu);
)
