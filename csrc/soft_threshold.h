#pragma once
#include <cstdint>

#include "isa.h"

// out = sgn(r) max(|r| - t, 0)
// grad_r = grad where |r| > t, else 0; returns d/dt = -sum(sgn(r) grad) over the same entries
HETERAD_KERNEL(
  template <typename T> void soft_threshold_fwd(const T* r, T t, T* out, int64_t n, int threads);
  template <typename T> double soft_threshold_bwd(const T* r, T t, const T* grad, T* grad_r, int64_t n, int threads);
)
