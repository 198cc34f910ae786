#pragma once
#include "mlp.h"

namespace heterad {

// Tasks of n support and m query rows each, and the networks f, g, h, v of the learner: f encodes rows, g their pool; h
// and v see g's output where their context is not 0. Paper's names: h embeds, v gives the initial anomalous attributes.
struct Episode {
  int64_t tasks, n, m, n_iter;
  bool mean;  // pool by the mean, or by the sum
  Mlp f, g, h, v;
  int threads;
};

template <typename T>
struct Weights {
  Layers<T> f, g, h, v;
  T *log_lam, *log_mu;
};

}  // namespace heterad

// rows [tasks, n + m, d], mask [tasks, n] of the support rows or null -> scores [tasks, m], the squared errors of the query
// rows under the decoder that robust_ridge gives the support rows. `kept` of episode_room bytes is what backward needs;
// it writes the gradient of every weight. Returns the first task whose system is not positive definite, or -1.
HETERAD_KERNEL(
  template <typename T>
  int64_t episode_room(const Episode& size);
  template <typename T>
  int64_t episode_fwd(const Episode& size, const Weights<const T>& weights, const T* rows, const bool* mask, void* kept,
                      T* scores);
  template <typename T>
  void episode_bwd(const Episode& size, const Weights<const T>& weights, const T* rows, const bool* mask, void* kept,
                   const T* grad, const Weights<T>& grads);
)
