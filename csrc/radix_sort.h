#pragma once
#include <cstdint>

#include "isa.h"

// Stable radix sort of items that a source yields. For kernel sources only: compiled into each instruction set's
// namespace. The order is unique, so it does not depend on the number of threads.
namespace heterad::HETERAD_ISA {
namespace {

constexpr int kDigitBits = 11;

// Bits of floating values whose unsigned order is the values' order; zeros of both signs are equal.
inline uint32_t ordered_bits(float x) {
  const uint32_t u = __builtin_bit_cast(uint32_t, x + 0.0f);
  return u >> 31 ? ~u : u | 0x80000000u;
}
inline uint64_t ordered_bits(double x) {
  const uint64_t u = __builtin_bit_cast(uint64_t, x + 0.0);
  return u >> 63 ? ~u : u | 0x8000000000000000u;
}
inline double from_ordered_bits(uint64_t u) {
  return __builtin_bit_cast(double, u >> 63 ? u & 0x7fffffffffffffffu : ~u);
}

inline int bit_width(uint64_t x) { return x == 0 ? 0 : 64 - __builtin_clzll(x); }

inline uint32_t key_of(uint32_t key) { return key; }
inline uint64_t key_of(uint64_t key) { return key; }

template <typename Item>
struct ArraySource {
  const Item* items;
  template <typename Emit>
  void visit(int64_t begin, int64_t end, Emit emit) const {
    for (int64_t i = begin; i < end; ++i) emit(items[i]);
  }
};

// One counting pass from `source` (n places, of which it yields some) into `out`; returns how many came. `counts` holds
// blocks << bits numbers.
template <typename Item, typename Source>
int64_t radix_pass(const Source& source, int64_t n, int shift, int bits, Item* out, int64_t* counts, int blocks) {
  const int64_t buckets = int64_t(1) << bits, mask = buckets - 1;
#pragma omp parallel for num_threads(blocks) if (blocks > 1) schedule(static, 1)
  for (int t = 0; t < blocks; ++t) {
    int64_t* count = counts + t * buckets;
    for (int64_t d = 0; d < buckets; ++d) count[d] = 0;
    source.visit(n * t / blocks, n * (t + 1) / blocks, [&](const Item& item) { ++count[(key_of(item) >> shift) & mask]; });
  }
  int64_t total = 0;
  for (int64_t d = 0; d < buckets; ++d)
    for (int t = 0; t < blocks; ++t) {
      const int64_t here = counts[t * buckets + d];
      counts[t * buckets + d] = total;
      total += here;
    }
#pragma omp parallel for num_threads(blocks) if (blocks > 1) schedule(static, 1)
  for (int t = 0; t < blocks; ++t) {
    int64_t* place = counts + t * buckets;
    source.visit(n * t / blocks, n * (t + 1) / blocks,
                 [&](const Item& item) { out[place[(key_of(item) >> shift) & mask]++] = item; });
  }
  return total;
}

// Sorts by the low `bits` bits of the keys, between the buffers a and b of n items each. Returns the buffer that holds
// the result and writes the number of items.
template <typename Item, typename Source>
Item* radix_sort(const Source& source, int64_t n, int bits, Item* a, Item* b, int64_t* count, int threads) {
  const int blocks = n < (1 << 15) ? 1 : team(threads);
  const int passes = bits <= kDigitBits ? 1 : (bits + kDigitBits - 1) / kDigitBits;
  const int digit = (bits + passes - 1) / passes;
  int64_t* counts = new int64_t[int64_t(blocks) << digit];
  const int64_t m = radix_pass(source, n, 0, digit, a, counts, blocks);
  for (int pass = 1; pass < passes; ++pass) {
    radix_pass(ArraySource<Item>{a}, m, pass * digit, digit, b, counts, blocks);
    Item* const sorted = b;
    b = a;
    a = sorted;
  }
  delete[] counts;
  *count = m;
  return a;
}

// The same of whole keys that lie in `a`.
template <typename K>
K* radix_sort(K* a, int64_t n, K* b, int threads) {
  int64_t count;
  return radix_sort(ArraySource<K>{a}, n, 8 * int(sizeof(K)), b, a, &count, threads);
}

}  // namespace
}  // namespace heterad::HETERAD_ISA
