#include "cuda/smoothed_auc.h"

#include "smoothed_auc_cells.cuh"
#include "smoothed_auc_pairs.cuh"

namespace heterad::cuda {
namespace {

#ifndef HETERAD_MOST_PAIRS
#define HETERAD_MOST_PAIRS (1 << 26)
#endif
constexpr double kMostPairs = HETERAD_MOST_PAIRS;  // of a task done by brute force: microseconds, what a sort costs

bool few(int64_t p, int64_t q) { return double(p) * double(q) <= kMostPairs; }

}  // namespace

template <typename T>
std::size_t smoothed_auc_workspace(int64_t batch, int64_t p, int64_t q) {
  Arena arena{nullptr};
  if (few(p, q)) PairWork<T>(arena, batch, p, q);
  else CellWork<T>(arena, p, q);
  return arena.used;
}

template <typename T>
const char* smoothed_auc(Scores<T> pos, Scores<T> neg, double temperature, T* value, int64_t batch, void* workspace,
                         void* stream) {
  if (batch == 0) return nullptr;  // CUDA refuses an empty grid
  const auto queue = static_cast<cudaStream_t>(stream);
  const auto task = [](const Scores<T>& s, int64_t b) {
    const int64_t o = b * s.n;
    return Scores<T>{s.x + o, s.mask ? s.mask + o : nullptr, s.n, s.grad ? s.grad + o : nullptr};
  };
  if (few(pos.n, neg.n)) {
    Arena arena{static_cast<char*>(workspace)};
    by_pairs(pos, neg, temperature, value, batch, arena, queue);
  } else {
    for (int64_t b = 0; b < batch; ++b) {
      Arena arena{static_cast<char*>(workspace)};
      by_cells(task(pos, b), task(neg, b), temperature, value + b, arena, queue);
    }
  }
  return last_error();
}

const char* why_not() {
  cudaFuncAttributes attributes;
  cudaFuncGetAttributes(&attributes, sum_stretches);
  return last_error();
}

template std::size_t smoothed_auc_workspace<float>(int64_t, int64_t, int64_t);
template std::size_t smoothed_auc_workspace<double>(int64_t, int64_t, int64_t);
template const char* smoothed_auc(Scores<float>, Scores<float>, double, float*, int64_t, void*, void*);
template const char* smoothed_auc(Scores<double>, Scores<double>, double, double*, int64_t, void*, void*);

}  // namespace heterad::cuda
