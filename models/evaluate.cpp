// Scores a saved model on a set.

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <thread>

#include "framework/progress.h"
#include "kernels/cpu/parallel.h"
#include "models/command_line.h"
#include "models/process_settings.h"
#include "models/run_config.h"
#include "models/saved_model.h"
#include "models/terminal.h"

namespace flyball {
namespace {

struct Options {
  std::string checkpoint, data, dataset, part = "test", device = "cpu", precision = "fp32";
  int64_t limit = 0, batch_size = 64;
  int threads = 0;
  bool json = false;
};

Options parse(int argc, char** argv) {
  Options options;
  CLI::App app("Scores a saved model on a set: loss, accuracy, speed, confusion matrix.",
               "evaluate");
  app.option_defaults()->take_last();
  app.add_option(
         "--checkpoint", options.checkpoint,
         "a run folder (its final weights), or weights in one, such as its best.safetensors")
      ->required();
  app.add_option("--data", options.data,
                 "folder with the data set (default: what comes with the program)");
  app.add_option("--dataset", options.dataset,
                 "where the model reads several kinds (default: that of its training)");
  app.add_option("--part", options.part, "training or test")->capture_default_str();
  app.add_option("--limit", options.limit, "score only so many samples (default: all)");
  app.add_option("--batch-size", options.batch_size, "samples a step")->capture_default_str();
  app.add_option("--device", options.device, "cpu, cuda or cuda:INDEX")->capture_default_str();
  app.add_option("--precision", options.precision, "fp32, tf32 or bf16 (with cuda)")
      ->capture_default_str();
  app.add_option("--threads", options.threads, "CPU threads (default: one per core)");
  app.add_flag("--json", options.json, "print one JSON line and nothing else");
  parse_command_line(app, argc, argv);
  const auto require = [](const char* flag, auto value, bool good, const char* expected) {
    if (!good) throw Error(str(flag, " is ", value, ", expected ", expected));
  };
  require("--part", options.part, options.part == "test" || options.part == "training",
          "training or test");
  require("--limit", options.limit, options.limit >= 0, "at least 0");
  require("--batch-size", options.batch_size,
          options.batch_size >= 1 && options.batch_size <= 1000000000, "1 to 1000000000");
  require("--threads", options.threads, options.threads >= 0 && options.threads <= 1024,
          "1 to 1024");
  if (options.threads == 0)
    options.threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  return options;
}

// The set to score: what the flags say, else what the model was trained on.
void choose_set(const Options& options, const BinaryDescription& binary, RunOptions& run) {
  run.data = options.data;
  run.batch_size = options.batch_size;
  if (binary.datasets.empty()) {
    if (options.dataset.empty()) return;
    throw Error(str("--dataset is '", options.dataset, "': ", binary.model,
                    " reads one kind of set, expected no --dataset"));
  }
  if (!options.dataset.empty()) run.dataset = options.dataset;
  const std::string& generated = binary.datasets.back();
  if (std::find(binary.datasets.begin(), binary.datasets.end(), run.dataset) ==
      binary.datasets.end()) {
    std::string names;
    for (const std::string& name : binary.datasets) names += (names.empty() ? "" : ", ") + name;
    throw Error(str("--dataset is '", run.dataset, "', expected one of: ", names));
  }
  if (options.data.empty() && run.dataset != generated) {
    throw Error(str("--dataset ", run.dataset, ": expected --data, the folder that holds it"));
  }
  if (!options.data.empty() && run.dataset == generated) {
    throw Error(
        str("the model was trained on the ", generated, " set: expected --dataset beside --data"));
  }
}

void print_confusion(const Score& score, const std::vector<std::string>& classes) {
  size_t width = 6;
  for (const std::string& name : classes) width = std::max(width, name.size() + 2);
  const int columns = static_cast<int>(width);
  std::printf("\n  rows: label, columns: answer\n  %*s", columns, "");
  for (const std::string& name : classes) std::printf("%*s", columns, name.c_str());
  std::printf("%*s\n", columns, "recall");
  for (size_t label = 0; label < classes.size(); ++label) {
    int64_t total = 0;
    for (const int64_t count : score.confusion[label]) total += count;
    std::printf("  %*s", columns, classes[label].c_str());
    for (const int64_t count : score.confusion[label])
      std::printf("%*lld", columns, static_cast<long long>(count));
    const double right = static_cast<double>(score.confusion[label][label]);
    const std::string recall = total == 0 ? "-" : percent(right / static_cast<double>(total));
    std::printf("%*s\n", columns, recall.c_str());
  }
}

int evaluate_model(int argc, char** argv) {
  const Options options = parse(argc, argv);
  cpu::set_threads(options.threads);
  const Stream stream(parse_device(options.device));
  const Precision precision = parse_precision(options.precision);
  check_precision(precision, stream.device());
  SavedModel saved = open_model(options.checkpoint, stream);
  choose_set(options, saved.task->binary(), saved.options);
  const bool test = options.part == "test";
  const auto set = saved.task->load(saved.options, test ? Part::test : Part::training);
  const auto loader = set->loader(stream, first_indices(set->size(), options.limit), saved.options,
                                  Use::evaluation);
  const Score result = score(stream, saved, *loader, set->name(), precision);
  if (options.json) {
    Json line{{"model", saved.options.model}, {"checkpoint", options.checkpoint}};
    line.update(evaluation_json(result.evaluation));
    line["classes"] = saved.task->classes();
    line["confusion"] = result.confusion;
    std::cout << text_of(line) << '\n';
    return 0;
  }
  std::printf("\n%s, %s, on %s\n", saved.options.model.c_str(), options.checkpoint.c_str(),
              set->name().c_str());
  print_evaluation(result.evaluation);
  print_confusion(result, saved.task->classes());
  return 0;
}

}  // namespace
}  // namespace flyball

int main(int argc, char** argv) {
  flyball::flush_subnormals();
  return flyball::run_main("evaluate", [&] { return flyball::evaluate_model(argc, argv); });
}
