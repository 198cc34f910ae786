// The one file of heterad._cuda that sees pybind11. Arguments are device addresses, sizes, numbers and a stream's
// handle; the Python side has checked them, set the device and keeps the memory alive.
#include <pybind11/pybind11.h>

#include <stdexcept>

#include "cuda/smoothed_auc.h"

namespace py = pybind11;

namespace {

template <typename T>
T* ptr(std::uintptr_t address) {
  return reinterpret_cast<T*>(address);
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
    const auto run = [&](auto zero) {
      using T = decltype(zero);
      const heterad::Scores<T> positive{ptr<const T>(pos), ptr<const bool>(pos_mask), p, ptr<T>(grad_pos)};
      const heterad::Scores<T> negative{ptr<const T>(neg), ptr<const bool>(neg_mask), q, ptr<T>(grad_neg)};
      const char* error = heterad::cuda::smoothed_auc(positive, negative, temperature, ptr<T>(value), batch,
                                                      ptr<void>(workspace), ptr<void>(stream));
      if (error) throw std::runtime_error(std::string("smoothed_auc: CUDA reports: ") + error);
    };
    py::gil_scoped_release released;
    if (f64) run(double());
    else run(float());
  });
}
