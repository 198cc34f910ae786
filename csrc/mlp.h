#pragma once
#include <cstdint>

#include "isa.h"

namespace heterad {

constexpr int kLayers = 8;

// Linear layers with ReLU between them on tasks x n rows. width[0] numbers in, width[layers] out; the first layer adds
// V z of the row's task, z having `context` numbers (0: there is none).
struct Mlp {
  int64_t tasks, n, context;
  int layers;
  int64_t width[kLayers + 1];
  int threads;

  int64_t rows() const { return tasks * n; }
  // Rows of what is saved begin at multiples of 16 numbers: whole vectors for any instruction set.
  static int64_t wide(int64_t n) { return (n + 15) / 16 * 16; }
  // Where the values after hidden layer l (1 ... layers - 1) lie in what is saved: rows x wide(width[l])
  int64_t hidden(int l) const {
    int64_t before = 0;
    for (int k = 1; k < l; ++k) before += wide(width[k]);
    return before * rows();
  }
};

// Weights lie as torch's: w[l] [width[l + 1], width[l]], b[l] [width[l + 1]], v [width[1], context].
template <typename T>
struct Layers {
  T *w[kLayers], *b[kLayers], *v;
};

}  // namespace heterad

// x [tasks, n, width[0]], z [tasks, context] -> out [tasks, n, width[layers]]; `saved` of hidden(layers) numbers or null.
// Backward writes every gradient that is not null; grad_x may be null.
HETERAD_KERNEL(
  template <typename T>
  void mlp_fwd(const Mlp& size, const Layers<const T>& layers, const T* x, const T* z, T* saved, T* out);
  template <typename T>
  void mlp_bwd(const Mlp& size, const Layers<const T>& layers, const T* x, const T* z, const T* saved, const T* grad,
               const Layers<T>& grads, T* grad_x, T* grad_z);
)
