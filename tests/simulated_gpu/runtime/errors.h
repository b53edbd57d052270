#pragma once

#include <cuda_runtime_api.h>

#include <atomic>
#include <mutex>
#include <string>
#include <utility>

// Error state, the common frame of every API call, and the list of problems that make the process
// fail.
namespace flyball::simulated_gpu::runtime {

// Ends an API call with this code.
struct Failure {
  cudaError_t error;
};

inline void require(bool condition, cudaError_t error) {
  if (!condition) throw Failure{error};
}

// Device and host state change under this lock. Recursive: a host function of a stream runs inside
// a call.
std::recursive_mutex& runtime_mutex();

class Errors {
 public:
  static Errors& get();
  cudaError_t record(
      cudaError_t error);  // becomes the thread's last error unless it is cudaSuccess
  cudaError_t last(bool clear);
  cudaError_t sticky() const { return sticky_; }
  // After a fault the device is lost: every call returns this error until cudaDeviceReset.
  void set_sticky(cudaError_t error) { sticky_ = error; }

  // Prints "simulated GPU: text" to stderr. A process with a problem ends with status 86 at the
  // latest; SIMULATED_GPU_ABORT=1 aborts here.
  void problem(const std::string& text);
  void forget_problems();
  int problems() const { return problems_; }
  std::string problem_texts() const { return texts_; }

 private:
  std::atomic<cudaError_t> sticky_{cudaSuccess};
  int problems_ = 0;
  std::string texts_;
};

cudaError_t not_covered(const char* what);  // prints it; cudaErrorNotSupported

// True in a function that a stream runs on the host: it may not call the API.
bool& inside_host_function();

// The frame of an API call: takes the lock, refuses when the device is lost, records the error.
template <typename Body>
cudaError_t call(Body&& body) {
  Errors& errors = Errors::get();
  if (inside_host_function()) return errors.record(cudaErrorNotPermitted);
  const std::lock_guard lock(runtime_mutex());
  if (errors.sticky() != cudaSuccess) return errors.record(errors.sticky());
  try {
    if constexpr (std::is_void_v<decltype(body())>) {
      std::forward<Body>(body)();
      return cudaSuccess;
    } else {
      return errors.record(std::forward<Body>(body)());
    }
  } catch (const Failure& failure) {
    return errors.record(failure.error);
  }
}

// The program's return addresses above this call, for messages: "main+0x2f, run+0x10".
class CallSite {
 public:
  static CallSite here();
  std::string describe() const;

 private:
  static constexpr int kFrames = 12;
  void* frames_[kFrames] = {};
  int count_ = 0;
};

// Words of the environment. bytes: "512M", "2G".
bool environment_flag(const char* name, bool otherwise);
size_t environment_bytes(const char* name, size_t otherwise);

}  // namespace flyball::simulated_gpu::runtime
