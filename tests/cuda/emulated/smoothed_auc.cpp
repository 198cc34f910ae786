// The kernels of csrc/cuda/smoothed_auc.cu as a plain library for ctypes. HETERAD_MOST_PAIRS moves the change of method.
#include <cstdlib>

#include "../../../csrc/cuda/smoothed_auc.cu"

template <typename T>
static const char* run(const T* pos, const T* neg, const bool* pos_mask, const bool* neg_mask, int64_t batch, int64_t p,
                       int64_t q, double temperature, T* value, T* grad_pos, T* grad_neg) {
  const size_t bytes = heterad::cuda::smoothed_auc_workspace<T>(batch, p, q);
  void* workspace = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(workspace, 0xff, bytes);  // what is read before it is written shows as NaN
  const char* error = heterad::cuda::smoothed_auc<T>({pos, pos_mask, p, grad_pos}, {neg, neg_mask, q, grad_neg},
                                                     temperature, value, batch, workspace, nullptr);
  std::free(workspace);
  return error;
}

extern "C" const char* smoothed_auc_f32(const float* pos, const float* neg, const bool* pm, const bool* nm, int64_t batch,
                                        int64_t p, int64_t q, double t, float* value, float* gp, float* gn) {
  return run(pos, neg, pm, nm, batch, p, q, t, value, gp, gn);
}
extern "C" const char* smoothed_auc_f64(const double* pos, const double* neg, const bool* pm, const bool* nm, int64_t batch,
                                        int64_t p, int64_t q, double t, double* value, double* gp, double* gn) {
  return run(pos, neg, pm, nm, batch, p, q, t, value, gp, gn);
}
