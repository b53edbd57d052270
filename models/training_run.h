#pragma once

#include <functional>
#include <memory>

#include "framework/image_data.h"
#include "framework/init.h"
#include "framework/trainer.h"
#include "models/run_options.h"

namespace flyball {

// A network with the function the trainer calls.
struct Model {
  std::unique_ptr<Module> module;
  ForwardFunction forward;
};

template <class Network, class... Arguments>
Model make_model(Initializer& init, Arguments&&... arguments) {
  auto network = std::make_unique<Network>(init, std::forward<Arguments>(arguments)...);
  ForwardFunction forward = [raw = network.get()](const Context& context, const Variable& x) {
    return raw->forward(context, x);
  };
  return {std::move(network), std::move(forward)};
}

// What a binary supplies: its flags, its data and its network.
struct TrainingProgram {
  BinaryDescription binary;
  std::function<ImageData(const RunOptions&, bool test)> load_data;
  std::function<Model(const RunOptions&, Initializer&)> make_model;
};

// The main function of a model binary: parses flags, trains (or scores), writes the run folder,
// prints the summary. Returns the exit code: 0; 2 after one line on standard error for bad input; 1
// for anything unforeseen.
int run_program(const TrainingProgram& program, int argc, char** argv);

}  // namespace flyball
