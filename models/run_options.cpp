#include "models/run_options.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "framework/precision.h"
#include "framework/trainer.h"
#include "models/command_line.h"
#include "schedulers/schedules.h"

namespace flyball {
namespace {

void add_flags(CLI::App& app, RunOptions& options, std::string& preset) {
  app.option_defaults()->take_last();
  app.add_option("--data", options.data,
                 "folder with the data set (default: what comes with the program)");
  app.add_option("--epochs", options.epochs, "passes over the training split")
      ->capture_default_str();
  app.add_option("--batch-size", options.batch_size, "samples a step")->capture_default_str();
  app.add_option("--lr", options.learning_rate, "learning rate; adaptive finds its own")
      ->capture_default_str();
  app.add_option("--schedule", options.schedule, "learning-rate rule, see below")
      ->capture_default_str();
  app.add_option("--schedule-option", options.schedule_options,
                 "key=value, an option of the rule; once for each")
      ->take_all()
      ->type_size(1)
      ->allow_extra_args(false);
  app.add_option("--seed", options.seed,
                 "of initialisation, split, order, dropout and augmentation")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--device", options.device, "cpu, cuda or cuda:INDEX")->capture_default_str();
  app.add_option("--residence", options.residence,
                 "cuda: where the data is kept while training: host, device, or auto (device where "
                 "it takes less than a quarter of the free memory)")
      ->capture_default_str();
  app.add_flag("--eager", options.eager,
               "cuda: enqueue each step's operations one by one rather than replay a graph");
  app.add_option("--recompute", options.recompute,
                 "on: batch norms' results are computed again in the backward pass rather than "
                 "kept, the same numbers in less memory; off; auto: on the CPU")
      ->capture_default_str();
  app.add_option("--precision", options.precision,
                 "of matrix products and convolutions: fp32, tf32 or bf16 (with cuda)")
      ->capture_default_str();
  app.add_option("--threads", options.threads, "CPU threads (default: one per core)");
  app.add_option("--out", options.out, "run folder (default: runs/MODEL-DATE-TIME)");
  app.add_flag("--overwrite", options.overwrite, "write into a folder that already holds a run");
  app.add_option("--limit-train", options.limit_train,
                 "use only so many training samples (default: all)");
  app.add_option("--limit-eval", options.limit_eval,
                 "use only so many samples of the validation and test splits (default: all)");
  app.add_option("--validation-fraction", options.validation_fraction,
                 "share of the training data that is held out, by seed")
      ->capture_default_str();
  app.add_option("--optimizer", options.optimizer, "adam or sgd (momentum 0.9)")
      ->capture_default_str();
  app.add_option("--weight-decay", options.weight_decay,
                 "of weights, not of biases (decoupled with adam)")
      ->capture_default_str();
  app.add_option("--clip-norm", options.clip_norm, "largest norm of the whole gradient, 0: off")
      ->capture_default_str();
  app.add_option("--label-smoothing", options.label_smoothing, "0 <= value < 1")
      ->capture_default_str();
  app.add_option("--eval-every", options.eval_every,
                 "steps between two looks at the validation split (default: an epoch)");
  app.add_option(
      "--save-every", options.save_every,
      "steps between two checkpoints, which then stay when the run is finished (default: an "
      "epoch)");
  app.add_option("--keep-checkpoints", options.keep_checkpoints,
                 "how many of the newest checkpoints stay, 0: all")
      ->capture_default_str();
  app.add_option("--resume", options.resume,
                 "a run folder: go on from its newest checkpoint, with the flags it was started "
                 "with (beside it only --threads and --json)");
  app.add_flag("--eval-only", options.eval_only,
               "score the model of --checkpoint on the test data, train nothing");
  app.add_option("--checkpoint", options.checkpoint,
                 "a run folder or a model.safetensors, for --eval-only");
  app.add_flag("--json", options.json,
               "print the summary as one JSON line and nothing else on standard output");
  app.add_option("--preset", preset, "flags that belong together, see below; flags beside it win");
}

void add_image_flags(CLI::App& app, RunOptions& options) {
  app.add_option(
         "--augment", options.augment,
         "none, flip-rotate (mirror, and rotation by up to 10 degrees) or crop-flip (shift by "
         "up to 4 pixels, and mirror)")
      ->capture_default_str();
}

void add_text_flags(CLI::App& app, TextOptions& text) {
  app.add_option("--vocabulary", text.vocabulary, "tokens the model knows at most")
      ->capture_default_str();
  app.add_option("--min-count", text.min_count,
                 "how often a token occurs in the training split to be one of them")
      ->capture_default_str();
  app.add_option("--max-length", text.max_length, "tokens of a text that are kept")
      ->capture_default_str();
  app.add_option("--keep", text.keep, "which part of a longer text: head, tail or both")
      ->capture_default_str();
  app.add_option("--embedding", text.embedding, "columns of the embedding")->capture_default_str();
  app.add_option("--hidden", text.hidden, "LSTM cells a direction")->capture_default_str();
  app.add_option("--layers", text.layers, "LSTM layers")->capture_default_str();
  app.add_option("--pool", text.pool, "of the states over time: mean, max or last")
      ->capture_default_str();
  app.add_option("--dropout", text.dropout, "before the last layer and between LSTM layers")
      ->capture_default_str();
}

std::string joined(const std::vector<std::string>& names, const char* between) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : between) + name;
  return text;
}

void add_model_flags(CLI::App& app, const BinaryDescription& binary, RunOptions& options) {
  if (binary.texts) {
    add_text_flags(app, options.text);
  } else {
    add_image_flags(app, options);
  }
  if (!binary.datasets.empty()) {
    app.add_option("--dataset", options.dataset,
                   joined(binary.datasets, ", ") + " (default: " + binary.datasets.front() +
                       ", without --data " + binary.datasets.back() + ")");
  }
  if (!binary.variants.empty()) {
    app.add_option("--variant", options.variant, joined(binary.variants, " or "))
        ->capture_default_str();
  }
  if (binary.default_width > 0) {
    app.add_option("--width", options.width, "filters of the first stage")->capture_default_str();
    app.add_flag("--zero-last-gamma", options.zero_last_gamma,
                 "start each block as the identity: its last batch norm's weight is 0");
  }
}

std::string preset_help(const std::vector<Preset>& presets) {
  std::string text;
  for (const Preset& preset : presets) {
    text += (text.empty() ? "Presets:\n  " : "  ") + preset.name + ": " + preset.what + "\n    ";
    for (const std::string& flag : preset.flags) text += flag + ' ';
    text += '\n';
  }
  return text;
}

template <class T>
void require(const char* flag, const T& value, bool good, const char* expected) {
  if (!good) throw Error(str(flag, " is ", value, ", expected ", expected));
}

void require_one_of(const char* flag, const std::string& value,
                    const std::vector<std::string>& names) {
  if (std::find(names.begin(), names.end(), value) != names.end()) return;
  throw Error(str(flag, " is '", value, "', expected one of: ", joined(names, ", ")));
}

void check_text(const TextOptions& text) {
  const auto in_range = [](const char* flag, int64_t value, int64_t low, int64_t high) {
    require(flag, value, value >= low && value <= high, str(low, " to ", high).c_str());
  };
  in_range("--vocabulary", text.vocabulary, 3, 10'000'000);
  in_range("--min-count", text.min_count, 1, 1'000'000);
  in_range("--max-length", text.max_length, 1, 1'000'000);
  in_range("--embedding", text.embedding, 1, 4096);
  in_range("--hidden", text.hidden, 1, 4096);
  in_range("--layers", text.layers, 1, 16);
  require_one_of("--keep", text.keep, {"head", "tail", "both"});
  require_one_of("--pool", text.pool, {"mean", "max", "last"});
  require("--dropout", text.dropout, text.dropout >= 0 && text.dropout < 1, "0 <= value < 1");
}

void check(const RunOptions& options, const BinaryDescription& binary) {
  require("--epochs", options.epochs, options.epochs >= 1 && options.epochs <= 1000000,
          "1 to 1000000");
  require("--batch-size", options.batch_size,
          options.batch_size >= 1 && options.batch_size <= 1000000000, "1 to 1000000000");
  require("--lr", options.learning_rate,
          options.learning_rate > 0 && std::isfinite(options.learning_rate), "a positive number");
  require("--threads", options.threads, options.threads >= 0 && options.threads <= 1024,
          "1 to 1024");
  require("--limit-train", options.limit_train, options.limit_train >= 0, "at least 0");
  require("--limit-eval", options.limit_eval, options.limit_eval >= 0, "at least 0");
  require("--validation-fraction", options.validation_fraction,
          options.validation_fraction >= 0 && options.validation_fraction < 1, "0 <= value < 1");
  require("--weight-decay", options.weight_decay,
          options.weight_decay >= 0 && std::isfinite(options.weight_decay), "at least 0");
  require("--clip-norm", options.clip_norm,
          options.clip_norm >= 0 && std::isfinite(options.clip_norm), "at least 0");
  require("--label-smoothing", options.label_smoothing,
          options.label_smoothing >= 0 && options.label_smoothing < 1, "0 <= value < 1");
  require_one_of("--schedule", options.schedule, schedule_names());
  make_rule(options.schedule, options.learning_rate,
            parse_schedule_options(options.schedule_options));
  require_one_of("--optimizer", options.optimizer, {"adam", "sgd"});
  require_one_of("--residence", options.residence, {"auto", "host", "device"});
  parse_precision(options.precision);
  parse_recompute(options.recompute, {});
  require_one_of("--augment", options.augment, {"none", "flip-rotate", "crop-flip"});
  if (binary.default_width > 0) {
    require("--width", options.width, options.width >= 1 && options.width <= 4096, "1 to 4096");
  }
  if (!binary.variants.empty()) require_one_of("--variant", options.variant, binary.variants);
  if (!options.dataset.empty()) require_one_of("--dataset", options.dataset, binary.datasets);
  if (!options.data.empty() && !binary.datasets.empty() &&
      options.dataset == binary.datasets.back()) {
    throw Error(str("--dataset ", options.dataset, " is generated: expected no --data beside it"));
  }
  if (options.data.empty() && !options.dataset.empty() &&
      options.dataset != binary.datasets.back()) {
    throw Error(str("--dataset ", options.dataset, ": expected --data, the folder that holds it"));
  }
  if (binary.texts) check_text(options.text);
  require("--eval-every", options.eval_every, options.eval_every >= 0, "at least 0");
  require("--keep-checkpoints", options.keep_checkpoints, options.keep_checkpoints >= 0,
          "at least 0");
  require("--save-every", options.save_every, options.save_every >= 0, "at least 0");
  if (options.eval_only && options.checkpoint.empty()) {
    throw Error("--eval-only: expected --checkpoint, a run folder or a model.safetensors");
  }
  if (!options.eval_only && !options.checkpoint.empty()) {
    throw Error("--checkpoint: expected --eval-only beside it, training starts from fresh weights");
  }
}

// A run goes on as it was started: of the other flags none has a say.
void check_resume(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_name();
    if (option->count() == 0 || name == "--resume" || name == "--threads" || name == "--json")
      continue;
    throw Error(str(name,
                    ": expected only --threads and --json beside --resume, the run goes on "
                    "with the flags it was started with"));
  }
}

}  // namespace

RunOptions parse_run_options(const BinaryDescription& binary, int argc, char** argv) {
  RunOptions options;
  options.model = binary.model;
  options.epochs = binary.default_epochs;
  options.width = binary.default_width;
  if (!binary.variants.empty()) options.variant = binary.variants.front();
  std::string preset;
  CLI::App app(binary.what, binary.model);
  add_flags(app, options, preset);
  add_model_flags(app, binary, options);
  app.footer(preset_help(binary.presets) + "Schedules:\n" + schedule_help());
  parse_command_line(app, argc, argv);
  if (!preset.empty()) {
    const auto found =
        std::find_if(binary.presets.begin(), binary.presets.end(),
                     [&](const Preset& candidate) { return candidate.name == preset; });
    if (found == binary.presets.end()) {
      std::vector<std::string> names;
      for (const Preset& candidate : binary.presets) names.push_back(candidate.name);
      require_one_of("--preset", preset, names);
    }
    // The preset's flags first, so that the given ones win; CLI11 takes them last to first.
    std::vector<std::string> flags(found->flags);
    flags.insert(flags.end(), argv + 1, argv + argc);
    std::reverse(flags.begin(), flags.end());
    app.clear();
    parse_command_line(app, flags);
  }
  check(options, binary);
  if (!options.resume.empty()) check_resume(app);
  if (options.dataset.empty() && !binary.datasets.empty()) {
    options.dataset = options.data.empty() ? binary.datasets.back() : binary.datasets.front();
  }
  if (options.threads == 0)
    options.threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  return options;
}

}  // namespace flyball
