// Linear layers with ReLU between them, each direction in one call. A chunk of rows goes through all layers before the
// next: its values never leave the L1 cache. Gradients of the weights are sums over all rows, shared out by blocks of the
// weights, so that no result depends on the number of threads.
#include "mlp.h"

#include "ridge_batch.h"
#include "simd.h"

namespace heterad::HETERAD_ISA {
namespace {

constexpr int64_t kRows = 4 * kTile;          // rows of a chunk
constexpr int64_t kDepth = 512;               // rows summed in one go, before the sum is added to the total
constexpr int64_t kOut = 3 * kTile;           // rows of a block of weights
constexpr int64_t kSlack = 64 * 4 * kLayers;  // bytes that pieces of an allocation may lose to their alignment

// Weights as right factors: transposed for the way forward, with whole vectors a row for the way back.
template <typename T>
struct Packed {
  const T* w[kLayers];
  const T* v;

  // of the largest matrix, padded, and of all
  static int64_t largest(const Mlp& z) {
    int64_t most = z.context ? Mlp::wide(z.context) * Mlp::wide(z.width[1]) : 0;
    for (int l = 0; l < z.layers; ++l) {
      const int64_t here = Mlp::wide(z.width[l]) * Mlp::wide(z.width[l + 1]);
      most = most > here ? most : here;
    }
    return most;
  }
  static int64_t all(const Mlp& z) {
    int64_t count = z.context ? Mlp::wide(z.context) * Mlp::wide(z.width[1]) : 0;
    for (int l = 0; l < z.layers; ++l) count += Mlp::wide(z.width[l]) * Mlp::wide(z.width[l + 1]);
    return count;
  }

  static const T* transposed(Arena& arena, T* room, const T* w, int64_t out, int64_t in) {
    const int64_t po = Mlp::wide(out), pi = Mlp::wide(in);
    T* t = arena.take<T>(pi * po);
    if (out == po && in == pi) {
      transpose(w, in, out, in, t, po);
    } else {
      pad(w, in, out, in, room, pi);
      fill(room + out * pi, (po - out) * pi, T(0));
      transpose(room, pi, po, pi, t, po);
    }
    return t;
  }

  static const T* whole(Arena& arena, const T* w, int64_t out, int64_t in) {
    const int64_t pi = Mlp::wide(in);
    if (in == pi) return w;
    T* p = arena.take<T>(out * pi);
    pad(w, in, out, in, p, pi);
    return p;
  }

  void up(Arena& arena, T* room, const Mlp& z, const Layers<const T>& layers) {
    for (int l = 0; l < z.layers; ++l) w[l] = transposed(arena, room, layers.w[l], z.width[l + 1], z.width[l]);
    if (z.context) v = transposed(arena, room, layers.v, z.width[1], z.context);
  }

  void down(Arena& arena, const Mlp& z, const Layers<const T>& layers) {
    for (int l = 0; l < z.layers; ++l) w[l] = whole(arena, layers.w[l], z.width[l + 1], z.width[l]);
    if (z.context) v = whole(arena, layers.v, z.width[1], z.context);
  }
};

int64_t widest(const Mlp& z) {
  int64_t most = 0;
  for (int l = 0; l <= z.layers; ++l) most = most > Mlp::wide(z.width[l]) ? most : Mlp::wide(z.width[l]);
  return most;
}

// Threads pay from some millions of multiplications.
int useful(const Mlp& z) {
  double work = 0;
  for (int l = 0; l < z.layers; ++l) work += double(z.width[l]) * double(z.width[l + 1]);
  return work * double(z.rows()) < 2e6 ? 1 : team(z.threads);
}

// c [rows, cols] (+)= left right, through `room` [rows, wide(cols)] where c has no place for whole vectors
template <typename T>
void narrow(int64_t rows, int64_t cols, int64_t depth, const T* a, int64_t ld_a, const T* b, T* c, T* room) {
  const int64_t ld = Mlp::wide(cols);
  if (cols == ld) return product<Left::by_row>(rows, cols, depth, a, ld_a, b, ld, c, ld);
  product<Left::by_row>(rows, cols, depth, a, ld_a, b, ld, room, ld);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < cols; ++i) c[r * cols + i] = room[r * ld + i];
}

template <typename T>
void forward_chunk(const Mlp& z, const Packed<T>& packed, const Layers<const T>& layers, const T* x, const T* first,
                   T* saved, T* out, int64_t begin, int64_t count, T* room[2]) {
  const T* in = x + begin * z.width[0];
  int64_t ld_in = z.width[0];
  for (int l = 0; l < z.layers; ++l) {
    const bool last = l + 1 == z.layers;
    const int64_t cols = z.width[l + 1], ld = Mlp::wide(cols);
    const bool direct = last && cols == ld;
    T* y = direct ? out + begin * cols : !last && saved ? saved + z.hidden(l + 1) + begin * ld : room[l % 2];
    const bool of_task = l == 0 && z.context;
    int64_t task = of_task ? begin / z.n : 0, next = of_task ? (task + 1) * z.n - begin : count;
    for (int64_t r = 0; r < count; ++r) {
      if (r == next) ++task, next += z.n;
      copy_row(of_task ? first + task * ld : layers.b[l], cols, y + r * ld, ld);
    }
    product<Left::by_row>(count, cols, z.width[l], in, ld_in, packed.w[l], ld, y, ld, true);
    if (last && !direct) {
      for (int64_t r = 0; r < count; ++r)
        for (int64_t i = 0; i < cols; ++i) out[(begin + r) * cols + i] = y[r * ld + i];
    } else if (!last) {
      for (int64_t i = 0; i < count * ld; ++i) y[i] = y[i] < 0 ? T(0) : y[i];  // NaN stays
    }
    in = y;
    ld_in = ld;
  }
}

// g [l]: gradient at the output of layer l, rows x ld[l]; the last is the caller's
template <typename T>
struct Down {
  const T* g[kLayers];
  int64_t ld[kLayers];
};

template <typename T>
void backward_chunk(const Mlp& z, const Packed<T>& packed, const T* saved, const Down<T>& down, T* grad_x, int64_t begin,
                    int64_t count, T* room) {
  for (int l = z.layers - 1; l > 0; --l) {
    const int64_t cols = z.width[l], ld = Mlp::wide(cols);
    T* g = const_cast<T*>(down.g[l - 1]) + begin * ld;
    const T* y = saved + z.hidden(l) + begin * ld;
    product<Left::by_row>(count, cols, z.width[l + 1], down.g[l] + begin * down.ld[l], down.ld[l], packed.w[l], ld, g, ld);
    for (int64_t i = 0; i < count * ld; ++i) g[i] = y[i] <= 0 ? T(0) : g[i];
  }
  if (grad_x)
    narrow(count, z.width[0], z.width[1], down.g[0] + begin * down.ld[0], down.ld[0], packed.w[0],
           grad_x + begin * z.width[0], room);
}

// grad_w [out, in], its rows from `first` and one block of columns, = g' y over all rows
template <typename T>
void weights_block(const Mlp& z, const T* g, int64_t ld_g, const T* y, int64_t ld_y, int64_t out, int64_t in, int64_t first,
                   int64_t column, T* grad_w, T* room) {
  constexpr int64_t C = Simd<T>::block;
  const int64_t height = out - first < kOut ? out - first : kOut, cols = in - column < C ? in - column : C;
  const bool whole_y = column + C <= ld_y, direct = column + C <= in;
  T* c = direct ? grad_w + first * in + column : room;
  T* copy = room + kOut * C;
  const int64_t ld_c = direct ? in : C;
  for (int64_t r = 0; r < z.rows(); r += kDepth) {
    const int64_t depth = z.rows() - r < kDepth ? z.rows() - r : kDepth;
    const T* right = y + r * ld_y + column;
    if (!whole_y) pad(right, ld_y, depth, cols, copy, C);
    product(height, direct ? C : cols, depth, g + r * ld_g + first, ld_g, whole_y ? right : copy, whole_y ? ld_y : C, c, ld_c,
            r > 0);
  }
  if (!direct)
    for (int64_t o = 0; o < height; ++o)
      for (int64_t i = 0; i < cols; ++i) grad_w[(first + o) * in + column + i] = room[o * C + i];
}

// sum [cols] of rows [begin, end) of g, in parts
template <typename T>
void column_sums(const T* g, int64_t ld, int64_t begin, int64_t end, int64_t cols, T* part, T* sum) {
  fill(sum, cols, T(0));
  for (int64_t r = begin; r < end; r += kDepth) {
    fill(part, cols, T(0));
    for (int64_t k = r; k < end && k < r + kDepth; ++k)
      for (int64_t i = 0; i < cols; ++i) part[i] += g[k * ld + i];
    for (int64_t i = 0; i < cols; ++i) sum[i] += part[i];
  }
}

// Of the context: the sums over each task's rows of the gradient at the first layer, and what follows from them
template <typename T>
void context_bwd(const Mlp& z, const Packed<T>& packed, const T* context, const Down<T>& down, const Layers<T>& grads,
                 T* grad_z, T* part) {
  const int64_t cols = z.width[1], ld = Mlp::wide(cols), wide = Mlp::wide(z.context), k = z.context;
  const Buffer buffer((z.tasks * (ld + wide) + (cols + kRows) * wide) * int64_t(sizeof(T)) + kSlack);
  Arena arena = buffer.arena();
  T *sums = arena.take<T>(z.tasks * ld), *padded_z = arena.take<T>(z.tasks * wide), *wide_v = arena.take<T>(cols * wide);
  T* room = arena.take<T>(kRows * wide);
  for (int64_t b = 0; b < z.tasks; ++b) column_sums(down.g[0], down.ld[0], b * z.n, (b + 1) * z.n, cols, part, sums + b * ld);
  if (grad_z)
    for (int64_t b = 0; b < z.tasks; b += kRows)
      narrow(z.tasks - b < kRows ? z.tasks - b : kRows, k, cols, sums + b * ld, ld, packed.v, grad_z + b * k, room);
  if (!grads.v) return;
  pad(context, k, z.tasks, k, padded_z, wide);
  product(cols, k, z.tasks, sums, ld, padded_z, wide, wide_v, wide);
  for (int64_t o = 0; o < cols; ++o)
    for (int64_t i = 0; i < k; ++i) grads.v[o * k + i] = wide_v[o * wide + i];
}

}  // namespace

template <typename T>
void mlp_fwd(const Mlp& z, const Layers<const T>& layers, const T* x, const T* context, T* saved, T* out) {
  const int64_t most = widest(z), ld = Mlp::wide(z.width[1]), chunks = (z.rows() + kRows - 1) / kRows;
  const int threads = useful(z);
  const int64_t count = Packed<T>::largest(z) + Packed<T>::all(z) + (z.context ? z.tasks * ld : 0) + threads * 2 * kRows * most;
  const Buffer buffer(count * int64_t(sizeof(T)) + kSlack);
  Arena arena = buffer.arena();
  Packed<T> packed;
  packed.up(arena, arena.take<T>(Packed<T>::largest(z)), z, layers);
  T* first = nullptr;  // V z + b of each task
  if (z.context) {
    first = arena.take<T>(z.tasks * ld);
    for (int64_t b = 0; b < z.tasks; ++b) pad(layers.b[0], 0, 1, z.width[1], first + b * ld, ld);
    product<Left::by_row>(z.tasks, z.width[1], z.context, context, z.context, packed.v, ld, first, ld, true);
  }
  T* scratch = arena.take<T>(threads * 2 * kRows * most);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    T* own = scratch + omp_get_thread_num() * 2 * kRows * most;
    T* room[2] = {own, own + kRows * most};
#pragma omp for
    for (int64_t c = 0; c < chunks; ++c) {
      const int64_t begin = c * kRows, count = z.rows() - begin < kRows ? z.rows() - begin : kRows;
      forward_chunk(z, packed, layers, x, first, saved, out, begin, count, room);
    }
  }
}

template <typename T>
void mlp_bwd(const Mlp& z, const Layers<const T>& layers, const T* x, const T* context, const T* saved, const T* grad,
             const Layers<T>& grads, T* grad_x, T* grad_z) {
  constexpr int64_t C = Simd<T>::block;
  const int64_t rows = z.rows(), most = widest(z), chunks = (rows + kRows - 1) / kRows;
  const int threads = useful(z);
  const int64_t per_thread = kRows * most + kOut * C + kDepth * C + most;
  int64_t inner = 0;
  for (int l = 1; l < z.layers; ++l) inner += rows * Mlp::wide(z.width[l]);
  const Buffer buffer((Packed<T>::all(z) + inner + threads * per_thread) * int64_t(sizeof(T)) + kSlack);
  Arena arena = buffer.arena();
  Packed<T> packed;
  packed.down(arena, z, layers);
  Down<T> down;
  for (int l = 0; l + 1 < z.layers; ++l) {
    down.ld[l] = Mlp::wide(z.width[l + 1]);
    down.g[l] = arena.take<T>(rows * down.ld[l]);
  }
  down.g[z.layers - 1] = grad;
  down.ld[z.layers - 1] = z.width[z.layers];
  int64_t start[kLayers + 1] = {0};  // blocks of weights, and one for the sums, of all layers
  for (int l = 0; l < z.layers; ++l)
    start[l + 1] = start[l] + 1 + (z.width[l + 1] + kOut - 1) / kOut * ((z.width[l] + C - 1) / C);
  T* scratch = arena.take<T>(threads * per_thread);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    T* own = scratch + omp_get_thread_num() * per_thread;
    T *block = own + kRows * most, *part = block + (kOut + kDepth) * C;
#pragma omp for
    for (int64_t c = 0; c < chunks; ++c) {
      const int64_t begin = c * kRows, count = rows - begin < kRows ? rows - begin : kRows;
      backward_chunk(z, packed, saved, down, grad_x, begin, count, own);
    }
#pragma omp for schedule(dynamic)
    for (int64_t item = 0; item < start[z.layers]; ++item) {
      int l = 0;
      while (item >= start[l + 1]) ++l;
      const int64_t in = z.width[l], out = z.width[l + 1], columns = (in + C - 1) / C, at = item - start[l] - 1;
      if (at < 0) {
        if (grads.b[l]) column_sums(down.g[l], down.ld[l], 0, rows, out, part, grads.b[l]);
      } else if (grads.w[l]) {
        const T* y = l ? saved + z.hidden(l) : x;
        weights_block(z, down.g[l], down.ld[l], y, l ? Mlp::wide(in) : in, out, in, at / columns * kOut, at % columns * C,
                      grads.w[l], block);
      }
    }
  }
  if (z.context) context_bwd(z, packed, context, down, grads, grad_z, scratch);
}

#define HETERAD_INSTANTIATE(T)                                                                                         \
  template void mlp_fwd(const Mlp&, const Layers<const T>&, const T*, const T*, T*, T*);                               \
  template void mlp_bwd(const Mlp&, const Layers<const T>&, const T*, const T*, const T*, const T*, const Layers<T>&, T*, T*);
HETERAD_INSTANTIATE(float)
HETERAD_INSTANTIATE(double)

}  // namespace heterad::HETERAD_ISA
