#include "schedulers/compare/options.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "kernels/error.h"
#include "schedulers/compare/text.h"

namespace flyball {
namespace {

// Flags as they are given, before their lists are taken apart.
struct Flags {
  std::string models = "mnist_cnn", data, schedules = "constant,adaptive", rates = "1e-3";
  std::string out, threshold, preset;
  int64_t seeds = 3, epochs = 3;
  int jobs = 0;
  bool scale = false, keep_weights = false, estimate = false;
};

struct Preset {
  const char* name;
  const char* what;
  std::vector<std::string> flags;
  std::vector<std::string> model_flags;
};

const std::vector<Preset>& presets() {
  static const std::vector<Preset> all{
      {"small",
       "four schedules on the MNIST sample, scaled to the length of the run",
       {"--model", "mnist_cnn", "--schedules", "constant,step,exponential,adaptive", "--lrs",
        "1e-3", "--seeds", "3", "--epochs", "5", "--scale-schedules", "--threshold", "0.95"},
       {"--eval-every", "19"}},
      {"paper",
       "the full experiment; needs --data, a folder with mnist/, cifar10/ and imdb/",
       {"--model", "mnist_cnn,cifar10_resnet18,imdb_bilstm", "--schedules",
        "constant,step,exponential,adaptive", "--lrs", "1e-5,1e-4,1e-3,1e-2,1e-1", "--seeds", "5",
        "--epochs", "50"},
       {"--batch-size", "64", "--optimizer", "adam"}}};
  return all;
}

void add_flags(CLI::App& app, Flags& flags) {
  app.option_defaults()->take_last();
  app.add_option("--model", flags.models, "model binaries beside this one, separated by commas")
      ->capture_default_str();
  app.add_option("--data", flags.data,
                 "folder with the data sets (default: the samples in the repository)");
  app.add_option("--schedules", flags.schedules,
                 "rules, separated by commas; with options: NAME:KEY=VALUE[:KEY=VALUE ...]")
      ->capture_default_str();
  app.add_option("--lrs", flags.rates, "initial learning rates, separated by commas")
      ->capture_default_str();
  app.add_option("--seeds", flags.seeds, "runs of each: seeds 1 to this")->capture_default_str();
  app.add_option("--epochs", flags.epochs, "of each run")->capture_default_str();
  app.add_option("--out", flags.out,
                 "results folder; one that holds runs is continued (default: runs/compare-PRESET)");
  app.add_option("--jobs", flags.jobs, "runs at the same time (default: one per core)");
  app.add_flag("--scale-schedules", flags.scale,
               "step and exponential decay as over 50 epochs, over a run of any length");
  app.add_option("--threshold", flags.threshold,
                 "when a validation counts as converged: accuracy=VALUE or loss=VALUE (default: "
                 "by model)");
  app.add_flag("--keep-weights", flags.keep_weights, "do not remove the weights of finished runs");
  app.add_flag("--estimate", flags.estimate, "measure how long it will take, print it and stop");
  app.add_option("--preset", flags.preset,
                 "flags that belong together, see below; flags beside it win");
}

std::string footer() {
  std::string text =
      "Flags after -- go to the model binaries: compare_schedules --seeds 5 -- --batch-size 32\n"
      "Presets:\n";
  for (const Preset& preset : presets()) {
    text +=
        str("  ", preset.name, ": ", preset.what, "\n    ", join_texts(preset.flags, " "),
            preset.model_flags.empty() ? "" : " -- " + join_texts(preset.model_flags, " "), '\n');
  }
  return text;
}

const Preset& find_preset(const std::string& name) {
  std::vector<std::string> names;
  for (const Preset& preset : presets()) {
    if (preset.name == name) return preset;
    names.emplace_back(preset.name);
  }
  throw Error(str("--preset is '", name, "', expected one of: ", join_texts(names, ", ")));
}

void parse(CLI::App& app, std::vector<std::string> arguments) {
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them last to first
  app.clear();
  try {
    app.parse(arguments);
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help();
    std::exit(0);
  } catch (const CLI::ParseError& error) {
    const std::string text = error.what();
    throw Error(str(text.substr(0, text.find('\n')), " (--help lists the flags)"));
  }
}

// Each run gets these from the grid.
void check_model_flags(const std::vector<std::string>& flags) {
  static const std::vector<std::string> ours{"--schedule",  "--schedule-option",
                                             "--lr",        "--seed",
                                             "--epochs",    "--out",
                                             "--json",      "--data",
                                             "--threads",   "--overwrite",
                                             "--eval-only", "--checkpoint",
                                             "--resume"};
  for (const std::string& flag : flags) {
    const std::string name = flag.substr(0, flag.find('='));
    if (std::find(ours.begin(), ours.end(), name) != ours.end()) {
      throw Error(str(name,
                      " after --: every run gets its own from compare_schedules, expected "
                      "it before -- or not at all"));
    }
  }
}

void check_models(const std::vector<std::string>& models, const std::filesystem::path& binaries) {
  std::vector<std::string> there;
  for (const char* name : {"mnist_mlp", "mnist_cnn", "cifar10_resnet18", "imdb_bilstm"}) {
    if (access((binaries / name).c_str(), X_OK) == 0) there.emplace_back(name);
  }
  for (const std::string& model : models) {
    if (std::find(there.begin(), there.end(), model) != there.end()) continue;
    throw Error(str("--model is '", model, "', expected one of those beside this program: ",
                    there.empty() ? "none is there" : join_texts(there, ", ")));
  }
}

int cores() { return static_cast<int>(std::max(1U, std::thread::hardware_concurrency())); }

}  // namespace

CompareOptions parse_compare_options(int argc, const char* const* argv,
                                     const std::filesystem::path& binaries) {
  Flags flags;
  CLI::App app(
      "Trains every combination of model, schedule, initial rate and seed, and compares "
      "them.",
      "compare_schedules");
  add_flags(app, flags);
  app.footer(footer());
  const std::vector<std::string> given(argv + 1, argv + argc);
  const auto dashes = std::find(given.begin(), given.end(), "--");
  std::vector<std::string> model_flags(dashes == given.end() ? dashes : dashes + 1, given.end());
  std::vector<std::string> arguments(given.begin(), dashes);
  parse(app, arguments);
  check_model_flags(model_flags);
  const std::string preset_name = flags.preset;
  if (!preset_name.empty()) {
    const Preset& preset = find_preset(preset_name);
    arguments.insert(arguments.begin(), preset.flags.begin(), preset.flags.end());
    model_flags.insert(model_flags.begin(), preset.model_flags.begin(), preset.model_flags.end());
    flags = Flags{};
    parse(app, arguments);
  }
  if (preset_name == "paper" && flags.data.empty())
    throw Error("--preset paper: expected --data, a folder with mnist/, cifar10/ and imdb/");
  if (flags.epochs < 1 || flags.epochs > 1000000)
    throw Error(str("--epochs is ", flags.epochs, ", expected 1 to 1000000"));
  if (flags.jobs < 0 || flags.jobs > cores() || (flags.jobs == 0 && app.count("--jobs") > 0))
    throw Error(str("--jobs is ", flags.jobs, ", expected 1 to ", cores(), ", the cores here"));

  const std::vector<std::string> models = split_text(flags.models, ',');
  check_models(models, binaries);
  std::vector<ModelPlan> tasks;
  tasks.reserve(models.size());
  for (const std::string& model : models) {
    tasks.push_back({.model = model,
                     .data = flags.data,
                     .epochs = flags.epochs,
                     .flags = model_flags,
                     .threshold = flags.threshold.empty() ? default_threshold(model)
                                                          : parse_threshold(flags.threshold)});
  }
  std::vector<std::string> schedules = split_text(flags.schedules, ',');
  for (std::string& schedule : schedules) {
    parse_schedule(schedule);
    if (flags.scale) schedule = scaled_schedule(schedule);
  }
  std::vector<double> rates;
  for (const std::string& rate : split_text(flags.rates, ','))
    rates.push_back(parse_number("--lrs", rate));

  CompareOptions options;
  options.plan = make_plan(tasks, schedules, rates, flags.seeds);
  options.runner.binaries = binaries;
  options.runner.out = !flags.out.empty()    ? flags.out
                       : preset_name.empty() ? "runs/compare"
                                             : "runs/compare-" + preset_name;
  options.runner.jobs = flags.jobs == 0 ? cores() : flags.jobs;
  options.runner.threads = std::max(1, cores() / options.runner.jobs);
  options.runner.keep_weights = flags.keep_weights;
  options.estimate_only = flags.estimate;
  options.estimate = flags.estimate || preset_name == "paper" || tasks.size() > 1;
  return options;
}

}  // namespace flyball
