// The one file that sees pybind11. Arguments are addresses, sizes and numbers; the Python side has checked them and
// keeps the memory alive. `f64` says which of the two types the addresses point to.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <vector>

#include "deviation_loss.h"
#include "episode.h"
#include "mlp.h"
#include "reconstruction.h"
#include "ridge_solve.h"
#include "robust_ridge.h"
#include "roc_auc.h"
#include "smoothed_auc.h"
#include "soft_threshold.h"

namespace py = pybind11;
using py::gil_scoped_release;

namespace {

template <typename T>
T* ptr(std::uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

// Asks for huge pages, where the system gives them on request, for memory that nothing was written to yet: the first write
// to a page costs more than the results of some kernels. The advice outlives the tensor that it was given for.
void huge_pages(std::uintptr_t start, std::uintptr_t bytes) {
#if defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t page = 4096;
  const std::uintptr_t first = (start + page - 1) / page * page, last = (start + bytes) / page * page;
  if (last > first) madvise(ptr<void>(first), last - first, MADV_HUGEPAGE);
#endif
}

using Addresses = std::vector<std::uintptr_t>;

heterad::Mlp mlp_size(int64_t tasks, int64_t n, int64_t context, const std::vector<int64_t>& width, int threads) {
  heterad::Mlp size{tasks, n, context, int(width.size()) - 1, {}, threads};
  if (width.size() > heterad::kLayers + 1) throw py::value_error("too many layers");
  std::copy(width.begin(), width.end(), size.width);
  return size;
}

template <typename T>
heterad::Layers<T> mlp_layers(const Addresses& w, const Addresses& b, std::uintptr_t v) {
  heterad::Layers<T> layers{};
  for (std::size_t l = 0; l < w.size(); ++l) layers.w[l] = ptr<T>(w[l]), layers.b[l] = ptr<T>(b[l]);
  layers.v = ptr<T>(v);
  return layers;
}

using Widths = std::vector<std::vector<int64_t>>;  // of f, g, h and v, each from its input to its output

heterad::Episode episode_size(int64_t tasks, int64_t n, int64_t m, int64_t n_iter, bool mean, const Widths& width,
                              const Addresses& weights, int threads) {
  heterad::Episode size{tasks, n, m, n_iter, mean, {}, {}, {}, {}, threads};
  const int64_t rows[] = {n, 1, n + m, n};
  heterad::Mlp* nets[] = {&size.f, &size.g, &size.h, &size.v};
  std::size_t at = 0;
  for (int i = 0; i < 4; ++i) {
    *nets[i] = mlp_size(tasks, rows[i], weights[at] ? width[1].back() : 0, width[i], threads);
    at += 2 * width[i].size() - 1;
  }
  return size;
}

// addresses of the context's weight (or 0), then of weight and bias of each layer, of each network; of log lambda, log mu
template <typename T>
heterad::Weights<T> episode_weights(const heterad::Episode& size, const Addresses& address) {
  heterad::Weights<T> weights{};
  const heterad::Mlp* nets[] = {&size.f, &size.g, &size.h, &size.v};
  heterad::Layers<T>* layers[] = {&weights.f, &weights.g, &weights.h, &weights.v};
  auto next = address.begin();
  for (int i = 0; i < 4; ++i) {
    layers[i]->v = ptr<T>(*next++);
    for (int l = 0; l < nets[i]->layers; ++l) layers[i]->w[l] = ptr<T>(*next++), layers[i]->b[l] = ptr<T>(*next++);
  }
  weights.log_lam = ptr<T>(*next++);
  weights.log_mu = ptr<T>(*next);
  return weights;
}

}  // namespace

PYBIND11_MODULE(_C, m) {
  m.def("isa", &heterad::isa_name);
  m.def("huge_pages", &huge_pages);

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

  m.attr("mlp_layers") = int(heterad::kLayers);
  m.def("mlp_fwd", [](bool f64, int64_t tasks, int64_t n, int64_t context, const std::vector<int64_t>& width, const Addresses& w,
                      const Addresses& b, uintptr_t v, uintptr_t x, uintptr_t z, uintptr_t saved, uintptr_t out, int threads) {
    const heterad::Mlp size = mlp_size(tasks, n, context, width, threads);
    gil_scoped_release released;
    const auto run = [&](auto zero) {
      using T = decltype(zero);
      HETERAD_CALL(mlp_fwd, size, mlp_layers<const T>(w, b, v), ptr<const T>(x), ptr<const T>(z), ptr<T>(saved), ptr<T>(out));
    };
    f64 ? run(double()) : run(float());
  });
  m.def("mlp_bwd", [](bool f64, int64_t tasks, int64_t n, int64_t context, const std::vector<int64_t>& width, const Addresses& w,
                      const Addresses& b, uintptr_t v, uintptr_t x, uintptr_t z, uintptr_t saved, uintptr_t grad,
                      const Addresses& grad_w, const Addresses& grad_b, uintptr_t grad_v, uintptr_t grad_x, uintptr_t grad_z,
                      int threads) {
    const heterad::Mlp size = mlp_size(tasks, n, context, width, threads);
    gil_scoped_release released;
    const auto run = [&](auto zero) {
      using T = decltype(zero);
      HETERAD_CALL(mlp_bwd, size, mlp_layers<const T>(w, b, v), ptr<const T>(x), ptr<const T>(z), ptr<const T>(saved),
                   ptr<const T>(grad), mlp_layers<T>(grad_w, grad_b, grad_v), ptr<T>(grad_x), ptr<T>(grad_z));
    };
    f64 ? run(double()) : run(float());
  });

  m.def("episode_room", [](bool f64, int64_t tasks, int64_t n, int64_t m, int64_t n_iter, bool mean, const Widths& width,
                           const Addresses& weights, int threads) {
    const heterad::Episode size = episode_size(tasks, n, m, n_iter, mean, width, weights, threads);
    return f64 ? HETERAD_CALL(episode_room<double>, size) : HETERAD_CALL(episode_room<float>, size);
  });
  m.def("episode_fwd", [](bool f64, int64_t tasks, int64_t n, int64_t m, int64_t n_iter, bool mean, const Widths& width,
                          const Addresses& weights, int threads, uintptr_t rows, uintptr_t mask, uintptr_t kept,
                          uintptr_t scores) {
    const heterad::Episode size = episode_size(tasks, n, m, n_iter, mean, width, weights, threads);
    gil_scoped_release released;
    const auto run = [&](auto zero) {
      using T = decltype(zero);
      return HETERAD_CALL(episode_fwd, size, episode_weights<const T>(size, weights), ptr<const T>(rows), ptr<const bool>(mask),
                          ptr<void>(kept), ptr<T>(scores));
    };
    return f64 ? run(double()) : run(float());
  });
  m.def("episode_bwd", [](bool f64, int64_t tasks, int64_t n, int64_t m, int64_t n_iter, bool mean, const Widths& width,
                          const Addresses& weights, int threads, uintptr_t rows, uintptr_t mask, uintptr_t kept, uintptr_t grad,
                          const Addresses& grads) {
    const heterad::Episode size = episode_size(tasks, n, m, n_iter, mean, width, weights, threads);
    gil_scoped_release released;
    const auto run = [&](auto zero) {
      using T = decltype(zero);
      HETERAD_CALL(episode_bwd, size, episode_weights<const T>(size, weights), ptr<const T>(rows), ptr<const bool>(mask),
                   ptr<void>(kept), ptr<const T>(grad), episode_weights<T>(size, grads));
    };
    f64 ? run(double()) : run(float());
  });

  m.def("reconstruction_fwd", [](bool f64, int64_t tasks, int64_t n, int64_t d, int64_t j, uintptr_t x, uintptr_t h, uintptr_t w,
                                 uintptr_t residual, uintptr_t error, int threads) {
    gil_scoped_release released;
    const heterad::Reconstruction size{tasks, n, d, j, threads};
    const auto run = [&](auto zero) {
      using T = decltype(zero);
      HETERAD_CALL(reconstruction_fwd, size, ptr<const T>(x), ptr<const T>(h), ptr<const T>(w), ptr<T>(residual), ptr<T>(error));
    };
    f64 ? run(double()) : run(float());
  });
  m.def("reconstruction_bwd", [](bool f64, int64_t tasks, int64_t n, int64_t d, int64_t j, uintptr_t grad, uintptr_t residual,
                                 uintptr_t h, uintptr_t w, uintptr_t grad_x, uintptr_t grad_h, uintptr_t grad_w, int threads) {
    gil_scoped_release released;
    const heterad::Reconstruction size{tasks, n, d, j, threads};
    const auto run = [&](auto zero) {
      using T = decltype(zero);
      HETERAD_CALL(reconstruction_bwd, size, ptr<const T>(grad), ptr<const T>(residual), ptr<const T>(h), ptr<const T>(w),
                   ptr<T>(grad_x), ptr<T>(grad_h), ptr<T>(grad_w));
    };
    f64 ? run(double()) : run(float());
  });

  m.def("ridge_solve_fwd", [](bool f64, uintptr_t h, uintptr_t y, uintptr_t mu, uintptr_t mask, uintptr_t w, uintptr_t u,
                              uintptr_t li, int64_t tasks, int64_t n, int64_t d, int64_t j, int threads) {
    gil_scoped_release released;
    const heterad::RidgeSolve size{tasks, n, d, j, threads};
    const auto run = [&](auto t) {
      using T = decltype(t);
      return HETERAD_CALL(ridge_solve_fwd, size, ptr<const T>(h), ptr<const T>(y), ptr<const T>(mu), ptr<const bool>(mask),
                          ptr<T>(w), ptr<T>(u), ptr<T>(li));
    };
    return f64 ? run(double()) : run(float());
  });
  m.def("ridge_solve_bwd", [](bool f64, uintptr_t grad_w, uintptr_t y, uintptr_t u, uintptr_t li, uintptr_t mask,
                              uintptr_t grad_h, uintptr_t grad_y, uintptr_t grad_mu, int64_t tasks, int64_t n, int64_t d,
                              int64_t j, int threads) {
    gil_scoped_release released;
    const heterad::RidgeSolve size{tasks, n, d, j, threads};
    const auto run = [&](auto t) {
      using T = decltype(t);
      HETERAD_CALL(ridge_solve_bwd, size, ptr<const T>(grad_w), ptr<const T>(y), ptr<const T>(u), ptr<const T>(li),
                   ptr<const bool>(mask), ptr<T>(grad_h), ptr<T>(grad_y), ptr<T>(grad_mu));
    };
    f64 ? run(double()) : run(float());
  });

  m.def("robust_ridge_fwd", [](bool f64, uintptr_t x, uintptr_t h, uintptr_t a0, uintptr_t lam, uintptr_t mu, uintptr_t mask,
                               uintptr_t w, uintptr_t a, uintptr_t u, uintptr_t li, int64_t tasks, int64_t n, int64_t d,
                               int64_t j, int64_t n_iter, int threads) {
    gil_scoped_release released;
    const heterad::RobustRidge size{tasks, n, d, j, n_iter, threads};
    const auto run = [&](auto t) {
      using T = decltype(t);
      return HETERAD_CALL(robust_ridge_fwd, size, ptr<const T>(x), ptr<const T>(h), ptr<const T>(a0), ptr<const T>(lam),
                          ptr<const T>(mu), ptr<const bool>(mask), ptr<T>(w), ptr<T>(a), ptr<T>(u), ptr<T>(li));
    };
    return f64 ? run(double()) : run(float());
  });
  m.def("robust_ridge_bwd", [](bool f64, uintptr_t grad_w, uintptr_t grad_a, uintptr_t x, uintptr_t a0, uintptr_t lam,
                               uintptr_t u, uintptr_t li, uintptr_t mask, uintptr_t grad_x, uintptr_t grad_h, uintptr_t grad_a0,
                               uintptr_t grad_lam, uintptr_t grad_mu, int64_t tasks, int64_t n, int64_t d, int64_t j,
                               int64_t n_iter, int threads) {
    gil_scoped_release released;
    const heterad::RobustRidge size{tasks, n, d, j, n_iter, threads};
    const auto run = [&](auto t) {
      using T = decltype(t);
      HETERAD_CALL(robust_ridge_bwd, size, ptr<const T>(grad_w), ptr<const T>(grad_a), ptr<const T>(x), ptr<const T>(a0),
                   ptr<const T>(lam), ptr<const T>(u), ptr<const T>(li), ptr<const bool>(mask), ptr<T>(grad_x), ptr<T>(grad_h),
                   ptr<T>(grad_a0), ptr<T>(grad_lam), ptr<T>(grad_mu));
    };
    f64 ? run(double()) : run(float());
  });

  m.def("roc_auc", [](bool f64, uintptr_t s, uintptr_t y, int width, uint64_t one, uint64_t sign, uintptr_t mask,
                      uintptr_t auc, int64_t batch, int64_t n, int threads) {
    gil_scoped_release released;
    const heterad::Labels labels{ptr<const void>(y), width, one, sign};
    return f64 ? HETERAD_CALL(roc_auc, ptr<const double>(s), labels, ptr<const bool>(mask), ptr<double>(auc), batch, n, threads)
               : HETERAD_CALL(roc_auc, ptr<const float>(s), labels, ptr<const bool>(mask), ptr<double>(auc), batch, n, threads);
  });
  m.def("roc_auc_part", [](bool f64, uintptr_t s, uintptr_t y, int width, uint64_t one, uint64_t sign, uintptr_t mask,
                           uintptr_t parted, int64_t n, int threads) {
    const heterad::Labels labels{ptr<const void>(y), width, one, sign};
    int64_t sizes[2], odd;
    {
      gil_scoped_release released;
      odd = f64 ? HETERAD_CALL(roc_auc_part, ptr<const double>(s), labels, ptr<const bool>(mask), ptr<double>(parted), sizes, n, threads)
                : HETERAD_CALL(roc_auc_part, ptr<const float>(s), labels, ptr<const bool>(mask), ptr<float>(parted), sizes, n, threads);
    }
    return py::make_tuple(odd, sizes[0], sizes[1]);
  });
  m.def("roc_auc_sorted", [](bool f64, uintptr_t pos, int64_t n_pos, uintptr_t neg, int64_t n_neg, int threads) {
    gil_scoped_release released;
    return f64 ? HETERAD_CALL(roc_auc_sorted, ptr<const double>(pos), n_pos, ptr<const double>(neg), n_neg, threads)
               : HETERAD_CALL(roc_auc_sorted, ptr<const float>(pos), n_pos, ptr<const float>(neg), n_neg, threads);
  });
  m.def("smoothed_auc", [](bool f64, uintptr_t pos, uintptr_t neg, uintptr_t pos_mask, uintptr_t neg_mask, int64_t batch, int64_t p,
                           int64_t q, double temperature, uintptr_t value, uintptr_t grad_pos, uintptr_t grad_neg, int threads) {
    gil_scoped_release released;
    const auto run = [&](auto zero) {
      using T = decltype(zero);
      const heterad::Scores<T> positive{ptr<const T>(pos), ptr<const bool>(pos_mask), p, ptr<T>(grad_pos)};
      const heterad::Scores<T> negative{ptr<const T>(neg), ptr<const bool>(neg_mask), q, ptr<T>(grad_neg)};
      HETERAD_CALL(smoothed_auc, positive, negative, temperature, ptr<T>(value), batch, threads);
    };
    if (f64) run(double());
    else run(float());
  });
}
