// The one file of heterad._cuda that sees pybind11. Arguments are device addresses, sizes, numbers and a stream's
// handle; the Python side has checked them, set the device and keeps the memory alive.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <stdexcept>

#include "cuda/robust_ridge.h"
#include "cuda/smoothed_auc.h"

namespace py = pybind11;

namespace {

template <typename T>
T* ptr(std::uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

using Sizes = std::array<int64_t, 5>;                      // tasks, n, d, j, n_iter
constexpr std::size_t kScratch = std::size_t(1) << 28;     // of robust_ridge's backward: more tasks are walked in chunks

void check(const char* op, const char* error) {
  if (error) throw std::runtime_error(std::string(op) + ": CUDA reports: " + error);
}

template <typename T>
heterad::cuda::RobustRidge<T> robust_ridge(const Sizes& s, uintptr_t x, uintptr_t h, uintptr_t a0, uintptr_t lam,
                                           uintptr_t mu, uintptr_t mask) {
  return {s[0], s[1], s[2], s[3], s[4], ptr<const T>(x), ptr<const T>(h), ptr<const T>(a0), ptr<const T>(lam),
          ptr<const T>(mu), ptr<const bool>(mask)};
}

// Calls `use` with a zero of the dtype, without the GIL.
template <typename F>
void of_dtype(bool f64, F use) {
  py::gil_scoped_release released;
  if (f64) use(double());
  else use(float());
}

}  // namespace

PYBIND11_MODULE(_cuda, m) {
  m.def("why_not", &heterad::cuda::why_not);
  m.def("smoothed_auc_workspace", [](bool f64, int64_t batch, int64_t p, int64_t q) {
    return f64 ? heterad::cuda::smoothed_auc_workspace<double>(batch, p, q)
               : heterad::cuda::smoothed_auc_workspace<float>(batch, p, q);
  });
  m.def("smoothed_auc", [](bool f64, uintptr_t pos, uintptr_t neg, uintptr_t pos_mask, uintptr_t neg_mask, int64_t batch, int64_t p,
                           int64_t q, double temperature, uintptr_t value, uintptr_t grad_pos, uintptr_t grad_neg,
                           uintptr_t workspace, uintptr_t stream) {
    of_dtype(f64, [&](auto zero) {
      using T = decltype(zero);
      const heterad::Scores<T> positive{ptr<const T>(pos), ptr<const bool>(pos_mask), p, ptr<T>(grad_pos)};
      const heterad::Scores<T> negative{ptr<const T>(neg), ptr<const bool>(neg_mask), q, ptr<T>(grad_neg)};
      check("smoothed_auc", heterad::cuda::smoothed_auc(positive, negative, temperature, ptr<T>(value), batch,
                                                        ptr<void>(workspace), ptr<void>(stream)));
    });
  });
  m.def("robust_ridge_most", &heterad::cuda::robust_ridge_most);
  m.def("robust_ridge_workspace", [](bool f64, const Sizes& sizes) {
    std::size_t bytes = 0;
    of_dtype(f64, [&](auto zero) {
      const auto ridge = robust_ridge<decltype(zero)>(sizes, 0, 0, 0, 0, 0, 0);
      bytes = heterad::cuda::robust_ridge_workspace(ridge, kScratch);
    });
    return bytes;
  });
  m.def("robust_ridge_fwd", [](bool f64, const Sizes& sizes, uintptr_t x, uintptr_t h, uintptr_t a0, uintptr_t lam,
                               uintptr_t mu, uintptr_t mask, uintptr_t w, uintptr_t a, uintptr_t u, uintptr_t li,
                               uintptr_t stream) {
    of_dtype(f64, [&](auto zero) {
      using T = decltype(zero);
      const auto ridge = robust_ridge<T>(sizes, x, h, a0, lam, mu, mask);
      check("robust_ridge", heterad::cuda::robust_ridge_fwd(ridge, ptr<T>(w), ptr<T>(a), ptr<T>(u), ptr<T>(li),
                                                            ptr<void>(stream)));
    });
  });
  m.def("robust_ridge_bwd", [](bool f64, const Sizes& sizes, uintptr_t x, uintptr_t a0, uintptr_t lam, uintptr_t mask,
                               uintptr_t u, uintptr_t li, uintptr_t grad_w, uintptr_t grad_a, uintptr_t grad_x,
                               uintptr_t grad_h, uintptr_t grad_a0, uintptr_t grad_lam, uintptr_t grad_mu,
                               uintptr_t workspace, uintptr_t stream) {
    of_dtype(f64, [&](auto zero) {
      using T = decltype(zero);
      const auto ridge = robust_ridge<T>(sizes, x, 0, a0, lam, 0, mask);
      const heterad::cuda::RobustRidgeGrads<T> grads{ptr<const T>(grad_w), ptr<const T>(grad_a), ptr<T>(grad_x),
                                                     ptr<T>(grad_h),       ptr<T>(grad_a0),      ptr<T>(grad_lam),
                                                     ptr<T>(grad_mu)};
      check("robust_ridge", heterad::cuda::robust_ridge_bwd(ridge, ptr<const T>(u), ptr<const T>(li), grads,
                                                            ptr<void>(workspace), kScratch, ptr<void>(stream)));
    });
  });
}
