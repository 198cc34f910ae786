#pragma once
// Enough of CUDA to run the kernels on a CPU as they are written: the threads of a block are coroutines that hand over at
// every barrier and shuffle, the blocks follow one another. Device memory is memory. Every second block, and every second
// launch, goes backwards, so that what needs a barrier it does not have, or an order of blocks, comes out wrong.
#include <cstdint>
#include <cstring>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include <ucontext.h>

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __launch_bounds__(...)

using std::fabs;  // else a float's is a double
using std::isfinite;

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct uint2 {
  unsigned x, y;
};
typedef struct Stream* cudaStream_t;
enum cudaError_t { cudaSuccess, cudaErrorInvalidConfiguration };
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
};

namespace emulated {
inline cudaError_t fault = cudaSuccess;
}
inline cudaError_t cudaGetLastError() { return std::exchange(emulated::fault, cudaSuccess); }
inline const char* cudaGetErrorString(cudaError_t) { return "invalid configuration argument"; }
struct cudaFuncAttributes {};
template <typename F>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, F) {
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* p, int value, size_t n, cudaStream_t) {
  std::memset(p, value, n);
  return cudaSuccess;
}

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulated {

struct Thread {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  bool done = false;
};
struct Barrier {
  int size = 0, count = 0, generation = 0;
};

inline std::vector<Thread> threads;
inline std::vector<Barrier> warps;
inline std::vector<unsigned long long> slots;
inline Barrier block;
inline ucontext_t scheduler;
inline void (*body)(void*);
inline void* argument;
inline bool backwards = false, blocks_backwards = false;

inline void hand_over() { swapcontext(&threads[threadIdx.x].context, &scheduler); }

inline void wait(Barrier& b) {
  const int generation = b.generation;
  if (++b.count == b.size) {
    b.count = 0;
    ++b.generation;
  }
  while (b.generation == generation) hand_over();
}

inline void enter() {
  body(argument);
  threads[threadIdx.x].done = true;
}

inline void run(dim3 grid, dim3 shape, void (*kernel)(void*), void* arguments) {
  constexpr size_t kStack = 1 << 16;
  body = kernel, argument = arguments, gridDim = grid, blockDim = shape;
  blocks_backwards = !blocks_backwards;
  for (unsigned b = 0; b < grid.x; ++b) {
    backwards = !backwards;
    blockIdx = dim3(blocks_backwards ? grid.x - 1 - b : b);
    threads = std::vector<Thread>(shape.x);
    block = {int(shape.x), 0, 0};
    warps.assign((shape.x + 31) / 32, {32, 0, 0});
    slots.assign(shape.x, 0);
    for (Thread& t : threads) {
      t.stack.reset(new char[kStack]);
      getcontext(&t.context);
      t.context.uc_stack.ss_sp = t.stack.get();
      t.context.uc_stack.ss_size = kStack;
      t.context.uc_link = &scheduler;
      makecontext(&t.context, enter, 0);
    }
    for (bool any = true; any;) {
      any = false;
      for (unsigned k = 0; k < shape.x; ++k)
        if (const unsigned i = backwards ? shape.x - 1 - k : k; !threads[i].done) {
          any = true;
          threadIdx = dim3(i, 0, 0);
          swapcontext(&scheduler, &threads[i].context);
        }
    }
  }
}

template <typename T>
T shuffle(T value, int lane) {
  Barrier& warp = warps[threadIdx.x / 32];
  static_assert(sizeof(T) <= sizeof(slots[0]), "shuffled in one slot");
  std::memcpy(&slots[threadIdx.x], &value, sizeof(T));
  wait(warp);
  std::memcpy(&value, &slots[threadIdx.x / 32 * 32 + lane], sizeof(T));
  wait(warp);
  return value;
}

}  // namespace emulated

inline void __syncthreads() { emulated::wait(emulated::block); }
template <typename T>
T __shfl_sync(unsigned, T value, int lane) {
  return emulated::shuffle(value, lane);
}
template <typename T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return emulated::shuffle(value, int(threadIdx.x % 32) ^ mask);
}
inline unsigned __ballot_sync(unsigned, bool value) {
  emulated::Barrier& warp = emulated::warps[threadIdx.x / 32];
  emulated::slots[threadIdx.x] = value;
  emulated::wait(warp);
  unsigned word = 0;
  for (int lane = 0; lane < 32; ++lane) word |= unsigned(emulated::slots[threadIdx.x / 32 * 32 + lane]) << lane;
  emulated::wait(warp);
  return word;
}
inline unsigned long long atomicAdd(unsigned long long* p, unsigned long long v) {
  *p += v;
  return *p - v;
}

inline float __fdividef(float a, float b) { return a / b; }
template <typename To, typename From>
To bits_of(From x) {
  To y;
  std::memcpy(&y, &x, sizeof(y));
  return y;
}
inline unsigned __float_as_uint(float x) { return bits_of<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return bits_of<float>(x); }
inline long long __double_as_longlong(double x) { return bits_of<long long>(x); }
inline double __longlong_as_double(long long x) { return bits_of<double>(x); }

template <typename... P, typename... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(P...), A... args) {
  const dim3 grid = config->gridDim, block = config->blockDim;
  if (grid.x == 0 || grid.x >= 1u << 31 || block.x > 1024) return emulated::fault = cudaErrorInvalidConfiguration;
  auto call = [&] { kernel(P(args)...); };
  emulated::run(grid, block, [](void* f) { (*static_cast<decltype(call)*>(f))(); }, &call);
  return cudaSuccess;
}
