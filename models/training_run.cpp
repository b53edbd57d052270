#include "models/training_run.h"

#include <cstdio>
#include <ctime>
#include <iostream>

#include "framework/safetensors.h"
#include "kernels/cpu/backend.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/parallel.h"
#include "models/checkpoints.h"
#include "models/run_summary.h"
#include "models/saved_model.h"
#include "models/terminal.h"
#include "models/training_setup.h"

namespace flyball {
namespace {

namespace fs = std::filesystem;

std::string default_folder(const std::string& model) {
  const std::time_t now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%d-%H%M%S", std::localtime(&now));
  std::string folder = "runs/" + model + "-" + text;
  for (int attempt = 2; fs::exists(folder); ++attempt)
    folder = str("runs/", model, "-", text, "-", attempt);
  return folder;
}

// A run of --eval-only.
void score_checkpoint(Task& task, const RunOptions& options) {
  const Stream stream(parse_device(options.device));
  const Precision precision = parse_precision(options.precision);
  check_precision(precision, stream.device());
  const fs::path checkpoint(options.checkpoint);
  std::error_code failure;
  const bool is_folder = fs::is_directory(checkpoint, failure);
  task.restore(is_folder ? checkpoint : checkpoint.parent_path());
  Initializer init(stream, options.seed);
  const Model model = task.make_model(options, init);
  load_model(is_folder ? checkpoint / "model.safetensors" : checkpoint, *model.module, stream);
  const std::unique_ptr<LabelledSet> set = task.load(options, Part::test);
  const auto loader =
      set->loader(stream, first_indices(set->size(), options.limit_eval), options, Use::evaluation);
  const Evaluation test = evaluate(stream, model.forward, *loader, "test", precision);
  const Json result = evaluation_json(test);
  if (options.json) {
    std::cout << text_of(result) << '\n';
    return;
  }
  std::printf("\n%s on the test data\n", options.checkpoint.c_str());
  print_evaluation(test);
}

// The options of a run that goes on, with the few that may change.
RunOptions resumed_options(const Task& task, const RunOptions& given) {
  const fs::path folder(given.resume);
  std::error_code failure;
  RunOptions options = read_config(folder / "config.json");
  if (options.model != task.binary().model) {
    throw Error(str("--resume: ", given.resume, " holds a run of ", options.model, ", expected ",
                    task.binary().model));
  }
  if (fs::exists(folder / "summary.json", failure)) {
    throw Error(str("--resume: ", given.resume, " holds a finished run"));
  }
  options.out = options.resume = given.resume;
  options.threads = given.threads;
  options.json = given.json;
  return options;
}

// The device, and what of a CPU decides how convolutions are computed.
std::string device_text(const std::string& device) {
  if (parse_device(device).kind != Device::Kind::cpu) return device;
  return str(device, " (", cpu::name_of(cpu::instruction_set()), ", Winograd ",
             cpu::name_of(cpu::winograd_use()), ")");
}

void print_start(const RunOptions& options, TrainingSetup& setup) {
  const int64_t held_out = setup.validation() == nullptr ? 0 : setup.validation()->samples();
  std::fprintf(stderr,
               "%s: %s parameters, %s training and %s validation samples of %s, %s, %d thread%s\n",
               options.model.c_str(), count_text(parameter_count(setup.module())).c_str(),
               count_text(setup.training().samples()).c_str(), count_text(held_out).c_str(),
               setup.dataset().name().c_str(), device_text(options.device).c_str(), options.threads,
               options.threads == 1 ? "" : "s");
}

void report_stop(const RunOptions& options, int64_t steps, int64_t planned) {
  if (options.json) {
    std::cout << text_of(Json{{"stopped_at", steps}, {"steps", planned}, {"folder", options.out}})
              << '\n';
  } else {
    std::fprintf(stderr, "stopped after %s of %s steps; go on with: %s --resume %s\n",
                 count_text(steps).c_str(), count_text(planned).c_str(), options.model.c_str(),
                 options.out.c_str());
  }
}

void train(Task& task, RunOptions options) {
  // Everything that can be refused is refused before the run folder is touched.
  const bool resumes = !options.resume.empty();
  if (resumes) task.restore(options.out);
  TrainingSetup setup(task, options);
  if (options.out.empty()) options.out = default_folder(options.model);
  const Checkpoints checkpoints(options.out, options.keep_checkpoints);
  RunHistory history;
  if (resumes) {
    const int64_t step = checkpoints.load_newest(setup.state(), setup.stream());
    history = cut_metrics(fs::path(options.out) / "metrics.jsonl", step);
  }
  RunFolder folder =
      resumes ? RunFolder(options.out, history) : RunFolder(options.out, options.overwrite);
  if (!resumes) {
    folder.write_config(text_of(config_of(options), 2));
    task.save(folder.path());
  }
  if (!options.json) print_start(options, setup);

  Progress progress(options.epochs, setup.steps_per_epoch(), setup.training().samples(),
                    options.json);
  const auto save_weights = [&](const fs::path& path) {
    save_model(path, setup.module(), setup.stream(),
               {{"model", options.model}, {"variant", options.variant}});
  };
  const auto save_checkpoint = [&](int64_t step) {
    checkpoints.save(step, setup.state(), setup.stream());
  };
  Recorder recorder(folder, progress, save_weights, save_checkpoint);
  recorder.recall(history, setup.steps_per_epoch());
  const StopSignals stop_signals;
  const int64_t planned = options.epochs * setup.steps_per_epoch();
  int64_t done = 0;
  try {
    done = setup.trainer().fit(setup.training(), setup.validation(), options.epochs, recorder,
                               recorder.steps);
  } catch (...) {
    // A run without a step, out of memory in its first for example, has nothing worth keeping.
    if (recorder.steps == 0) folder.discard();
    throw;
  }
  if (done < planned) return report_stop(options, done, planned);
  save_weights(folder.model_file());
  const RunSummary summary{options, setup, recorder, folder, setup.test()};
  folder.add_evaluation(summary.test, done, static_cast<double>(options.epochs));
  progress.on_evaluation(summary.test);
  const Json json = summary_json(summary);
  folder.write_summary(text_of(json, 2));
  // Nobody will go on from a finished run; where they were asked for, they stay.
  if (options.save_every == 0) checkpoints.remove_all();
  if (options.json) {
    std::cout << text_of(json) << '\n';
  } else {
    print_summary(summary);
  }
}

}  // namespace

int run_program(Task& task, int argc, char** argv) {
  return run_main(task.binary().model, [&] {
    RunOptions options = parse_run_options(task.binary(), argc, argv);
    // Read FLYBALL_CPU_BACKEND, _WINOGRAD and _ISA: wrong values are refused here.
    cpu::backend();
    cpu::winograd_use();
    cpu::instruction_set();
    cpu::set_threads(options.threads);
    if (options.eval_only) {
      score_checkpoint(task, options);
    } else {
      train(task, options.resume.empty() ? options : resumed_options(task, options));
    }
    return 0;
  });
}

}  // namespace flyball
