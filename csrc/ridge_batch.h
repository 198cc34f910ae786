#pragma once
// Work shared out over threads: a batch of tasks, each a number of segments. For kernel sources only.
#include <omp.h>

#include <cstddef>
#include <cstdint>
#include <new>

#include "isa.h"

namespace heterad::HETERAD_ISA {
namespace {

// Hands out aligned pieces of one allocation; without a base it only counts.
struct Arena {
  uintptr_t base = 0;
  int64_t used = 0;

  template <typename T>
  T* take(int64_t count) {
    T* piece = reinterpret_cast<T*>(base + uintptr_t(used));
    used += (count * int64_t(sizeof(T)) + 63) / 64 * 64;
    return piece;
  }
};

struct Buffer {
  void* start;
  explicit Buffer(int64_t bytes) : start(::operator new(std::size_t(bytes), std::align_val_t(64))) {}
  ~Buffer() { ::operator delete(start, std::align_val_t(64)); }
  Buffer(const Buffer&) = delete;
  Arena arena() const { return {reinterpret_cast<uintptr_t>(start)}; }
};

// Of each task: prepare, then its segments on any thread, then finish. What is computed, and in which order it is summed,
// depends neither on the threads nor on the other tasks. A Kernel has
//   State(arena, kernel)   what a task keeps between the three
//   Own(arena, kernel)     scratch of a thread
//   prepare(State&, Own&, task), segment(State&, Own&, task, s), finish(State&, Own&, task), all const
template <typename Kernel>
void run(const Kernel& kernel, int64_t tasks, int64_t segments, int threads) {
  using State = typename Kernel::State;
  using Own = typename Kernel::Own;
  Arena state, own;
  State(state, kernel);
  Own(own, kernel);
  int64_t group = (int64_t(1) << 25) / (state.used + 1);  // tasks at once: 32 MB, or one a thread
  group = group < threads ? threads : group;
  group = tasks < group ? tasks : group;
  const Buffer buffer(group * (state.used + 64) + threads * own.used + group * int64_t(sizeof(State)));
  Arena arena = buffer.arena();
  State* states = arena.take<State>(group);
  for (int64_t k = 0; k < group; ++k) ::new (static_cast<void*>(states + k)) State(arena, kernel);
  for (int64_t first = 0; first < tasks; first += group) {
    const int64_t members = tasks - first < group ? tasks - first : group;
#pragma omp parallel num_threads(threads)
    {
      Arena mine = arena;
      mine.used += omp_get_thread_num() * own.used;
      const Own scratch(mine, kernel);
#pragma omp for schedule(dynamic)
      for (int64_t k = 0; k < members; ++k) kernel.prepare(states[k], scratch, first + k);
#pragma omp for schedule(dynamic)
      for (int64_t item = 0; item < members * segments; ++item)
        kernel.segment(states[item / segments], scratch, first + item / segments, item % segments);
#pragma omp for schedule(dynamic)
      for (int64_t k = 0; k < members; ++k) kernel.finish(states[k], scratch, first + k);
    }
  }
}

}  // namespace
}  // namespace heterad::HETERAD_ISA
