#include "framework/parameter_arena.h"

#include <algorithm>

#include "framework/allocator.h"
#include "framework/run.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace flyball {
namespace {

constexpr int64_t kAlignment = 16;  // elements: 64 bytes of f32
constexpr int64_t kGuard = 64;      // elements

int64_t aligned(int64_t i) { return (i + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

ParameterArena::ParameterArena(const Stream& stream, Module& module) {
  std::vector<Named<Parameter>> parameters = parameters_of(module);
  if (parameters.empty()) throw Error("parameter arena: the module has no parameters");
  std::stable_partition(parameters.begin(), parameters.end(),
                        [](const Named<Parameter>& parameter) { return parameter.item->decay; });
  const DType dtype = parameters.front().item->variable.dtype();
  const bool guarded = allocator_is_passthrough();
  int64_t end = 0;
  for (const auto& parameter : parameters) {
    const Variable& variable = parameter.item->variable;
    if (variable.dtype() != dtype) {
      throw Error(str("parameter arena: ", parameter.name, " is ", name_of(variable.dtype()),
                      ", expected ", name_of(dtype), " as the first parameter"));
    }
    Slot slot{.parameter = parameter,
              .begin = end,
              .end = end + variable.value().count(),
              .padded_end = 0};
    slot.padded_end = aligned(slot.end) + (guarded ? kGuard : 0);
    end = slot.padded_end;
    // Without gaps neighbours of one kind are one segment; the padding between them is zero and
    // stays zero.
    const int64_t decay = parameter.item->decay ? 1 : 0;
    if (!guarded && !host_segments_.empty() && host_segments_.back().decay == decay) {
      host_segments_.back().end = slot.end;
    } else {
      host_segments_.push_back({slot.begin, slot.end, decay});
    }
    slots_.push_back(slot);
  }
  values_ = Tensor::zeros(stream, {end}, dtype);
  gradients_ = Tensor::zeros(stream, {end}, dtype);
  for (const Slot& slot : slots_) {
    Variable& variable = slot.parameter.item->variable;
    Tensor value = values_.part(slot.begin, variable.shape());
    value.copy_from(stream, variable.value());
    const Shape shape = variable.shape();
    variable = Variable(value, true);
    variable.set_gradient_memory(gradients_.part(slot.begin, shape));
  }
  const auto segment_bytes = static_cast<int64_t>(host_segments_.size() * sizeof(ParameterSegment));
  device_segments_ = Tensor::empty(stream, {segment_bytes}, DType::u8);
  copy_to_device(stream, device_segments_.mutable_raw(), host_segments_.data(), segment_bytes);
  guard(true);
}

ParameterArena::~ParameterArena() { guard(false); }

// Under AddressSanitizer the gaps of values and gradients become forbidden memory; the memory is
// given back clean.
void ParameterArena::guard([[maybe_unused]] bool on) {
#if defined(__SANITIZE_ADDRESS__)
  if (!allocator_is_passthrough()) return;
  const int64_t size = bytes_of(dtype());
  for (const Tensor* tensor : {&values_, &gradients_}) {
    const auto* base = static_cast<const std::byte*>(tensor->raw());
    for (const Slot& slot : slots_) {
      const auto* gap = base + slot.end * size;
      const auto bytes = static_cast<size_t>((slot.padded_end - slot.end) * size);
      if (on) {
        __asan_poison_memory_region(gap, bytes);
      } else {
        __asan_unpoison_memory_region(gap, bytes);
      }
    }
  }
#endif
}

Tensor ParameterArena::new_buffer(const Stream& stream) const {
  return Tensor::zeros(stream, values_.shape(), values_.dtype());
}

// Segment by segment: guard gaps must not be read.
Tensor ParameterArena::copy_of_values(const Stream& stream) const {
  Tensor copy = new_buffer(stream);
  for (const ParameterSegment& segment : host_segments_) {
    const Shape shape{segment.end - segment.begin};
    copy.part(segment.begin, shape).copy_from(stream, values_.part(segment.begin, shape));
  }
  return copy;
}

const ParameterSegment* ParameterArena::segments() const {
  return static_cast<const ParameterSegment*>(device_segments_.raw());
}

void ParameterArena::finish_gradients(const Stream& stream) {
  for (const Slot& slot : slots_) {
    const Variable& variable = slot.parameter.item->variable;
    if (variable.has_gradient()) continue;
    gradients_.part(slot.begin, variable.shape()).fill(stream, 0);
  }
}

void ParameterArena::mark_stepped() {
  for (const Slot& slot : slots_) {
    Variable& variable = slot.parameter.item->variable;
    variable.clear_gradient();
    variable.mutable_value().mark_written();
  }
}

void ParameterArena::check_guards(const Stream& stream) const {
#if defined(__SANITIZE_ADDRESS__)
  if (allocator_is_passthrough())
    return;  // the gaps cannot be read; a write would have been reported
#endif
  for (const Tensor* tensor : {&values_, &gradients_}) {
    const std::vector<double> host = tensor->dtype() == DType::f64
                                         ? tensor->to_host<double>(stream)
                                         : tensor->cast(stream, DType::f64).to_host<double>(stream);
    for (const Slot& slot : slots_) {
      for (int64_t i = slot.end; i < slot.padded_end; ++i) {
        if (host[static_cast<size_t>(i)] == 0) continue;
        throw Error(str("parameter arena: something wrote ", i - slot.end + 1,
                        " elements behind the ", tensor == &values_ ? "values" : "gradient", " of ",
                        slot.parameter.name));
      }
    }
  }
}

}  // namespace flyball
