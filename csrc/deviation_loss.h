#pragma once
#include <cstdint>

#include "labels.h"

namespace heterad {

enum class Reduction { mean, sum, none };

struct DeviationLoss {
  double margin, mu, sigma;
  Reduction reduction;
};

}  // namespace heterad

// dev = (s - mu) / sigma; loss = |dev| where y is 0, max(0, margin - dev) where y is 1.
// fwd: `loss` is one number, or one per score for Reduction::none; returns the place of the first label that is neither
// 0 nor 1, or -1. bwd: `grad` likewise is one number or one per score.
HETERAD_KERNEL(
  template <typename T>
  int64_t deviation_loss_fwd(const T* s, Labels y, DeviationLoss f, T* loss, int64_t n, int threads);
  template <typename T>
  void deviation_loss_bwd(const T* s, Labels y, DeviationLoss f, const T* grad, T* grad_s, int64_t n, int threads);
)
