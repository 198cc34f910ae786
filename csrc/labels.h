#pragma once
#include <cstdint>

#include "isa.h"

// Labels as they lie in memory, in any dtype: compared as bits, so that no pass converts them. In a floating dtype a
// zero may carry a sign.
namespace heterad {

struct Labels {
  const void* p;
  int width;  // bytes per label
  uint64_t one, sign;
};

}  // namespace heterad

HETERAD_KERNEL(
  template <typename U> struct LabelView {
    const U* p; U one; U keep;
    explicit LabelView(const Labels& y) : p(static_cast<const U*>(y.p)), one(U(y.one)), keep(U(~y.sign)) {}
    bool anomaly(int64_t i) const { return p[i] == one; }
    bool odd(int64_t i) const { return p[i] != one && (p[i] & keep) != 0; }
    bool any_odd(int64_t begin, int64_t n) const {  // in numbers of the labels' width, so that it becomes vectors
      const U* const label = p + begin; const U one = this->one, keep = this->keep; U odd = 0;
      for (int64_t i = 0; i < n; ++i) odd |= label[i] == one ? U(0) : U(label[i] & keep);
      return odd != 0;
    }
  };

  // body(view) with the view of the labels' width
  template <typename Body> auto with_labels(const Labels& y, Body body) {
    switch (y.width) {
      case 1: return body(LabelView<uint8_t>(y));
      case 2: return body(LabelView<uint16_t>(y));
      case 4: return body(LabelView<uint32_t>(y));
      default: return body(LabelView<uint64_t>(y));
    }
  }
)
