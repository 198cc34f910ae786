#pragma once

// Every csrc/<op>.cpp is compiled once per instruction set into the namespace heterad::HETERAD_ISA; bindings.cpp picks
// one at run time. Kernel sources use no standard-library templates: the linker would merge their instantiations across
// instruction sets, and a baseline machine could end in AVX-512 code.

namespace heterad {

enum class Isa { baseline, avx2, avx512 };

Isa isa();              // the best that this machine runs, or the lower one named by the variable HETERAD_ISA
const char* isa_name();
int team(int threads);  // threads that a parallel region may use: one in a forked child, where libgomp's pool is gone

}  // namespace heterad

#if defined(__x86_64__) || defined(_M_X64)
#define HETERAD_KERNEL(...)                  \
  namespace heterad::baseline { __VA_ARGS__ } \
  namespace heterad::avx2 { __VA_ARGS__ }     \
  namespace heterad::avx512 { __VA_ARGS__ }
#define HETERAD_CALL(kernel, ...)                                                        \
  (::heterad::isa() == ::heterad::Isa::avx512 ? ::heterad::avx512::kernel(__VA_ARGS__)   \
   : ::heterad::isa() == ::heterad::Isa::avx2 ? ::heterad::avx2::kernel(__VA_ARGS__)     \
                                              : ::heterad::baseline::kernel(__VA_ARGS__))
#else
#define HETERAD_KERNEL(...) namespace heterad::baseline { __VA_ARGS__ }
#define HETERAD_CALL(kernel, ...) ::heterad::baseline::kernel(__VA_ARGS__)
#endif
