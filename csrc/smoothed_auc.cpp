#include "smoothed_auc.h"

#include <cmath>
#include <cstring>

#include "smoothed_auc_cells.h"
#include "smoothed_auc_pairs.h"

namespace heterad::HETERAD_ISA {
namespace {

constexpr int64_t kParallel = 1 << 15;  // scores from which one task is worth several threads
constexpr int64_t kPairsPerScore = 90;  // P Q / (P + Q) up to which brute force is faster (measured)

// The widest range of scores, in temperatures, over which exp(p) exp(-n) stays a normal number of T.
template <typename T>
constexpr double kWidest = sizeof(T) == 4 ? 80 : 600;

template <typename T>
struct Summary {
  int64_t real = 0, plus = 0, minus = 0;  // real scores, infinities among them
  double low = INFINITY, high = -INFINITY;
  bool nan = false;
  int64_t finite() const { return real - plus - minus; }
};

// Real scores one by one, with every kind of number told apart.
template <typename T>
Summary<T> summarise_slowly(const Scores<T>& s) {
  Summary<T> found;
  for (int64_t i = 0; i < s.n; ++i) {
    if (s.mask != nullptr && !s.mask[i]) continue;
    const double x = s.x[i];
    ++found.real;
    found.nan |= x != x;
    if (x == INFINITY) ++found.plus;
    else if (x == -INFINITY) ++found.minus;
    else {
      if (x < found.low) found.low = x;
      if (x > found.high) found.high = x;
    }
  }
  return found;
}

template <typename T>
Summary<T> summarise(const Scores<T>& s, int threads) {
  if (s.mask != nullptr) return summarise_slowly(s);
  T low = T(INFINITY), high = -T(INFINITY);
  bool odd = false;
#pragma omp parallel for simd num_threads(team(threads)) if (threads > 1) reduction(min : low) reduction(max : high) reduction(| : odd)
  for (int64_t i = 0; i < s.n; ++i) {
    const T x = s.x[i];
    odd |= !(std::abs(x) < T(INFINITY));
    low = x < low ? x : low;
    high = x > high ? x : high;
  }
  if (odd) return summarise_slowly(s);
  Summary<T> found;
  found.real = s.n;
  found.low = low;
  found.high = high;
  return found;
}

template <typename T>
void fill(const Scores<T>& s, T real_value) {
  if (s.grad == nullptr) return;
  for (int64_t i = 0; i < s.n; ++i) s.grad[i] = s.mask == nullptr || s.mask[i] ? real_value : T(0);
}

// exp(+-(x - centre) / temperature), zero for scores that do not count and in the padding
template <typename T>
void exponentials(const Scores<T>& s, double centre, double inverse, double* work, int64_t padded, T* out) {
  for (int64_t i = 0; i < padded; ++i) {
    const bool counts = i < s.n && (s.mask == nullptr || s.mask[i]) && std::abs(s.x[i]) < T(INFINITY);
    work[i] = counts ? (double(s.x[i]) - centre) * inverse : 0;
  }
  exp_in_place(work, padded);
  for (int64_t i = 0; i < padded; ++i) {
    const bool counts = i < s.n && (s.mask == nullptr || s.mask[i]) && std::abs(s.x[i]) < T(INFINITY);
    out[i] = counts ? T(work[i]) : T(0);
  }
}

// Sum over the finite pairs; `scale` turns a sum of slopes into a gradient.
template <typename T>
double sum_pairs(const Scores<T>& pos, const Scores<T>& neg, double centre, double inverse, double scale, int threads) {
  const bool swap = pos.n > neg.n, grad = pos.grad != nullptr;
  const Scores<T>&row = swap ? neg : pos, &col = swap ? pos : neg;
  const double sign = swap ? -inverse : inverse;
  const auto padded_to = [](int64_t n, int64_t m) { return (n + m - 1) / m * m; };
  const int64_t rows = padded_to(row.n, Simd<double>::width), cols = padded_to(col.n, kColumnTile<T>);
  const int64_t parts = (cols + part_width(cols) - 1) / part_width(cols);
  double* row_sum = new double[(parts + 1) * rows + 2 * cols];
  double* col_sum = row_sum + parts * rows;
  T* a = reinterpret_cast<T*>(col_sum + cols);
  T* b = a + rows;
  exponentials(row, centre, sign, row_sum, rows, a);
  exponentials(col, centre, -sign, col_sum, cols, b);
  memset(row_sum, 0, (parts * rows + cols) * sizeof(double));
  const double total = pair_sums(a, row.n, b, cols, grad ? row_sum : nullptr, col_sum, threads);
  if (grad) {
    for (int64_t part = 1; part < parts; ++part)
      for (int64_t i = 0; i < row.n; ++i) row_sum[i] += row_sum[part * row.n + i];
    const double to_row = swap ? -scale : scale;
    for (int64_t i = 0; i < row.n; ++i) row.grad[i] = T(to_row * row_sum[i]);
    for (int64_t j = 0; j < col.n; ++j) col.grad[j] = T(-to_row * col_sum[j]);
  }
  delete[] row_sum;
  return total;
}

// The end of the run of items from `begin` on that belong together: `belongs` turns false once.
template <typename Item, typename Belongs>
int64_t end_of_run(const Item* items, int64_t begin, int64_t n, Belongs belongs) {
  int64_t step = 1, low = begin, high = begin + 1;
  for (; high < n && belongs(items[high]); step *= 2) {
    low = high;
    high = high + step < n ? high + step : n;
  }
  while (low + 1 < high) {
    const int64_t mid = low + (high - low) / 2;
    (belongs(items[mid]) ? low : high) = mid;
  }
  return high;
}

template <typename T, typename Item>
int64_t first_in_reach(const Grid<T, Item>& grid, const Item* items, int64_t n, double index) {
  int64_t low = 0, high = n;
  while (low < high) {
    const int64_t mid = low + (high - low) / 2;
    if (grid.cell(items[mid]) < index) low = mid + 1;
    else high = mid;
  }
  return low;
}

template <typename T, typename Item>
double sum_cells(const Grid<T, Item>& grid, int bits, int64_t n, double scale, int threads) {
  static const Tables<T> tables;
  constexpr int64_t kReach = Tables<T>::R, N = Cell<T>::N;
  Item* items = new Item[2 * n];
  int64_t count;
  const Item* sorted = radix_sort(grid, grid.pos.n + grid.neg.n, bits, items, items + n, &count, threads);
  const int64_t most = n < kChunk + 2 * kReach + 2 ? n : kChunk + 2 * kReach + 2;
  const int64_t most_pieces = 2 * most + n / kPiece;
  Cell<T>* cells = new Cell<T>[most];
  Piece* pieces = new Piece[most_pieces];
  double(*piece_moment)[N] = new double[most_pieces][N];
  double total = 0, normals = 0;  // normals: on the left of this chunk
  for (int64_t start = 0; start < n;) {
    const int64_t halo = first_in_reach(grid, sorted, start, grid.cell(sorted[start]) - kReach);
    int64_t n_cells = 0, n_pieces = 0, first = 0, last = 0;
    for (int64_t begin = halo; begin < n; ++n_cells) {
      const double index = grid.cell(sorted[begin]);
      if (begin == start) first = n_cells;
      if (begin >= start && n_cells - first < kChunk) last = n_cells + 1;
      else if (begin >= start && index > cells[last - 1].index + kReach) break;
      Cell<T>& cell = cells[n_cells];
      cell.index = index;
      cell.end = end_of_run(sorted, begin, n, [&](Item item) { return key_of(item) == key_of(sorted[begin]); });
      memset(cell.moment, 0, sizeof(cell.moment));
      const auto is_anomaly = [&](Item item) { return int64_t(item.place) < grid.pos.n; };
      const int64_t anomalies = is_anomaly(sorted[begin]) ? end_of_run(sorted, begin, cell.end, is_anomaly) : begin;
      for (; begin < anomalies; begin += kPiece)
        pieces[n_pieces++] = {begin, begin + kPiece < anomalies ? begin + kPiece : anomalies, n_cells, true};
      for (begin = anomalies; begin < cell.end; begin += kPiece)
        pieces[n_pieces++] = {begin, begin + kPiece < cell.end ? begin + kPiece : cell.end, n_cells, false};
      begin = cell.end;
    }
    const bool parallel = threads > 1 && pieces[n_pieces - 1].end - halo > kPiece;
#pragma omp parallel for num_threads(team(threads)) if (parallel) schedule(static)
    for (int64_t p = 0; p < n_pieces; ++p) moments(grid, pieces[p], cells[pieces[p].cell].index, sorted, piece_moment[p]);
    for (int64_t p = 0; p < n_pieces; ++p)
      for (int a = 0; a < N; ++a) cells[pieces[p].cell].moment[pieces[p].anomaly][a] += piece_moment[p][a];
    sweep_far(tables, cells, n_cells, 1);
    sweep_far(tables, cells, n_cells, -1);
    double* before = piece_moment[0];  // per cell; the pieces' moments are spent
    for (int64_t c = first; c < last; ++c) {
      before[c] = normals;
      normals += cells[c].moment[0][0];
    }
#pragma omp parallel for num_threads(team(threads)) if (parallel && last - first > 64) schedule(static)
    for (int64_t c = first; c < last; ++c) {
      int64_t low = c, high = c + 1;
      while (low > 0 && cells[c].index - cells[low - 1].index <= Tables<T>::G) --low;
      while (high < n_cells && cells[high].index - cells[c].index <= Tables<T>::G) ++high;
      combine(tables, cells[c], cells + low, cells + high, before[c]);
    }
    for (int64_t c = first; c < last; ++c) total += cells[c].value;
    if (grid.pos.grad != nullptr) {
#pragma omp parallel for num_threads(team(threads)) if (parallel) schedule(static)
      for (int64_t p = 0; p < n_pieces; ++p) {
        const Cell<T>& cell = cells[pieces[p].cell];
        if (pieces[p].cell >= first && pieces[p].cell < last) scatter_slopes(grid, pieces[p], cell, sorted, scale);
      }
    }
    start = cells[last - 1].end;
  }
  delete[] piece_moment;
  delete[] pieces;
  delete[] cells;
  delete[] items;
  return total;
}

template <typename T>
double auc_of(const Scores<T>& pos, const Scores<T>& neg, double temperature, int all_threads) {
  const int threads = pos.n + neg.n < kParallel ? 1 : all_threads;
  const Summary<T> p = summarise(pos, threads), n = summarise(neg, threads);
  const bool undefined = p.nan || n.nan || (p.plus && n.plus) || (p.minus && n.minus);
  if (p.real == 0 || n.real == 0 || undefined) {
    const T value = undefined ? T(NAN) : T(0);
    fill(pos, value);
    fill(neg, value);
    return undefined ? NAN : 0.5;
  }
  const double all = double(p.real) * double(n.real), inverse = temperature > 1e-300 ? 1 / temperature : 1e300;
  double total = double(p.plus) * double(n.real) + double(p.finite()) * double(n.minus);
  const int64_t count = p.finite() + n.finite();
  const double low = p.low < n.low ? p.low : n.low, high = p.high > n.high ? p.high : n.high;
  const bool pairs = p.finite() > 0 && n.finite() > 0;
  const double scale = inverse / all;
  if (pairs && (high - low) * inverse <= kWidest<T> && double(pos.n) * double(neg.n) <= kPairsPerScore * double(pos.n + neg.n)) {
    total += sum_pairs(pos, neg, low / 2 + high / 2, inverse, scale, all_threads);
    return total / all;
  }
  if (!pairs || count < p.real + n.real || p.real < pos.n || n.real < neg.n) {
    fill(pos, T(0));
    fill(neg, T(0));
  }
  if (!pairs) return total / all;
  using N = Grid<T, Near>;
  const double lowest = std::floor(N::scaled(low, inverse)), range = N::scaled(high, inverse) - lowest;
  if (range < 4e9 && pos.n + neg.n < int64_t(UINT32_MAX)) {
    const N grid{pos, neg, temperature, inverse, lowest};
    total += sum_cells(grid, bit_width(uint64_t(range)), count, scale, threads);
  } else {
    const Grid<T, Wide> grid{pos, neg, temperature, inverse, lowest};
    const uint64_t top = ordered_bits(std::floor(N::scaled(high, inverse)));
    total += sum_cells(grid, bit_width(top ^ ordered_bits(lowest)), count, scale, threads);
  }
  return total / all;
}

}  // namespace

template <typename T>
void smoothed_auc(Scores<T> pos, Scores<T> neg, double temperature, T* value, int64_t batch, int threads) {
  const auto task = [](const Scores<T>& s, int64_t b) {
    const int64_t o = b * s.n;
    return Scores<T>{s.x + o, s.mask ? s.mask + o : nullptr, s.n, s.grad ? s.grad + o : nullptr};
  };
  if (batch == 1) {
    *value = T(auc_of(pos, neg, temperature, threads));
    return;
  }
#pragma omp parallel for num_threads(team(threads)) if (batch * (pos.n + neg.n) > 1 << 12) schedule(dynamic)
  for (int64_t b = 0; b < batch; ++b) value[b] = T(auc_of(task(pos, b), task(neg, b), temperature, 1));
}

template void smoothed_auc(Scores<float>, Scores<float>, double, float*, int64_t, int);
template void smoothed_auc(Scores<double>, Scores<double>, double, double*, int64_t, int);

}  // namespace heterad::HETERAD_ISA
