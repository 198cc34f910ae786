#pragma once
#include <cstdint>

// What the CPU and the CUDA kernels of smoothed_auc share.
namespace heterad {

// One side of every task: scores [batch, n], the mask or null, and where its gradients go or null.
template <typename T>
struct Scores {
  const T* x;
  const bool* mask;
  int64_t n;
  T* grad;
};

constexpr int kTerms = 3;  // of the far series: the next is below (kTerms + 1) exp(-kTerms * near)

// Of the cells' expansions: Chebyshev nodes, cells (one temperature wide) apart up to which they serve, and cells apart
// beyond which even a slope is below the smallest number. 8 nodes leave 1e-9, the far series then 6e-8.
template <typename T>
struct Precision {
  static constexpr int nodes = 8, near = 6, reach = 200;
};
template <>
struct Precision<double> {
  static constexpr int nodes = 16, near = 12, reach = 745;
};

}  // namespace heterad
