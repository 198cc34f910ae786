#pragma once
#include <cstddef>
#include <cstdint>

#include "scores.h"

namespace heterad::cuda {

// What smoothed_auc.h says, on the current device, all of it queued on `stream` (a cudaStream_t) without waiting.
// `workspace` is device memory of smoothed_auc_workspace<T>(...) bytes. Returns an error's text, or null.
template <typename T>
const char* smoothed_auc(Scores<T> pos, Scores<T> neg, double temperature, T* value, int64_t batch, void* workspace,
                         void* stream);

template <typename T>
std::size_t smoothed_auc_workspace(int64_t batch, int64_t p, int64_t q);

// Why the current device runs nothing of this build, or null.
const char* why_not();

}  // namespace heterad::cuda
