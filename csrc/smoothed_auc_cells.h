#pragma once
// The pair sum in near-linear time. Scores are sorted into cells one temperature wide. Between cells at most `near` apart
// the sigmoid is a short Chebyshev series in both scores, so a cell enters by its Chebyshev moments; beyond that
// sigmoid(x) = e^x - e^2x + e^3x - ... separates, so all the far cells enter by three running sums a side.
#include <cmath>

#include "radix_sort.h"
#include "simd.h"
#include "smoothed_auc.h"

namespace heterad::HETERAD_ISA {
namespace {

// kernel[D + near][b][a]: coefficient of T_a(u) T_b(v) in f(D + (u - v) / 2), for f the sigmoid and its slope.
template <typename T>
struct Tables {
  static constexpr int N = Precision<T>::nodes, G = Precision<T>::near, R = Precision<T>::reach;
  double value[2 * G + 1][N][N], slope[2 * G + 1][N][N];
  double up[kTerms][N], down[kTerms][N];  // of exp(k u / 2), exp(-k u / 2)
  double decay[R + 1];                    // exp(-d)

  Tables() {
    double x[N], t[N][N];  // t[a][i] = T_a(x_i) times the weight of the transform
    for (int i = 0; i < N; ++i) x[i] = std::cos(M_PI * (i + 0.5) / N);
    for (int a = 0; a < N; ++a)
      for (int i = 0; i < N; ++i) t[a][i] = std::cos(a * M_PI * (i + 0.5) / N) * (a == 0 ? 1.0 : 2.0) / N;
    for (int d = -G; d <= G; ++d) {
      double f[N][N], g[N][N];
      for (int i = 0; i < N; ++i)
        for (int j = 0; j < N; ++j) {
          const double s = d + (x[i] - x[j]) / 2, z = std::exp(-std::abs(s));
          f[i][j] = (s < 0 ? z : 1) / (1 + z);
          g[i][j] = z / ((1 + z) * (1 + z));
        }
      transform(t, f, value[d + G]);
      transform(t, g, slope[d + G]);
    }
    for (int k = 0; k < kTerms; ++k)
      for (int a = 0; a < N; ++a) {
        up[k][a] = 0;
        for (int i = 0; i < N; ++i) up[k][a] += t[a][i] * std::exp((k + 1) * x[i] / 2);
        down[k][a] = a % 2 ? -up[k][a] : up[k][a];
      }
    for (int d = 0; d <= R; ++d) decay[d] = std::exp(-double(d));
  }

  static void transform(const double (&t)[N][N], const double (&f)[N][N], double (&out)[N][N]) {
    double half[N][N] = {};
    for (int a = 0; a < N; ++a)
      for (int i = 0; i < N; ++i)
        for (int j = 0; j < N; ++j) half[a][j] += t[a][i] * f[i][j];
    for (int b = 0; b < N; ++b)
      for (int a = 0; a < N; ++a) {
        out[b][a] = 0;
        for (int j = 0; j < N; ++j) out[b][a] += t[b][j] * half[a][j];
      }
  }
};

// A score's cell and its place among pos followed by neg. `Near` where cells and places fit in 32 bits.
struct Near {
  uint32_t key, place;
};
struct Wide {
  uint64_t key, place;
};
inline uint32_t key_of(Near item) { return item.key; }
inline uint64_t key_of(Wide item) { return item.key; }

template <typename T, typename Item>
struct Grid {
  Scores<T> pos, neg;
  double width, inverse, origin;  // of a cell, in scores; the lowest cell

  double cell(Item item) const {
    if constexpr (sizeof(Item) == sizeof(Near)) return origin + item.key;
    else return from_ordered_bits(item.key);
  }

  static double scaled(double x, double inverse) {
    const double y = x * inverse;
    return y > 1e300 ? 1e300 : y < -1e300 ? -1e300 : y;
  }
  Item item(T x, int64_t place) const {
    const double y = scaled(x, inverse);
    if constexpr (sizeof(Item) == sizeof(Near)) return {uint32_t(int64_t(y - origin)), uint32_t(place)};
    else return {ordered_bits(std::floor(y)), uint64_t(place)};
  }

  // The finite, real scores at [begin, end) of pos followed by neg: a source of radix_sort.
  template <typename Emit>
  void visit(int64_t begin, int64_t end, Emit emit) const {
    side(pos, begin, end < pos.n ? end : pos.n, 0, emit);
    side(neg, begin < pos.n ? 0 : begin - pos.n, end - pos.n, pos.n, emit);
  }
  template <typename Emit>
  void side(const Scores<T>& s, int64_t begin, int64_t end, int64_t offset, Emit emit) const {
    for (int64_t i = begin; i < end; ++i)
      if ((s.mask == nullptr || s.mask[i]) && std::abs(s.x[i]) < T(INFINITY)) emit(item(s.x[i], offset + i));
  }
};

template <typename T>
struct Cell {
  static constexpr int N = Precision<T>::nodes;
  double index;
  int64_t end;               // of its items
  double moment[2][N];       // of the normals, of the anomalies
  double far[2][2][kTerms];  // [class summed][left, right]: sums of exp(-k distance) to this cell's centre
  double coef[2][N];         // of the slopes' sum over the normals (for an anomaly here), and over the anomalies
  double value;
};

constexpr int64_t kBatch = 512;     // items read at a time: a lane's sum over them stays in T
constexpr int64_t kFew = 6;         // items up to which lanes would idle
constexpr int64_t kPiece = 4096;    // items handled by one thread at a time
constexpr int64_t kChunk = 1 << 14; // cells held at a time: memory does not grow with their number

// Items of one cell and one side: the sort is stable, so a cell's anomalies come before its normals.
struct Piece {
  int64_t begin, end, cell;
  bool anomaly;
};

// The items' coordinates in [-1, 1] within their cell.
template <typename T, typename Item>
void local_coordinates(const Grid<T, Item>& grid, const Piece& piece, double index, int64_t begin, int64_t n,
                       const Item* items, T* u) {
  const T* x = piece.anomaly ? grid.pos.x : grid.neg.x;
  const int64_t offset = piece.anomaly ? 0 : grid.pos.n;
  for (int64_t i = 0; i < n; ++i) {
    const double v = (double(x[int64_t(items[begin + i].place) - offset]) - index * grid.width) * grid.inverse * 2 - 1;
    u[i] = T(v < -1 ? -1 : v > 1 ? 1 : v);
  }
}

// moment[a] = sum of T_a(u) over the piece
template <typename T, typename Item>
void moments(const Grid<T, Item>& grid, const Piece& piece, double index, const Item* items, double* moment) {
  using V = typename Simd<T>::vec;
  constexpr int64_t W = Simd<T>::width, N = Cell<T>::N;
  for (int a = 0; a < N; ++a) moment[a] = 0;
  T u[kBatch];
  for (int64_t begin = piece.begin; begin < piece.end; begin += kBatch) {
    const int64_t n = piece.end - begin < kBatch ? piece.end - begin : kBatch;
    local_coordinates(grid, piece, index, begin, n, items, u);
    if (n <= kFew) {
      for (int64_t i = 0; i < n; ++i) {
        double t = 1, before = u[i];  // T_0 and T_-1 = T_1
        for (int a = 0; a < N; ++a) {
          moment[a] += t;
          const double next = 2 * double(u[i]) * t - before;
          before = t;
          t = next;
        }
      }
      continue;
    }
    const int64_t padding = (W - n % W) % W;
    for (int64_t i = n; i < n + padding; ++i) u[i] = 0;
    V sum[N] = {};
    for (int64_t i = 0; i < n; i += W) {
      const V x = load(u + i), twice = x + x;
      V t = V{} + 1, before = x;
#pragma GCC unroll 16
      for (int a = 0; a < N; ++a) {
        sum[a] += t;
        const V next = twice * t - before;
        before = t;
        t = next;
      }
    }
    for (int a = 0; a < N; ++a) moment[a] += sum_of<T>(sum[a]);
    for (int a = 0; a < N; a += 2) moment[a] -= a % 4 ? -double(padding) : double(padding);  // T_a(0)
  }
}

// Clenshaw's rule: each item's slope is a Chebyshev series in its local coordinate.
template <typename T, typename Item>
void scatter_slopes(const Grid<T, Item>& grid, const Piece& piece, const Cell<T>& cell, const Item* items, double scale) {
  using V = typename Simd<T>::vec;
  constexpr int64_t W = Simd<T>::width, N = Cell<T>::N;
  T u[kBatch], coef[N];
  for (int a = 0; a < N; ++a) coef[a] = T(piece.anomaly ? scale * cell.coef[0][a] : -scale * cell.coef[1][a]);
  T* grad = piece.anomaly ? grid.pos.grad : grid.neg.grad;
  const int64_t offset = piece.anomaly ? 0 : grid.pos.n;
  for (int64_t begin = piece.begin; begin < piece.end; begin += kBatch) {
    const int64_t n = piece.end - begin < kBatch ? piece.end - begin : kBatch;
    local_coordinates(grid, piece, cell.index, begin, n, items, u);
    for (int64_t i = n; i % W; ++i) u[i] = 0;
    for (int64_t i = 0; i < n; i += W) {
      const V x = load(u + i), twice = x + x;
      V b1{}, b2{};
#pragma GCC unroll 16
      for (int a = N - 1; a > 0; --a) {
        const V b0 = coef[a] + twice * b1 - b2;
        b2 = b1;
        b1 = b0;
      }
      store(u + i, coef[0] + x * b1 - b2);
    }
    for (int64_t i = 0; i < n; ++i) grad[int64_t(items[begin + i].place) - offset] = u[i];
  }
}

// N numbers as whole vectors.
template <int N>
struct Series {
  using V = Simd<double>::vec;
  static constexpr int W = Simd<double>::width, R = N / W;
  V v[R];

  // this += matrix^T m
  void add_product(const double (&matrix)[N][N], const double (&m)[N]) {
#pragma GCC unroll 16
    for (int b = 0; b < N; ++b)
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) v[r] += m[b] * load(&matrix[b][r * W]);
  }
  void add(double factor, const double (&m)[N]) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) v[r] += factor * load(&m[r * W]);
  }
  void to(double (&out)[N]) const {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) store(&out[r * W], v[r]);
  }
};

// The running sums of the far cells, from the left (step 1) or from the right (step -1).
template <typename T>
void sweep_far(const Tables<T>& tables, Cell<T>* cells, int64_t count, int step) {
  constexpr int N = Cell<T>::N;
  double sum[2][kTerms] = {}, at = 0;
  const auto shrink = [&](double distance, double (&factor)[kTerms]) {
    const double q = distance > Tables<T>::R ? 0 : tables.decay[int(distance)];
    factor[0] = q;
    for (int k = 1; k < kTerms; ++k) factor[k] = factor[k - 1] * q;
  };
  double factor[kTerms];
  int64_t source = step > 0 ? 0 : count - 1;
  for (int64_t done = 0, c = source; done < count; ++done, c += step) {
    for (; std::abs(cells[c].index - cells[source].index) > Tables<T>::G; source += step) {
      const Cell<T>& from = cells[source];
      shrink(std::abs(from.index - at), factor);
      at = from.index;
      for (int side = 0; side < 2; ++side)
        for (int k = 0; k < kTerms; ++k) {
          double moment = 0;
          for (int a = 0; a < N; ++a) moment += (step < 0 ? tables.down : tables.up)[k][a] * from.moment[side][a];
          sum[side][k] = sum[side][k] * factor[k] + moment;
        }
    }
    shrink(std::abs(cells[c].index - at), factor);
    for (int side = 0; side < 2; ++side)
      for (int k = 0; k < kTerms; ++k) cells[c].far[side][step < 0][k] = sum[side][k] * factor[k];
  }
}

// The cell's share of the value (its anomalies against all normals) and its slopes' coefficients. `normals` are counted
// in all cells on the left of this one; the cells [low, high) are near.
template <typename T>
void combine(const Tables<T>& tables, Cell<T>& cell, const Cell<T>* low, const Cell<T>* high, double normals) {
  constexpr int N = Cell<T>::N;
  Series<N> value{}, slope[2]{};
  const bool has_normals = cell.moment[0][0] > 0, has_anomalies = cell.moment[1][0] > 0;
  for (const Cell<T>* c = low; c < high; ++c) {
    const int d = int(cell.index - c->index) + Tables<T>::G;
    if (c < &cell) normals -= c->moment[0][0];
    if (has_anomalies && c->moment[0][0] > 0) {
      value.add_product(tables.value[d], c->moment[0]);
      slope[0].add_product(tables.slope[d], c->moment[0]);
    }
    if (has_normals && c->moment[1][0] > 0) slope[1].add_product(tables.slope[d], c->moment[1]);
  }
  for (int k = 0; k < kTerms; ++k) {
    const double sign = k % 2 ? -1 : 1;
    value.add(sign * cell.far[0][1][k], tables.up[k]);
    value.add(-sign * cell.far[0][0][k], tables.down[k]);
    for (int s = 0; s < 2; ++s) {
      slope[s].add(sign * (k + 1) * cell.far[s][1][k], tables.up[k]);
      slope[s].add(sign * (k + 1) * cell.far[s][0][k], tables.down[k]);
    }
  }
  for (int s = 0; s < 2; ++s) slope[s].to(cell.coef[s]);
  double series[N];
  value.to(series);
  series[0] += normals;
  cell.value = 0;
  for (int a = 0; a < N; ++a) cell.value += cell.moment[1][a] * series[a];
}

}  // namespace
}  // namespace heterad::HETERAD_ISA
