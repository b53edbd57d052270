#pragma once

#include <any>
#include <functional>
#include <string>
#include <vector>

#include "framework/stream.h"

// What NVIDIA's libraries take for the same work on a CUDA device: same arguments, same outputs.
// They are loaded when they are first asked for; a program runs where they are missing.
namespace flyball::bench {

struct DevicePeer {
  std::string implementation;
  // Enqueues it on the argument struct of a case of the same shape; may be captured.
  std::function<void(const std::any& arguments)> enqueue;
  // Once, after enqueue(), untimed: writes the result where ours lies, if it is elsewhere.
  std::function<void(const std::any& arguments)> deliver{};
};

// What a library has for an argument struct (OpCase::arguments).
struct DevicePeers {
  std::string library;  // empty: it has nothing of the kind
  std::string absent;   // why it offers nothing; empty where it does
  std::vector<DevicePeer> offers{};
};

// cuBLASLt: the fastest of its heuristics' algorithms in 64 MiB of workspace, its own bias and
// ReLU.
DevicePeers offer_cublaslt(const Stream& stream, const std::any& arguments);
// cuDNN: the fastest algorithm that it finds in 256 MiB of workspace, and the fastest deterministic
// one where that is another.
DevicePeers offer_cudnn(const Stream& stream, const std::any& arguments);

// Calls use(arguments) with the first of these types that it holds.
template <class... Arguments, class Use>
bool with_held(const std::any& arguments, Use&& use) {
  const auto try_one = [&]<class One>(const One* held) {
    if (held != nullptr) use(*held);
    return held != nullptr;
  };
  return (try_one(std::any_cast<Arguments>(&arguments)) || ...);
}

}  // namespace flyball::bench
