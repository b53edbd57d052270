#pragma once

#include "datasets/mnist.h"
#include "models/run_options.h"

namespace flyball {

// MNIST from --data, or the sample in the repository.
inline ImageData load_mnist_for(const RunOptions& options, bool test) {
  return load_mnist(
      options.data.empty() ? mnist_sample_folder() : std::filesystem::path(options.data),
      test ? MnistSplit::test : MnistSplit::train);
}

}  // namespace flyball
