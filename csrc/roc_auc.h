#pragma once
#include <cstdint>

#include "labels.h"

// auc[b] = share of (anomaly, normal) pairs of row b of scores [batch, n] that are in order, ties half, counted in
// integers; NaN where a class is empty or a real score is NaN. `mask` may be null. Returns the place of the first real
// label that is neither 0 nor 1, or -1.
//
// The same of one task for a caller who sorts: roc_auc_part writes the real scores of anomalies, then of normals, to
// `parted` [n] and how many to `sizes` [2], none where one is NaN; roc_auc_sorted counts.
HETERAD_KERNEL(
  template <typename T>
  int64_t roc_auc(const T* scores, Labels y, const bool* mask, double* auc, int64_t batch, int64_t n, int threads);
  template <typename T>
  int64_t roc_auc_part(const T* scores, Labels y, const bool* mask, T* parted, int64_t* sizes, int64_t n, int threads);
  template <typename T>
  double roc_auc_sorted(const T* pos, int64_t n_pos, const T* neg, int64_t n_neg, int threads);
)
