#pragma once
// The two algorithms of CUB in use, on the CPU.
#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include <cuda_runtime.h>

namespace cub {

struct DeviceRadixSort {
  template <typename K, typename V>
  static void SortPairs(void* temporary, size_t& bytes, const K* keys, K* keys_out, const V* values, V* values_out, int64_t n,
                        int = 0, int = 0, cudaStream_t = nullptr) {
    bytes = 1;
    if (temporary == nullptr) return;
    std::vector<int64_t> order(n);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return keys[a] < keys[b]; });
    for (int64_t i = 0; i < n; ++i) keys_out[i] = keys[order[i]], values_out[i] = values[order[i]];
  }
};

struct DeviceScan {
  template <typename T, typename F>
  static void InclusiveScan(void* temporary, size_t& bytes, const T* in, T* out, F f, int64_t n, cudaStream_t = nullptr) {
    bytes = 1;
    if (temporary == nullptr) return;
    for (int64_t i = 0; i < n; ++i) out[i] = i ? f(out[i - 1], in[i]) : in[i];
  }
};

}  // namespace cub
