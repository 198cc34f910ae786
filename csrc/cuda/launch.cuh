#pragma once
// Shared by all kernels: launching, and pieces of a workspace.
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace heterad::cuda {

constexpr unsigned kWarp = 0xffffffffu;

__host__ __device__ inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// CUDA refuses an empty grid: where there is nothing to do nothing is launched.
template <typename... P, typename... A>
void launch_of(cudaStream_t stream, int64_t blocks, int threads, void (*kernel)(P...), A... args) {
  if (blocks == 0) return;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(unsigned(blocks));
  config.blockDim = dim3(unsigned(threads));
  config.stream = stream;
  cudaLaunchKernelEx(&config, kernel, P(args)...);
}

// Hands out pieces of the workspace; from a null base it only measures.
struct Arena {
  char* base;
  std::size_t used = 0;

  template <typename T>
  T* take(int64_t n) {
    used = (used + 255) / 256 * 256;
    const std::size_t first = used;
    used += std::size_t(n) * sizeof(T);
    return base == nullptr ? nullptr : reinterpret_cast<T*>(base + first);
  }
};

inline const char* last_error() {
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace heterad::cuda
