#pragma once
#include <cstdint>

#include "labels.h"

// auc[b] = share of (anomaly, normal) pairs of row b of scores [batch, n] that are in order, ties half, counted in
// integers; NaN where a class is empty or a real score is NaN. `mask` may be null. Returns the place of the first real
// label that is neither 0 nor 1, or -1.
HETERAD_KERNEL(
  template <typename T>
  int64_t roc_auc(const T* scores, Labels y, const bool* mask, double* auc, int64_t batch, int64_t n, int threads);
)
