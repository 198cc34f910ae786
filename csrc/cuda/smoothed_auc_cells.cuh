#pragma once
// The near-linear method of csrc/smoothed_auc_cells.h for one task. Scores are sorted; a cell is a run of them one
// temperature wide; a piece is at most kPiece scores of one cell, the work of one warp. How many there are stays on the
// device, so nothing waits. Here far cells are visited one by one (at most `reach` a side) instead of by running sums.
#include <cub/cub.cuh>

#include "common.cuh"

namespace heterad::cuda {

constexpr int kPiece = 1024;
__device__ constexpr double kEnd = 1e300;  // cells beyond are taken for one

template <typename T>
struct KeyOf;
template <>
struct KeyOf<float> {
  typedef uint32_t type;
  __device__ static type from(float x) {
    const uint32_t u = __float_as_uint(x + 0.0f);
    return u >> 31 ? ~u : u | 0x80000000u;
  }
  __device__ static float back(type u) { return __uint_as_float(u >> 31 ? u & 0x7fffffffu : ~u); }
};
template <>
struct KeyOf<double> {
  typedef unsigned long long type;
  __device__ static type from(double x) {
    const type u = __double_as_longlong(x + 0.0);
    return u >> 63 ? ~u : u | 0x8000000000000000ull;
  }
  __device__ static double back(type u) { return __longlong_as_double(u >> 63 ? u & 0x7fffffffffffffffull : ~u); }
};
template <typename T>
using Key = typename KeyOf<T>::type;

struct Ranks {  // over the sorted scores up to and with one: cells and pieces begun, normals
  uint32_t cells, pieces, normals;
};
struct AddRanks {
  __host__ __device__ Ranks operator()(Ranks a, Ranks b) const {
    return {a.cells + b.cells, a.pieces + b.pieces, a.normals + b.normals};
  }
};

// kernel[D + near][b][a]: coefficient of T_a(u) T_b(v) in f(D + (u - v) / 2); up[k][a] of exp((k + 1) u / 2).
template <typename T>
struct Tables {
  static constexpr int N = Precision<T>::nodes, G = Precision<T>::near;
  T value[2 * G + 1][N][N], slope[2 * G + 1][N][N], up[kTerms][N];
};

template <typename T>
struct CellWork {
  static constexpr int N = Precision<T>::nodes;
  typedef T Moments[2][N];
  int64_t n;  // scores of the task
  Key<T>*keys, *keys_sorted;
  uint32_t *places, *places_sorted;
  Ranks* ranks;
  uint32_t *piece_begin, *cell_begin, *cell_piece;
  unsigned *n_pieces, *n_cells;
  double *cell_index, *cell_value, *partial;
  Moments *moments, *coefs;  // by piece (a cell's sum in its first), by cell: [0] over normals, [1] over anomalies
  Tables<T>* tables;
  Summary* summary;
  void* temporary;
  std::size_t temporary_bytes;

  CellWork(Arena& arena, int64_t p, int64_t q) : n(p + q) {
    keys = arena.take<Key<T>>(n), keys_sorted = arena.take<Key<T>>(n);
    places = arena.take<uint32_t>(n), places_sorted = arena.take<uint32_t>(n);
    ranks = arena.take<Ranks>(n);
    piece_begin = arena.take<uint32_t>(n + 1), cell_begin = arena.take<uint32_t>(n + 1);
    cell_piece = arena.take<uint32_t>(n + 1);
    n_pieces = arena.take<unsigned>(1), n_cells = arena.take<unsigned>(1);
    cell_index = arena.take<double>(n), cell_value = arena.take<double>(n), partial = arena.take<double>(kSums);
    moments = arena.take<Moments>(n), coefs = arena.take<Moments>(n);
    tables = arena.take<Tables<T>>(1);
    summary = arena.take<Summary>(1);
    std::size_t sort = 0, scan = 0;
    cub::DeviceRadixSort::SortPairs(nullptr, sort, keys, keys_sorted, places, places_sorted, n);
    cub::DeviceScan::InclusiveScan(nullptr, scan, ranks, ranks, AddRanks(), n);
    temporary_bytes = sort > scan ? sort : scan;
    temporary = arena.take<char>(int64_t(temporary_bytes));
  }

  __device__ int64_t finite() const { return int64_t(summary->finite(0) + summary->finite(1)); }
};

template <typename T>
__device__ double cell_of(T x, double inverse) {
  return floor(fmin(fmax(double(x) * inverse, -kEnd), kEnd));
}

// The local coordinate in [-1, 1] of a score in its cell.
template <typename T>
__device__ T local(T x, double index, double width, double inverse) {
  const double u = (double(x) - index * width) * inverse * 2 - 1;
  return T(fmin(fmax(u, -1.0), 1.0));
}

// One block per distance; thread (i, j) first holds the node pair, then the coefficient pair.
template <typename T>
__global__ void fill_tables(Tables<T>* tables) {
  constexpr int N = Tables<T>::N, G = Tables<T>::G;
  __shared__ double f[2][N][N], half[2][N][N];
  const double pi = 3.14159265358979323846;
  const int i = threadIdx.x / N, j = threadIdx.x % N, d = int(blockIdx.x) - G;
  const auto weight = [&](int a, int node) { return cos(a * pi * (node + 0.5) / N) * (a == 0 ? 1.0 : 2.0) / N; };
  if (i < N) {
    const double x = d + (cos(pi * (i + 0.5) / N) - cos(pi * (j + 0.5) / N)) / 2, z = exp(-fabs(x));
    f[0][i][j] = (x < 0 ? z : 1) / (1 + z);
    f[1][i][j] = z / ((1 + z) * (1 + z));
  }
  __syncthreads();
  for (int s = 0; s < 2 && i < N; ++s) {
    double sum = 0;
    for (int node = 0; node < N; ++node) sum += weight(i, node) * f[s][node][j];
    half[s][i][j] = sum;
  }
  __syncthreads();
  for (int s = 0; s < 2 && i < N; ++s) {
    double sum = 0;
    for (int node = 0; node < N; ++node) sum += weight(j, node) * half[s][i][node];
    (s ? tables->slope : tables->value)[blockIdx.x][j][i] = T(sum);
  }
  if (blockIdx.x == 0 && i < kTerms) {
    double sum = 0;
    for (int node = 0; node < N; ++node) sum += weight(j, node) * exp((i + 1) * cos(pi * (node + 0.5) / N) / 2);
    tables->up[i][j] = T(sum);
  }
}

template <typename T>
__global__ void make_keys(Scores<T> s, int64_t offset, CellWork<T> work) {
  for (int64_t i = thread_index(); i < s.n; i += thread_count()) {
    const bool counts = is_real(s, i) && is_finite(s.x[i]);
    work.keys[offset + i] = counts ? KeyOf<T>::from(s.x[i]) : ~Key<T>(0);  // those that do not count come last
    work.places[offset + i] = uint32_t(offset + i);
  }
}

template <typename T>
__global__ void mark(int64_t p, double inverse, CellWork<T> work) {
  const int64_t finite = work.finite();
  for (int64_t i = thread_index(); i < work.n; i += thread_count()) {
    Ranks r = {0, 0, 0};
    if (i < finite) {
      const auto cell = [&](int64_t at) { return cell_of(KeyOf<T>::back(work.keys_sorted[at]), inverse); };
      r.cells = i == 0 || cell(i) != cell(i - 1);
      r.pieces = r.cells || i % kPiece == 0;
      r.normals = work.places_sorted[i] >= p;
    }
    work.ranks[i] = r;
  }
}

template <typename T>
__global__ void list_cells(double inverse, CellWork<T> work) {
  const int64_t finite = work.finite();
  for (int64_t i = thread_index(); i < finite; i += thread_count()) {
    const Ranks r = work.ranks[i], before = i > 0 ? work.ranks[i - 1] : Ranks{0, 0, 0};
    if (r.pieces != before.pieces) work.piece_begin[before.pieces] = uint32_t(i);
    if (r.cells != before.cells) {
      work.cell_begin[before.cells] = uint32_t(i);
      work.cell_piece[before.cells] = before.pieces;
      work.cell_index[before.cells] = cell_of(KeyOf<T>::back(work.keys_sorted[i]), inverse);
    }
    if (i == finite - 1) {
      *work.n_pieces = r.pieces;
      *work.n_cells = r.cells;
      work.piece_begin[r.pieces] = work.cell_begin[r.cells] = uint32_t(finite);
      work.cell_piece[r.cells] = r.pieces;
    }
  }
}

template <typename T>
__global__ void piece_moments(int64_t p, double width, double inverse, CellWork<T> work) {
  constexpr int N = CellWork<T>::N;
  const int lane = threadIdx.x % 32;
  for (int64_t piece = thread_index() / 32; piece < *work.n_pieces; piece += thread_count() / 32) {
    const int64_t begin = work.piece_begin[piece], end = work.piece_begin[piece + 1];
    const double index = cell_of(KeyOf<T>::back(work.keys_sorted[begin]), inverse);
    T sum[2][N] = {};
    for (int64_t i = begin + lane; i < end; i += 32) {
      const T u = local(KeyOf<T>::back(work.keys_sorted[i]), index, width, inverse);
      const T anomaly = work.places_sorted[i] < p ? T(1) : T(0), normal = 1 - anomaly;
      T t = 1, before = u;
#pragma unroll
      for (int a = 0; a < N; ++a) {
        sum[0][a] += normal * t;
        sum[1][a] += anomaly * t;
        const T next = 2 * u * t - before;
        before = t;
        t = next;
      }
    }
#pragma unroll
    for (int s = 0; s < 2; ++s)
#pragma unroll
      for (int a = 0; a < N; ++a) {
        T total = sum[s][a];
        for (int half = 16; half > 0; half /= 2) total += __shfl_xor_sync(kWarp, total, half);
        if (lane == 0) work.moments[piece][s][a] = total;
      }
  }
}

// Sums a cell's pieces into its first: a warp a cell, a lane a moment, as many pieces at a time as there are lanes for.
template <typename T>
__global__ void cell_moments(CellWork<T> work) {
  constexpr int M = 2 * CellWork<T>::N;
  const int lane = threadIdx.x % 32;
  for (int64_t cell = thread_index() / 32; cell < *work.n_cells; cell += thread_count() / 32) {
    const int64_t begin = work.cell_piece[cell], end = work.cell_piece[cell + 1];
    if (end - begin == 1) continue;
    T* const moments = &work.moments[0][0][0] + lane % M;
    double sum = 0;
#pragma unroll 8
    for (int64_t k = begin + lane / M; k < end; k += 32 / M) sum += double(moments[k * M]);
    for (int half = 16; half >= M; half /= 2) sum += __shfl_xor_sync(kWarp, sum, half);
    if (lane < M) moments[begin * M] = T(sum);
  }
}

// N lanes a cell, one coefficient each: the cell's slopes, and its anomalies' pairs with all normals.
template <typename T>
__global__ void combine(CellWork<T> work) {
  constexpr int N = CellWork<T>::N, G = Tables<T>::G;
  const Tables<T>& tables = *work.tables;
  const int a = threadIdx.x % N;
  const int64_t cells = *work.n_cells, per_pass = thread_count() / N;
  for (int64_t first = 0; first < cells; first += per_pass) {
    const int64_t c = first + thread_index() / N;
    double value = 0;
    if (c < cells) {
      const double index = work.cell_index[c];
      const T up[kTerms] = {tables.up[0][a], tables.up[1][a], tables.up[2][a]};
      double series = 0, slope[2] = {}, left_normals = 0;
      if (a == 0 && work.cell_begin[c] > 0) left_normals = work.ranks[work.cell_begin[c] - 1].normals;
      for (int step = -1; step <= 1; step += 2)
        for (int64_t other = step < 0 ? c : c + 1; other >= 0 && other < cells; other += step) {
          const double apart = index - work.cell_index[other];
          if (fabs(apart) > Precision<T>::reach) break;
          const auto& m = work.moments[work.cell_piece[other]];
          if (fabs(apart) <= G) {
            const int d = int(apart) + G;
            for (int b = 0; b < N; ++b) {
              series += double(tables.value[d][b][a]) * m[0][b];
              slope[0] += double(tables.slope[d][b][a]) * m[0][b];
              slope[1] += double(tables.slope[d][b][a]) * m[1][b];
            }
            if (apart > 0 && a == 0) left_normals -= m[0][0];
          } else {
            const double decay = exp(-fabs(apart));
            double factor = decay;
            for (int k = 0; k < kTerms; ++k, factor *= -decay) {  // e^-x - e^-2x + e^-3x
              double there[2] = {};
              for (int b = 0; b < N; ++b)
                for (int s = 0; s < 2; ++s)
                  there[s] += double(b % 2 && apart < 0 ? -tables.up[k][b] : tables.up[k][b]) * m[s][b];
              const double here = factor * (a % 2 && apart > 0 ? -up[k] : up[k]);
              series += apart > 0 ? -here * there[0] : here * there[0];
              for (int s = 0; s < 2; ++s) slope[s] += (k + 1) * here * there[s];
            }
          }
        }
      for (int s = 0; s < 2; ++s) work.coefs[c][s][a] = T(slope[s]);
      value = (series + left_normals) * work.moments[work.cell_piece[c]][1][a];
    }
    for (int half = N / 2; half > 0; half /= 2) value += __shfl_xor_sync(kWarp, value, half);
    if (c < cells && a == 0) work.cell_value[c] = value;
  }
}

// Clenshaw's rule at every sorted score; those that do not count come last and get zero.
template <typename T>
__global__ void scatter(Scores<T> pos, Scores<T> neg, double width, double inverse, CellWork<T> work) {
  constexpr int N = CellWork<T>::N;
  const int64_t finite = work.finite();
  for (int64_t i = thread_index(); i < work.n; i += thread_count()) {
    const int64_t place = work.places_sorted[i];
    const int side = place < pos.n;
    const Scores<T> s = side ? pos : neg;
    const int64_t at = side ? place : place - pos.n;
    double slopes = 0;
    if (i < finite) {
      const int64_t cell = int64_t(work.ranks[i].cells) - 1;
      const T* coef = work.coefs[cell][1 - side];
      const T u = local(KeyOf<T>::back(work.keys_sorted[i]), work.cell_index[cell], width, inverse);
      T b1 = 0, b2 = 0;
#pragma unroll
      for (int a = N - 1; a > 0; --a) {
        const T b0 = coef[a] + 2 * u * b1 - b2;
        b2 = b1;
        b1 = b0;
      }
      slopes = double(coef[0] + u * b1 - b2);
    }
    s.grad[at] = is_real(s, at) ? gradient<T>(*work.summary, side, slopes, inverse) : T(0);
  }
}

template <typename T>
void by_cells(Scores<T> pos, Scores<T> neg, double temperature, T* value, Arena& arena, cudaStream_t stream) {
  constexpr int N = CellWork<T>::N;
  const CellWork<T> work(arena, pos.n, neg.n);
  const double inverse = inverse_of<double>(temperature);
  const int64_t n = work.n, strided = strided_blocks(n);
  std::size_t bytes = work.temporary_bytes;
  summarise_all(stream, pos, neg, work.summary, 1);
  cudaMemsetAsync(work.n_pieces, 0, sizeof(unsigned), stream);
  cudaMemsetAsync(work.n_cells, 0, sizeof(unsigned), stream);
  launch(stream, 2 * Tables<T>::G + 1, fill_tables<T>, work.tables);
  launch(stream, strided, make_keys<T>, pos, int64_t(0), work);
  launch(stream, strided, make_keys<T>, neg, pos.n, work);
  cub::DeviceRadixSort::SortPairs(work.temporary, bytes, work.keys, work.keys_sorted, work.places, work.places_sorted, n,
                                  0, int(8 * sizeof(Key<T>)), stream);
  launch(stream, strided, mark<T>, pos.n, inverse, work);
  cub::DeviceScan::InclusiveScan(work.temporary, bytes, work.ranks, work.ranks, AddRanks(), n, stream);
  launch(stream, strided, list_cells<T>, inverse, work);
  launch(stream, strided_blocks(n * 32), piece_moments<T>, pos.n, temperature, inverse, work);
  launch(stream, strided_blocks(n * 32), cell_moments<T>, work);
  launch(stream, strided_blocks(n * N), combine<T>, work);
  launch(stream, kSums, sum_stretches, work.cell_value, int64_t(0), work.n_cells, work.partial);
  launch(stream, 1, finish<T>, work.partial, work.summary, value, int64_t(1));
  if (pos.grad != nullptr) launch(stream, strided, scatter<T>, pos, neg, temperature, inverse, work);
}

}  // namespace heterad::cuda
