#pragma once

#include <vector>

#include "framework/module.h"
#include "kernels/adam.h"

namespace flyball {

// All parameters of a model in one flat buffer, their gradients in a second one, so that one launch
// updates everything. Parameters with weight decay come first. Each starts at a multiple of 64
// bytes. With FLYBALL_ALLOCATOR=passthrough a guard gap follows each parameter: bounds checkers
// report accesses there (AddressSanitizer at once, check_guards() on writes).
class ParameterArena {
 public:
  // Moves the module's parameters into the arena: same values, new memory. The module must outlive
  // the arena.
  ParameterArena(const Stream& stream, Module& module);
  ~ParameterArena();
  ParameterArena(const ParameterArena&) = delete;
  ParameterArena& operator=(const ParameterArena&) = delete;

  Tensor& values() { return values_; }
  Tensor& gradients() { return gradients_; }
  // Buffers as large as values(): zeros for moments, a copy of the values for snapshots.
  Tensor new_buffer(const Stream& stream) const;
  Tensor copy_of_values(const Stream& stream) const;
  DType dtype() const { return values_.dtype(); }

  const ParameterSegment* segments() const;  // device memory
  int64_t segment_count() const { return static_cast<int64_t>(host_segments_.size()); }
  const std::vector<ParameterSegment>& host_segments() const { return host_segments_; }

  // Before the optimizer: parameters that no backward pass reached get a zero gradient. After it:
  // gradients are overwritten next time, and graphs that saved the old weights can no longer run
  // back.
  void finish_gradients(const Stream& stream);
  void mark_stepped();

  // Throws Error, naming the parameter, if something wrote behind a parameter or its gradient.
  void check_guards(const Stream& stream) const;

 private:
  struct Slot {
    Named<Parameter> parameter;
    int64_t begin, end, padded_end;  // padded_end: where the next one starts
  };

  void guard(bool on);

  std::vector<Slot> slots_;
  Tensor values_, gradients_;
  std::vector<ParameterSegment> host_segments_;
  Tensor device_segments_;  // bytes
};

}  // namespace flyball
