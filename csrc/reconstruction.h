#pragma once
#include <cstdint>

#include "isa.h"

namespace heterad {

struct Reconstruction {
  int64_t tasks, n, d, j;
  int threads;
};

}  // namespace heterad

// error [tasks, n] = ||x - h w'||^2 of x [tasks, n, d], h [tasks, n, j], w [tasks, d, j]; the residuals [tasks, n, d] are
// written where they have a place. Backward writes every gradient that is not null.
HETERAD_KERNEL(
  template <typename T>
  void reconstruction_fwd(const Reconstruction& size, const T* x, const T* h, const T* w, T* residual, T* error);
  template <typename T>
  void reconstruction_bwd(const Reconstruction& size, const T* grad, const T* residual, const T* h, const T* w, T* grad_x,
                          T* grad_h, T* grad_w);
)
