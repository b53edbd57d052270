#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "framework/data_loader.h"
#include "framework/init.h"
#include "framework/trainer.h"
#include "models/run_options.h"

namespace flyball {

// A network with the function the trainer calls.
struct Model {
  std::unique_ptr<Module> module;
  ForwardFunction forward;
};

// Networks of sequences take tokens and lengths, others take the batch's x.
template <class Network, class... Arguments>
Model make_model(Initializer& init, Arguments&&... arguments) {
  auto network = std::make_unique<Network>(init, std::forward<Arguments>(arguments)...);
  ForwardFunction forward = [raw = network.get()](const Context& context, const Batch& batch) {
    if constexpr (requires { raw->forward(context, batch.x, batch.lengths); }) {
      return raw->forward(context, batch.x, batch.lengths);
    } else {
      return raw->forward(context, Variable(batch.x));
    }
  };
  return {std::move(network), std::move(forward)};
}

enum class Part : uint8_t { training, test };
enum class Use : uint8_t { training, evaluation };

// A labelled set as a task reads it.
class LabelledSet {
 public:
  virtual ~LabelledSet() = default;
  virtual const std::string& name() const = 0;
  virtual int64_t size() const = 0;
  // For training: shuffled by the run's seed, and augmented where the options say so.
  virtual std::unique_ptr<DataLoader> loader(const Stream& stream, std::vector<int64_t> indices,
                                             const RunOptions& options, Use use) const = 0;
};

// What a model binary is about: its flags, its data, its network, and what the network needs to
// know of its training data.
class Task {
 public:
  virtual ~Task() = default;
  virtual const BinaryDescription& binary() const = 0;
  virtual const std::vector<std::string>& classes() const = 0;

  // Reads options.dataset from options.data. The training part comes first, or restore(). Throws
  // Error.
  virtual std::unique_ptr<LabelledSet> load(const RunOptions& options, Part part) = 0;
  virtual Model make_model(const RunOptions& options, Initializer& init) const = 0;

  // What belongs to the weights but is none, in the files of a run folder.
  virtual void save(const std::filesystem::path& /*folder*/) const {}
  virtual void restore(const std::filesystem::path& /*folder*/) {}

  // Inputs of a user, labelled by their places 0, 1, ..: image files, or texts. Throws Error.
  virtual bool reads_texts() const = 0;
  virtual std::unique_ptr<LabelledSet> inputs(const RunOptions& options,
                                              const std::vector<std::string>& inputs) const = 0;
};

// The tasks by the names of their binaries; throws Error, listing the names, where there is none.
std::unique_ptr<Task> make_task(const std::string& name);

}  // namespace flyball
