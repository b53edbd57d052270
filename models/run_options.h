#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace flyball {

// How texts become token sequences, and the network for them.
struct TextOptions {
  int64_t vocabulary = 30000;  // tokens at most, <pad> and <unk> among them
  int64_t min_count = 2;       // tokens that occur less often in the training split are <unk>
  int64_t max_length = 400;    // tokens of a text that are kept
  std::string keep = "both";   // of a longer one: head, tail or both halves
  int64_t embedding = 100, hidden = 128, layers = 1;
  std::string pool = "mean";  // over time: mean, max or last
  double dropout = 0.5;
};

// What the flags of a model binary say.
struct RunOptions {
  std::string model;    // "mnist_cnn": the binary's name
  std::string variant;  // where the model has variants
  int64_t width = 0;    // where the model has widths
  TextOptions text;     // where the model reads texts
  std::string data;     // folder; empty: what comes with the program
  std::string dataset;  // where the model has several: one of them
  int64_t epochs = 3;
  int64_t batch_size = 64;
  double learning_rate = 1e-3;
  std::string schedule = "adaptive";
  std::vector<std::string> schedule_options;  // "key=value"
  uint64_t seed = 1;
  std::string device = "cpu";
  std::string residence = "auto";
  bool eager = false;
  std::string recompute = "auto";
  std::string precision = "fp32";
  int threads = 0;  // 0: one per core
  std::string out;  // run folder; empty: runs/MODEL-DATE-TIME
  bool overwrite = false;
  int64_t limit_train = 0, limit_eval = 0;  // samples; 0: all
  double validation_fraction = 0.1;
  std::string optimizer = "adam";
  double weight_decay = 0, clip_norm = 0;
  std::string augment = "none";
  double label_smoothing = 0;
  bool zero_last_gamma = false;            // where the model has widths
  int64_t eval_every = 0, save_every = 0;  // steps; 0: each epoch
  int64_t keep_checkpoints = 3;            // 0: all
  std::string resume;                      // the folder of a run to go on with
  bool eval_only = false;
  std::string checkpoint;  // with eval_only: a run folder or a .safetensors file
  bool json = false;       // the summary as one JSON line on standard output, nothing else there
};

// Flags that a name stands for; flags given beside it win.
struct Preset {
  std::string name;
  std::string what;
  std::vector<std::string> flags;
};

// What a binary adds to the common flags.
struct BinaryDescription {
  std::string model;
  std::string what;                   // one line for --help
  std::vector<std::string> variants;  // the first is the default; empty: no --variant flag
  int64_t default_epochs = 3;
  int64_t default_width = 0;  // 0: no --width and no --zero-last-gamma flag
  // Sets that --data may hold, the first by default, the last one generated where there is no
  // --data; empty: one set, no --dataset flag.
  std::vector<std::string> datasets = {};
  bool texts = false;  // whether TextOptions apply, or else image augmentation
  std::vector<Preset> presets;
};

// Reads the command line. Prints the help and exits for --help; throws Error on anything wrong.
RunOptions parse_run_options(const BinaryDescription& binary, int argc, char** argv);

}  // namespace flyball
