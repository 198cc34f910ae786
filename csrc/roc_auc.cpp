#include "roc_auc.h"

#include "radix_sort.h"

namespace heterad::HETERAD_ISA {
namespace {

constexpr int64_t kPairsPerScore = 256;  // up to here comparing all pairs costs less than sorting

template <typename T>
using Key = decltype(ordered_bits(T()));

template <typename T, typename View>
struct Task {
  const T* scores;
  View y;
  const bool* mask;
  int64_t begin, n;

  bool real(int64_t i) const { return mask == nullptr || mask[begin + i]; }
  bool anomaly(int64_t i) const { return y.anomaly(begin + i); }
};

struct Count {
  int64_t pos = 0, neg = 0;
  bool nan = false;
};

template <typename T, typename View>
Count count(const Task<T, View>& task, int64_t begin, int64_t end) {
  int64_t pos = 0, real = 0;
  bool nan = false;
  if (task.mask == nullptr) {
    for (int64_t i = begin; i < end; ++i) pos += task.anomaly(i);
    for (int64_t i = begin; i < end; ++i) nan |= task.scores[task.begin + i] != task.scores[task.begin + i];
    return {pos, end - begin - pos, nan};
  }
  for (int64_t i = begin; i < end; ++i) {
    const bool is_real = task.real(i);
    const T s = task.scores[task.begin + i];
    real += is_real;
    pos += is_real & task.anomaly(i);
    nan |= is_real & (s != s);
  }
  return {pos, real - pos, nan};
}

// Writes the keys of both classes without a branch on the label, which would be mispredicted.
template <typename T, typename View, typename K, typename ToKey>
void split(const Task<T, View>& task, int64_t begin, int64_t end, K* keys, int64_t pos, int64_t neg, ToKey key) {
  for (int64_t i = begin; i < end; ++i) {
    if (!task.real(i)) continue;
    const bool anomaly = task.anomaly(i);
    keys[anomaly ? pos : neg] = key(task.scores[task.begin + i]);
    pos += anomaly;
    neg += !anomaly;
  }
}

// Fills `keys` [task.n] with the anomalies' keys, then the normals'; returns how many, of each none where a score is NaN.
template <typename T, typename View, typename K, typename ToKey>
Count part(const Task<T, View>& task, int threads, K* keys, ToKey key) {
  const int blocks = task.n < (1 << 15) ? 1 : team(threads);
  Count* counts = new Count[blocks];
#pragma omp parallel for num_threads(blocks) if (blocks > 1) schedule(static, 1)
  for (int t = 0; t < blocks; ++t) counts[t] = count(task, task.n * t / blocks, task.n * (t + 1) / blocks);
  Count all;
  for (int t = 0; t < blocks; ++t) {  // each block's counts become its first places
    const Count here = counts[t];
    counts[t] = {all.pos, all.neg, false};
    all = {all.pos + here.pos, all.neg + here.neg, all.nan || here.nan};
  }
  if (all.nan) all = {0, 0, true};
#pragma omp parallel for num_threads(blocks) if (blocks > 1 && !all.nan) schedule(static, 1)
  for (int t = 0; t < blocks * !all.nan; ++t)
    split(task, task.n * t / blocks, task.n * (t + 1) / blocks, keys, counts[t].pos, all.pos + counts[t].neg, key);
  delete[] counts;
  return all;
}

// 2 * (ordered pairs) + ties; counted in numbers of the keys' width, so that lanes match
template <typename K>
uint64_t count_all(const K* pos, int64_t n_pos, const K* neg, int64_t n_neg) {
  constexpr int64_t kBlock = 1 << 24;
  uint64_t total = 0;
  for (int64_t begin = 0; begin < n_neg; begin += kBlock) {
    const int64_t end = begin + kBlock < n_neg ? begin + kBlock : n_neg;
    for (int64_t i = 0; i < n_pos; ++i) {
      const K p = pos[i];
      K sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t j = begin; j < end; ++j) sum += K(neg[j] < p) + K(neg[j] <= p);
      total += sum;
    }
  }
  return total;
}

// How many of sorted `keys` lie below `key`, or (upto) not above it.
template <typename K>
int64_t rank(const K* keys, int64_t n, K key, bool upto) {
  int64_t low = 0, high = n;
  while (low < high) {
    const int64_t mid = low + (high - low) / 2;
    if (upto ? keys[mid] <= key : keys[mid] < key) low = mid + 1;
    else high = mid;
  }
  return low;
}

// The sum over i of rank(pos[i]) in one merge without branches to mispredict.
template <typename K, bool upto>
uint64_t sum_of_ranks(const K* pos, int64_t n_pos, const K* neg, int64_t n_neg) {
  if (n_pos == 0) return 0;
  uint64_t total = 0;
  int64_t i = 0, j = rank(neg, n_neg, pos[0], upto);
  while (i < n_pos && j < n_neg) {
    const bool below = upto ? neg[j] <= pos[i] : neg[j] < pos[i];
    total += below ? 0 : j;
    j += below;
    i += !below;
  }
  return total + uint64_t(n_pos - i) * n_neg;
}

template <typename K>
uint64_t count_sorted(const K* pos, int64_t n_pos, const K* neg, int64_t n_neg, int threads) {
  const int blocks = n_pos + n_neg < (1 << 15) ? 1 : team(threads);
  uint64_t total = 0;
#pragma omp parallel for num_threads(blocks) if (blocks > 1) reduction(+ : total) schedule(static, 1)
  for (int t = 0; t < 2 * blocks; ++t) {
    const int64_t begin = n_pos * (t / 2) / blocks, size = n_pos * (t / 2 + 1) / blocks - begin;
    total += t % 2 ? sum_of_ranks<K, true>(pos + begin, size, neg, n_neg)
                   : sum_of_ranks<K, false>(pos + begin, size, neg, n_neg);
  }
  return total;
}

inline double share(uint64_t twice, int64_t n_pos, int64_t n_neg) { return double(twice) / 2 / (double(n_pos) * double(n_neg)); }

template <typename T, typename View>
double auc_of(const Task<T, View>& task, int threads) {
  using K = Key<T>;
  K* keys = new K[2 * task.n];
  const auto [n_pos, n_neg, nan] = part(task, threads, keys, [](T score) { return ordered_bits(score); });
  uint64_t total = 0;
  if (n_pos && n_neg) {
    K *pos = keys, *neg = keys + n_pos;
    if (n_pos <= kPairsPerScore * (n_pos + n_neg) / n_neg) {
      total = count_all(pos, n_pos, neg, n_neg);
    } else {
      pos = radix_sort(pos, n_pos, keys + task.n, threads);
      neg = radix_sort(neg, n_neg, keys + task.n + n_pos, threads);
      total = count_sorted(pos, n_pos, neg, n_neg, threads);
    }
  }
  delete[] keys;
  return n_pos && n_neg ? share(total, n_pos, n_neg) : __builtin_nan("");
}

// The place of the first real label that is neither 0 nor 1, or -1
template <typename View>
int64_t first_odd(View y, const bool* mask, int64_t n, int threads) {
  constexpr int64_t kBlock = 1 << 14;
  bool odd = false;
#pragma omp parallel for num_threads(team(threads)) if (n > 1 << 15) reduction(| : odd)
  for (int64_t i = 0; i < n; i += kBlock) odd |= y.any_odd(i, n - i < kBlock ? n - i : kBlock);
  if (odd)
    for (int64_t i = 0; i < n; ++i)
      if (y.odd(i) && (mask == nullptr || mask[i])) return i;
  return -1;
}

template <typename T, typename View>
int64_t run(const T* scores, View y, const bool* mask, double* auc, int64_t batch, int64_t n, int threads) {
  if (batch == 1) {
    auc[0] = auc_of(Task<T, View>{scores, y, mask, 0, n}, threads);
  } else {
#pragma omp parallel for num_threads(team(threads)) if (batch * n > 1 << 12) schedule(dynamic)
    for (int64_t b = 0; b < batch; ++b) auc[b] = auc_of(Task<T, View>{scores, y, mask, b * n, n}, 1);
  }
  return first_odd(y, mask, batch * n, threads);
}

}  // namespace

template <typename T>
int64_t roc_auc(const T* scores, Labels y, const bool* mask, double* auc, int64_t batch, int64_t n, int threads) {
  return with_labels(y, [&](auto view) { return run(scores, view, mask, auc, batch, n, threads); });
}

template <typename T>
int64_t roc_auc_part(const T* scores, Labels y, const bool* mask, T* parted, int64_t* sizes, int64_t n, int threads) {
  return with_labels(y, [&](auto view) {
    const Count found = part(Task<T, decltype(view)>{scores, view, mask, 0, n}, threads, parted, [](T score) { return score; });
    sizes[0] = found.pos;
    sizes[1] = found.neg;
    return first_odd(view, mask, n, threads);
  });
}

template <typename T>
double roc_auc_sorted(const T* pos, int64_t n_pos, const T* neg, int64_t n_neg, int threads) {
  return share(count_sorted(pos, n_pos, neg, n_neg, threads), n_pos, n_neg);
}

#define HETERAD_INSTANTIATE(T)                                                                              \
  template int64_t roc_auc(const T*, Labels, const bool*, double*, int64_t, int64_t, int);                  \
  template int64_t roc_auc_part(const T*, Labels, const bool*, T*, int64_t*, int64_t, int);                 \
  template double roc_auc_sorted(const T*, int64_t, const T*, int64_t, int);
HETERAD_INSTANTIATE(float)
HETERAD_INSTANTIATE(double)

}  // namespace heterad::HETERAD_ISA
