#include "tests/simulated_gpu/runtime/work.h"

#include <cstdio>
#include <cstring>

#include "tests/simulated_gpu/runtime/host_guard.h"
#include "tests/simulated_gpu/runtime/memory.h"
#include "tests/simulated_gpu/runtime/report.h"

namespace flyball::simulated_gpu::runtime {
namespace {

std::string text_of(const KernelWork& work) {
  char shape[120];
  std::snprintf(shape, sizeof shape, " <<<(%u,%u,%u), (%u,%u,%u)>>>", work.grid.x, work.grid.y,
                work.grid.z, work.block.x, work.block.y, work.block.z);
  return "kernel " + work.kernel->readable_name() + shape;
}
std::string text_of(const CopyWork& work) {
  const auto side = [](const void* data) {
    switch (Memory::get().kind_of(data)) {
      case MemoryKind::kPageable:
        return "pageable host";
      case MemoryKind::kPinned:
      case MemoryKind::kRegistered:
        return "pinned host";
      case MemoryKind::kManaged:
        return "managed";
      default:
        return "device";
    }
  };
  return "copy of " + std::to_string(work.width * work.height) + " bytes from " + side(work.from) +
         " to " + side(work.to) + " memory";
}
std::string text_of(const SetWork& work) {
  return "memset of " + std::to_string(work.width * work.element_bytes * work.height) + " bytes";
}
std::string text_of(const HostWork&) { return "host function"; }
std::string text_of(const EmptyWork&) { return "empty node"; }
std::string text_of(const ChildWork&) { return "child graph"; }

size_t span(size_t pitch, size_t width, size_t height) {
  return height == 0 ? 0 : pitch * (height - 1) + width;
}

// One run of a piece of work, with what its checks need.
struct Run {
  const Clock& clock;
  Stamp stamp;
  const SitePointer& site;
  bool host_waits;

  void touch_rows(const void* data, size_t pitch, size_t width, size_t height, bool writes) const {
    // Pageable memory is the host's: the call reads it before it returns, or returns after it is
    // written.
    const MemoryKind kind = Memory::get().kind_of(data);
    if (kind == MemoryKind::kPageable) return;
    const auto begin = reinterpret_cast<uintptr_t>(data);
    const bool dense = pitch == width;
    const size_t rows = dense ? 1 : height, bytes = dense ? width * height : width;
    for (size_t row = 0; row < rows; ++row)
      Ordering::get().touch(begin + row * pitch, bytes, writes, clock, stamp, site);
    if (kind == MemoryKind::kPinned && !host_waits && Ordering::get().enabled())
      HostGuard::get().add(begin, span(pitch, width, height), writes, stamp, site);
  }

  void operator()(const KernelWork& work) const {
    std::vector<void*> arguments;
    for (const auto& argument : work.arguments)
      arguments.push_back(const_cast<std::byte*>(argument.data()));
    static const Options asked = [] {
      Options from = Options::from_environment();
      from.touched = Ordering::get().enabled();
      return from;
    }();
    Options options = asked;
    options.count = reports_kernels();
    const LaunchReport report = work.kernel->binary->module().launch(
        work.kernel->name, work.grid, work.block, work.shared_bytes, arguments.data(), options,
        work.cooperative);
    add_to_report(work.kernel->readable_name(), report);
    for (const TouchedRange& range : report.touched)
      Ordering::get().touch(range.begin, range.end - range.begin, range.written, clock, stamp,
                            site);
  }

  void operator()(const CopyWork& work) const {
    touch_rows(work.from, work.from_pitch, work.width, work.height, false);
    touch_rows(work.to, work.to_pitch, work.width, work.height, true);
    auto* to = static_cast<char*>(work.to);
    const auto* from = static_cast<const char*>(work.from);
    for (size_t row = 0; row < work.height; ++row) {
      std::memmove(to + row * work.to_pitch, from + row * work.from_pitch, work.width);
      if (Memory::get().find(to))
        Memory::get().device().mark_initialised(to + row * work.to_pitch, work.width);
    }
  }

  void operator()(const SetWork& work) const {
    const size_t bytes = work.width * work.element_bytes;
    touch_rows(work.to, work.pitch, bytes, work.height, true);
    for (size_t row = 0; row < work.height; ++row) {
      char* to = static_cast<char*>(work.to) + row * work.pitch;
      if (work.element_bytes == 1) {
        std::memset(to, static_cast<int>(work.value), bytes);
      } else {
        for (size_t i = 0; i < work.width; ++i)
          std::memcpy(to + i * work.element_bytes, &work.value, work.element_bytes);
      }
      Memory::get().device().mark_initialised(to, bytes);
    }
  }

  void operator()(const HostWork& work) const {
    inside_host_function() = true;
    work.function(work.data);
    inside_host_function() = false;
  }
  void operator()(const EmptyWork&) const {}
  void operator()(const ChildWork&) const {}
};

// The code that a device would give for what the report tells.
cudaError_t error_of(const std::string& fault) {
  const auto tells = [&](const char* word) { return fault.find(word) != std::string::npos; };
  if (tells("out of bounds") || tells("use after free")) return cudaErrorIllegalAddress;
  if (tells("misaligned")) return cudaErrorMisalignedAddress;
  if (tells("assert")) return cudaErrorAssert;
  return cudaErrorLaunchFailure;
}

}  // namespace

std::string describe(const Work& work) {
  return std::visit([](const auto& alternative) { return text_of(alternative); }, work);
}

void check(const CopyWork& work, cudaMemcpyKind kind) {
  const Memory& memory = Memory::get();
  if (work.width == 0 || work.height == 0) return;
  require(work.to && work.from, cudaErrorInvalidValue);
  require(work.to_pitch >= work.width && work.from_pitch >= work.width, cudaErrorInvalidPitchValue);
  require(kind >= cudaMemcpyHostToHost && kind <= cudaMemcpyDefault,
          cudaErrorInvalidMemcpyDirection);
  // Pageable memory is never the device's side; device memory is never the host's.
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  const MemoryKind to = memory.kind_of(work.to), from = memory.kind_of(work.from);
  const auto agrees = [](MemoryKind found, bool device) {
    if (found == MemoryKind::kDevice || found == MemoryKind::kSymbol) return device;
    return found != MemoryKind::kPageable || !device;
  };
  if (kind != cudaMemcpyDefault && !(agrees(to, to_device) && agrees(from, from_device))) {
    Errors::get().problem(
        "a copy's kind disagrees with its pointers (device memory that was freed counts as the "
        "host's): " +
        describe(work) + ", called from " + CallSite::here().describe());
    throw Failure{cudaErrorInvalidValue};
  }
  memory.check_range(work.to, span(work.to_pitch, work.width, work.height),
                     "destination of a copy");
  memory.check_range(work.from, span(work.from_pitch, work.width, work.height), "source of a copy");
}

void check(const SetWork& work) {
  if (work.width == 0 || work.height == 0) return;
  const size_t bytes = work.width * work.element_bytes;
  require(Memory::get().find(work.to), cudaErrorInvalidValue);
  require(work.height == 1 || work.pitch >= bytes, cudaErrorInvalidPitchValue);
  Memory::get().check_range(work.to, span(work.pitch, bytes, work.height), "range of a memset");
}

void perform(const Work& work, const Clock& clock, Stamp stamp, const SitePointer& site,
             bool host_waits) {
  const HostGuardOpen open;
  try {
    std::visit(Run{clock, stamp, site, host_waits}, work);
  } catch (const Fault& fault) {
    const std::string text = fault.what();
    Errors::get().problem(text + "\n    " + site->describe());
    Errors::get().set_sticky(error_of(text));
  }
}

}  // namespace flyball::simulated_gpu::runtime
