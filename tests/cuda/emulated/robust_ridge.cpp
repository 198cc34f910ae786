// The kernels of csrc/cuda/robust_ridge.cu as a plain library for ctypes.
#include <cstdlib>

#include "../../../csrc/cuda/robust_ridge.cu"

using heterad::cuda::RobustRidge;
using heterad::cuda::RobustRidgeGrads;

template <typename T>
static const char* run(int64_t tasks, int64_t n, int64_t d, int64_t j, int64_t n_iter, const T* x, const T* h, const T* a0,
                       const T* lam, const T* mu, const bool* mask, const T* grad_w, const T* grad_a, T* w, T* a, T* u,
                       T* li, T* grad_x, T* grad_h, T* grad_a0, T* grad_lam, T* grad_mu, size_t budget) {
  const RobustRidge<T> ridge{tasks, n, d, j, n_iter, x, h, a0, lam, mu, mask};
  if (const char* error = heterad::cuda::robust_ridge_fwd(ridge, w, a, u, li, nullptr)) return error;
  const size_t bytes = (heterad::cuda::robust_ridge_workspace(ridge, budget) + 255) / 256 * 256;
  constexpr size_t kGuard = 1 << 16;
  char* workspace = static_cast<char*>(std::aligned_alloc(256, bytes + kGuard));
  std::memset(workspace, 0xff, bytes + kGuard);  // what is read before it is written shows as NaN
  const char* error = heterad::cuda::robust_ridge_bwd<T>(
      ridge, u, li, {grad_w, grad_a, grad_x, grad_h, grad_a0, grad_lam, grad_mu}, workspace, budget, nullptr);
  for (size_t k = 0; k < kGuard; ++k)
    if (workspace[bytes + k] != char(0xff)) error = "written past the workspace";
  std::free(workspace);
  return error;
}

#define HETERAD_RUN(NAME, T)                                                                                              \
  extern "C" const char* NAME(int64_t tasks, int64_t n, int64_t d, int64_t j, int64_t n_iter, const T* x, const T* h,     \
                              const T* a0, const T* lam, const T* mu, const bool* mask, const T* grad_w, const T* grad_a, \
                              T* w, T* a, T* u, T* li, T* grad_x, T* grad_h, T* grad_a0, T* grad_lam, T* grad_mu,         \
                              size_t budget) {                                                                            \
    return run(tasks, n, d, j, n_iter, x, h, a0, lam, mu, mask, grad_w, grad_a, w, a, u, li, grad_x, grad_h, grad_a0,     \
               grad_lam, grad_mu, budget);                                                                                \
  }
HETERAD_RUN(robust_ridge_f32, float)
HETERAD_RUN(robust_ridge_f64, double)
