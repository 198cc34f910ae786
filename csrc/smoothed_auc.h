#pragma once
#include <cstdint>

#include "isa.h"

namespace heterad {

// One side of every task: scores [batch, n], the mask or null, and where its gradients go or null.
template <typename T>
struct Scores {
  const T* x;
  const bool* mask;
  int64_t n;
  T* grad;
};

}  // namespace heterad

// value[b] = mean over the real pairs of sigmoid((pos_i - neg_j) / temperature) and, where asked for, its derivatives by
// every score. A task without a real pair gives 1/2 and zeros; NaN in a real score, or infinities of the same sign on
// both sides, give NaN everywhere in that task.
HETERAD_KERNEL(
  template <typename T>
  void smoothed_auc(Scores<T> pos, Scores<T> neg, double temperature, T* value, int64_t batch, int threads);
)
