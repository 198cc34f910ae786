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

// Of each task: prepare, then its segments, then finish. Many tasks are shared out whole, so that what a task keeps stays in
// a thread's cache; of few the segments are shared out. What is computed, and in which order it is summed, depends neither
// on the threads nor on the other tasks. A Kernel has
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
  const bool whole = tasks >= 8 * threads;
  const int64_t in_turn = tasks / (16 * threads), chunk = in_turn < 1 ? 1 : in_turn < 8 ? in_turn : 8;  // neighbours share pages
  const int64_t count = whole ? threads : tasks;
  const Buffer buffer(count * (state.used + 64 + int64_t(sizeof(State))) + threads * own.used);
  Arena arena = buffer.arena();
  State* states = arena.take<State>(count);
  for (int64_t k = 0; k < count; ++k) ::new (static_cast<void*>(states + k)) State(arena, kernel);
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    const int thread = omp_get_thread_num();
    Arena mine = arena;
    mine.used += thread * own.used;
    const Own scratch(mine, kernel);
    if (whole) {
#pragma omp for schedule(dynamic, chunk)
      for (int64_t b = 0; b < tasks; ++b) {
        kernel.prepare(states[thread], scratch, b);
        for (int64_t s = 0; s < segments; ++s) kernel.segment(states[thread], scratch, b, s);
        kernel.finish(states[thread], scratch, b);
      }
    } else {
#pragma omp for schedule(dynamic)
      for (int64_t b = 0; b < tasks; ++b) kernel.prepare(states[b], scratch, b);
#pragma omp for schedule(dynamic)
      for (int64_t item = 0; item < tasks * segments; ++item)
        kernel.segment(states[item / segments], scratch, item / segments, item % segments);
#pragma omp for schedule(dynamic)
      for (int64_t b = 0; b < tasks; ++b) kernel.finish(states[b], scratch, b);
    }
  }
}

}  // namespace
}  // namespace heterad::HETERAD_ISA
