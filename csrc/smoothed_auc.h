#pragma once
#include <cstdint>

#include "isa.h"
#include "scores.h"

// value[b] = mean over the real pairs of sigmoid((pos_i - neg_j) / temperature) and, where asked for, its derivatives by
// every score. A task without a real pair gives 1/2 and zeros; NaN in a real score, or infinities of the same sign on
// both sides, give NaN everywhere in that task.
HETERAD_KERNEL(
  template <typename T>
  void smoothed_auc(Scores<T> pos, Scores<T> neg, double temperature, T* value, int64_t batch, int threads);
)
