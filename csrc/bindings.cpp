// The one file that sees pybind11. Arguments are addresses, sizes and numbers; the Python side has checked them and
// keeps the memory alive. `f64` says which of the two types the addresses point to.
#include <pybind11/pybind11.h>

#include "deviation_loss.h"
#include "soft_threshold.h"

namespace py = pybind11;
using py::gil_scoped_release;

namespace {

template <typename T>
T* ptr(std::uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

}  // namespace

PYBIND11_MODULE(_C, m) {
  m.def("isa", &heterad::isa_name);

  m.def("soft_threshold_fwd", [](bool f64, uintptr_t r, double t, uintptr_t out, int64_t n, int threads) {
    gil_scoped_release released;
    if (f64) HETERAD_CALL(soft_threshold_fwd, ptr<const double>(r), t, ptr<double>(out), n, threads);
    else HETERAD_CALL(soft_threshold_fwd, ptr<const float>(r), float(t), ptr<float>(out), n, threads);
  });
  m.def("soft_threshold_bwd", [](bool f64, uintptr_t r, double t, uintptr_t grad, uintptr_t grad_r, int64_t n, int threads) {
    gil_scoped_release released;
    return f64 ? HETERAD_CALL(soft_threshold_bwd, ptr<const double>(r), t, ptr<const double>(grad), ptr<double>(grad_r), n, threads)
               : HETERAD_CALL(soft_threshold_bwd, ptr<const float>(r), float(t), ptr<const float>(grad), ptr<float>(grad_r), n, threads);
  });

  m.def("deviation_loss_fwd", [](bool f64, uintptr_t s, uintptr_t y, int width, uint64_t one, uint64_t sign, double margin,
                                 double mu, double sigma, int reduction, uintptr_t loss, int64_t n, int threads) {
    gil_scoped_release released;
    const heterad::Labels labels{ptr<const void>(y), width, one, sign};
    const heterad::DeviationLoss f{margin, mu, sigma, heterad::Reduction(reduction)};
    return f64 ? HETERAD_CALL(deviation_loss_fwd, ptr<const double>(s), labels, f, ptr<double>(loss), n, threads)
               : HETERAD_CALL(deviation_loss_fwd, ptr<const float>(s), labels, f, ptr<float>(loss), n, threads);
  });
  m.def("deviation_loss_bwd", [](bool f64, uintptr_t s, uintptr_t y, int width, uint64_t one, uint64_t sign, double margin,
                                 double mu, double sigma, int reduction, uintptr_t grad, uintptr_t grad_s, int64_t n, int threads) {
    gil_scoped_release released;
    const heterad::Labels labels{ptr<const void>(y), width, one, sign};
    const heterad::DeviationLoss f{margin, mu, sigma, heterad::Reduction(reduction)};
    if (f64) HETERAD_CALL(deviation_loss_bwd, ptr<const double>(s), labels, f, ptr<const double>(grad), ptr<double>(grad_s), n, threads);
    else HETERAD_CALL(deviation_loss_bwd, ptr<const float>(s), labels, f, ptr<const float>(grad), ptr<float>(grad_s), n, threads);
  });
}
