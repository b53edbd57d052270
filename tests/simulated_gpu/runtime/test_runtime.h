#pragma once

#include <cuda_runtime.h>
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

// Shared by the tests of the replaced runtime, which run with it preloaded.
namespace flyball::simulated_gpu {

#define CHECK_CUDA(call) CHECK(std::string(cudaGetErrorName(call)) == "cudaSuccess")
#define CHECK_ERROR(call, expected)                                                        \
  do {                                                                                     \
    CHECK(std::string(cudaGetErrorName(call)) == std::string(cudaGetErrorName(expected))); \
    cudaGetLastError();                                                                    \
  } while (0)

template <typename Function>
Function* runtime_function(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
}

inline unsigned long long host_synchronizations() {
  return runtime_function<unsigned long long()>("simulated_gpu_host_synchronizations")();
}

// The problems reported since the last call; they no longer make the process fail.
inline std::string take_problems() {
  std::vector<char> text(1 << 16);
  runtime_function<int(char*, size_t)>("simulated_gpu_take_problems")(text.data(), text.size());
  return text.data();
}

inline bool contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return true;
  MESSAGE("expected \"" << part << "\" in: " << text);
  return false;
}

struct Outcome {
  int status = 0;
  std::string output;
};

// Runs one skipped test case of this program in a process of its own, under more environment.
inline Outcome run_alone(const std::string& test_case, const std::string& environment) {
  const std::string command = environment + " /proc/" + std::to_string(getpid()) +
                              "/exe --no-skip -tc='" + test_case + "' 2>&1";
  std::FILE* pipe = popen(command.c_str(), "r");
  Outcome outcome;
  char buffer[4096];
  while (const size_t bytes = std::fread(buffer, 1, sizeof buffer, pipe))
    outcome.output.append(buffer, bytes);
  const int status = pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

template <typename T>
struct DeviceArray {
  explicit DeviceArray(size_t count) { cudaMalloc(&data, count * sizeof(T)); }
  ~DeviceArray() { cudaFree(data); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  operator T*() const { return data; }
  T* data = nullptr;
};

struct Stream {
  explicit Stream(unsigned flags = cudaStreamNonBlocking) {
    cudaStreamCreateWithFlags(&stream, flags);
  }
  ~Stream() { cudaStreamDestroy(stream); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  operator cudaStream_t() const { return stream; }
  cudaStream_t stream = nullptr;
};

struct Event {
  explicit Event(unsigned flags = cudaEventDisableTiming) {
    cudaEventCreateWithFlags(&event, flags);
  }
  ~Event() { cudaEventDestroy(event); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  operator cudaEvent_t() const { return event; }
  cudaEvent_t event = nullptr;
};

struct Graph {
  ~Graph() {
    if (exec) cudaGraphExecDestroy(exec);
    if (graph) cudaGraphDestroy(graph);
  }
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
};

template <typename Work>
void capture(Graph& result, cudaStream_t stream, Work&& work) {
  CHECK_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  work();
  CHECK_CUDA(cudaStreamEndCapture(stream, &result.graph));
}

}  // namespace flyball::simulated_gpu
