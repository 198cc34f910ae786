#include "reconstruction.h"

#include "ridge_batch.h"
#include "simd.h"

namespace heterad::HETERAD_ISA {
namespace {

constexpr int64_t kRows = 4 * kTile;  // rows of a chunk

// to [rows, ld] = from [rows, cols] times twice a number for each row, zeros to the right
template <typename T>
void scale(const T* from, int64_t rows, int64_t cols, const T* times, T* to, int64_t ld) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < cols; ++i) to[r * ld + i] = from[r * cols + i] * T(2) * times[r];
    fill(to + r * ld + cols, ld - cols, T(0));
  }
}

int useful(const Reconstruction& z) {
  return double(z.tasks) * double(z.n) * double(z.d) * double(z.j) < 1e6 ? 1 : team(z.threads);
}

}  // namespace

template <typename T>
void reconstruction_fwd(const Reconstruction& z, const T* x, const T* h, const T* w, T* residual, T* error) {
  const int64_t pd = padded(z.d), pj = padded(z.j), chunks = (z.n + kRows - 1) / kRows;
  const int64_t own = pd * pj + pj * pd + kRows * pd;
  const int threads = useful(z);
  const Buffer buffer(threads * own * int64_t(sizeof(T)));
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    T* wide = static_cast<T*>(buffer.start) + omp_get_thread_num() * own;
    T *turned = wide + pd * pj, *p = turned + pj * pd;
    int64_t packed = -1;
#pragma omp for
    for (int64_t item = 0; item < z.tasks * chunks; ++item) {
      const int64_t b = item / chunks, first = item % chunks * kRows, count = z.n - first < kRows ? z.n - first : kRows;
      if (packed != b) {
        pad(w + b * z.d * z.j, z.j, z.d, z.j, wide, pj);
        fill(wide + z.d * pj, (pd - z.d) * pj, T(0));
        transpose(wide, pj, pd, pj, turned, pd);
        packed = b;
      }
      const int64_t row = b * z.n + first;
      product<Left::by_row>(count, z.d, z.j, h + row * z.j, z.j, turned, pd, p, pd);
      for (int64_t r = 0; r < count; ++r) {
        const T* from = x + (row + r) * z.d;
        T *q = p + r * pd, sum = 0;
        for (int64_t i = 0; i < z.d; ++i) q[i] = from[i] - q[i];
        typename Simd<T>::vec parts{};
        int64_t i = 0;
        for (; i + Simd<T>::width <= z.d; i += Simd<T>::width) parts += load(q + i) * load(q + i);
        for (; i < z.d; ++i) sum += q[i] * q[i];
        error[row + r] = T(sum_of<T>(parts) + double(sum));
        if (residual)
          for (int64_t k = 0; k < z.d; ++k) residual[(row + r) * z.d + k] = q[k];
      }
    }
  }
}

template <typename T>
void reconstruction_bwd(const Reconstruction& z, const T* grad, const T* residual, const T* h, const T* w, T* grad_x,
                        T* grad_h, T* grad_w) {
  const int64_t pd = padded(z.d), pj = padded(z.j);
  const int64_t own = pd * pj + z.n * pj + z.n * pd;
  const int threads = useful(z) < z.tasks ? useful(z) : int(z.tasks);
  const Buffer buffer(threads * own * int64_t(sizeof(T)));
#pragma omp parallel for num_threads(threads) if (threads > 1)
  for (int64_t b = 0; b < z.tasks; ++b) {
    T* wide = static_cast<T*>(buffer.start) + omp_get_thread_num() * own;
    T *tall = wide + pd * pj, *rows = tall + z.n * pj;
    const T *g = grad + b * z.n, *r = residual + b * z.n * z.d;
    scale(r, z.n, z.d, g, rows, pd);  // dx = 2 g r = -dp
    if (grad_x)
      for (int64_t i = 0; i < z.n; ++i)
        for (int64_t k = 0; k < z.d; ++k) grad_x[(b * z.n + i) * z.d + k] = rows[i * pd + k];
    if (grad_h) {
      pad(w + b * z.d * z.j, z.j, z.d, z.j, wide, pj);
      product<Left::by_row>(z.n, z.j, z.d, rows, pd, wide, pj, tall, pj);
      for (int64_t i = 0; i < z.n; ++i)
        for (int64_t k = 0; k < z.j; ++k) grad_h[(b * z.n + i) * z.j + k] = -tall[i * pj + k];
    }
    if (grad_w) {
      pad(h + b * z.n * z.j, z.j, z.n, z.j, tall, pj);
      product(z.d, z.j, z.n, rows, pd, tall, pj, wide, pj);
      for (int64_t i = 0; i < z.d; ++i)
        for (int64_t k = 0; k < z.j; ++k) grad_w[(b * z.d + i) * z.j + k] = -wide[i * pj + k];
    }
  }
}

#define HETERAD_INSTANTIATE(T)                                                                                      \
  template void reconstruction_fwd(const Reconstruction&, const T*, const T*, const T*, T*, T*);                   \
  template void reconstruction_bwd(const Reconstruction&, const T*, const T*, const T*, const T*, T*, T*, T*);
HETERAD_INSTANTIATE(float)
HETERAD_INSTANTIATE(double)

}  // namespace heterad::HETERAD_ISA
