#include "models/run_config.h"

#include <fstream>

#include "kernels/error.h"

namespace flyball {
namespace {

// Every option of a run, by its name in config.json: visit(name, option).
template <class Options, class Visit>
void visit_common(Options& options, const Visit& visit) {
  visit("epochs", options.epochs);
  visit("batch_size", options.batch_size);
  visit("learning_rate", options.learning_rate);
  visit("schedule", options.schedule);
  visit("schedule_options", options.schedule_options);
  visit("seed", options.seed);
  visit("device", options.device);
  visit("residence", options.residence);
  visit("eager", options.eager);
  visit("precision", options.precision);
  visit("threads", options.threads);
  visit("limit_train", options.limit_train);
  visit("limit_eval", options.limit_eval);
  visit("validation_fraction", options.validation_fraction);
  visit("optimizer", options.optimizer);
  visit("weight_decay", options.weight_decay);
  visit("clip_norm", options.clip_norm);
  visit("augment", options.augment);
  visit("label_smoothing", options.label_smoothing);
  visit("eval_every", options.eval_every);
  visit("save_every", options.save_every);
  visit("keep_checkpoints", options.keep_checkpoints);
}

template <class Text, class Visit>
void visit_text(Text& text, const Visit& visit) {
  visit("vocabulary", text.vocabulary);
  visit("min_count", text.min_count);
  visit("max_length", text.max_length);
  visit("keep", text.keep);
  visit("embedding", text.embedding);
  visit("hidden", text.hidden);
  visit("layers", text.layers);
  visit("pool", text.pool);
  visit("dropout", text.dropout);
}

auto writes_to(Json& json) {
  return [&json](const char* name, const auto& option) { json[name] = option; };
}
auto reads_from(const Json& json) {
  return [&json](const char* name, auto& option) { json.at(name).get_to(option); };
}

constexpr const char* kNoData = "sample";  // "data" of a run without --data

}  // namespace

std::string text_of(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

Json config_of(const RunOptions& options) {
  Json config{{"model", options.model}};
  if (!options.variant.empty()) config["variant"] = options.variant;
  if (options.width > 0) {
    config["width"] = options.width;
    config["zero_last_gamma"] = options.zero_last_gamma;
  }
  if (!options.dataset.empty()) {
    config["dataset"] = options.dataset;
    visit_text(options.text, writes_to(config["text"]));
  }
  config["data"] = options.data.empty() ? kNoData : options.data;
  visit_common(options, writes_to(config));
  return config;
}

Json evaluation_json(const Evaluation& evaluation) {
  return {{"split", evaluation.split},
          {"samples", evaluation.samples},
          {"eval_loss", evaluation.loss},
          {"eval_accuracy", evaluation.accuracy},
          {"eval_runtime", evaluation.seconds},
          {"eval_samples_per_second", static_cast<double>(evaluation.samples) / evaluation.seconds},
          {"eval_steps_per_second", static_cast<double>(evaluation.steps) / evaluation.seconds}};
}

RunOptions read_config(const std::filesystem::path& path) {
  std::ifstream in(path);
  if (!in) throw Error(str(path.string(), ": cannot open, expected the config.json of a run"));
  RunOptions options;
  try {
    const Json config = Json::parse(in);
    const auto read = reads_from(config);
    read("model", options.model);
    if (config.contains("variant")) read("variant", options.variant);
    if (config.contains("width")) {
      read("width", options.width);
      read("zero_last_gamma", options.zero_last_gamma);
    }
    if (config.contains("dataset")) {
      read("dataset", options.dataset);
      visit_text(options.text, reads_from(config.at("text")));
    }
    read("data", options.data);
    if (options.data == kNoData) options.data.clear();
    visit_common(options, read);
  } catch (const Json::exception& error) {
    throw Error(str(path.string(), ": is not the config.json of a run: ", error.what()));
  }
  return options;
}

}  // namespace flyball
