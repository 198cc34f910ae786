#include "isa.h"

#include <cstdlib>
#include <cstring>
#include <pthread.h>

namespace heterad {
namespace {

bool forked = false;
const int at_fork = pthread_atfork(nullptr, nullptr, [] { forked = true; });

Isa detect() {
  Isa best = Isa::baseline;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) best = Isa::avx2;
  if (best == Isa::avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    best = Isa::avx512;
#endif
  if (const char* wanted = std::getenv("HETERAD_ISA")) {
    if (!std::strcmp(wanted, "baseline")) return Isa::baseline;
    if (!std::strcmp(wanted, "avx2") && best == Isa::avx512) return Isa::avx2;
  }
  return best;
}

}  // namespace

Isa isa() {
  static const Isa found = detect();
  return found;
}

const char* isa_name() {
  return isa() == Isa::avx512 ? "avx512" : isa() == Isa::avx2 ? "avx2" : "baseline";
}

int team(int threads) { return forked || threads < 1 ? 1 : threads; }

}  // namespace heterad
