#pragma once

#include "datasets/mnist.h"
#include "models/image_task.h"

namespace flyball {

// A task on MNIST, or on the sample in the repository.
inline std::unique_ptr<Task> mnist_task(
    BinaryDescription binary, std::function<Model(const RunOptions&, Initializer&)> make_model) {
  return std::make_unique<ImageTask>(ImageTask::Parts{
      .binary = std::move(binary),
      .classes = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"},
      .load =
          [](const std::filesystem::path& folder, Part part) {
            return load_mnist(folder, part == Part::test ? MnistSplit::test : MnistSplit::train);
          },
      .sample_folder = mnist_sample_folder,
      .layout = mnist_layout(),
      .make_model = std::move(make_model)});
}

}  // namespace flyball
