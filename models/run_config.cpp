#include "models/run_config.h"

#include <fstream>

#include "kernels/error.h"

namespace flyball {
namespace {

Json text_config(const TextOptions& text) {
  return {{"vocabulary", text.vocabulary}, {"min_count", text.min_count},
          {"max_length", text.max_length}, {"keep", text.keep},
          {"embedding", text.embedding},   {"hidden", text.hidden},
          {"layers", text.layers},         {"pool", text.pool},
          {"dropout", text.dropout}};
}

void read_text(const Json& json, TextOptions& text) {
  json.at("vocabulary").get_to(text.vocabulary);
  json.at("min_count").get_to(text.min_count);
  json.at("max_length").get_to(text.max_length);
  json.at("keep").get_to(text.keep);
  json.at("embedding").get_to(text.embedding);
  json.at("hidden").get_to(text.hidden);
  json.at("layers").get_to(text.layers);
  json.at("pool").get_to(text.pool);
  json.at("dropout").get_to(text.dropout);
}

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
    config["text"] = text_config(options.text);
  }
  config.update(Json{{"data", options.data.empty() ? "sample" : options.data},
                     {"epochs", options.epochs},
                     {"batch_size", options.batch_size},
                     {"learning_rate", options.learning_rate},
                     {"schedule", options.schedule},
                     {"seed", options.seed},
                     {"device", options.device},
                     {"residence", options.residence},
                     {"eager", options.eager},
                     {"precision", options.precision},
                     {"threads", options.threads},
                     {"limit_train", options.limit_train},
                     {"limit_eval", options.limit_eval},
                     {"validation_fraction", options.validation_fraction},
                     {"optimizer", options.optimizer},
                     {"weight_decay", options.weight_decay},
                     {"clip_norm", options.clip_norm},
                     {"augment", options.augment},
                     {"label_smoothing", options.label_smoothing},
                     {"eval_every", options.eval_every},
                     {"save_every", options.save_every}});
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
    config.at("model").get_to(options.model);
    options.variant = config.value("variant", options.variant);
    options.width = config.value("width", options.width);
    options.zero_last_gamma = config.value("zero_last_gamma", options.zero_last_gamma);
    options.dataset = config.value("dataset", options.dataset);
    if (config.contains("text")) read_text(config.at("text"), options.text);
    config.at("seed").get_to(options.seed);
    config.at("batch_size").get_to(options.batch_size);
  } catch (const Json::exception& error) {
    throw Error(str(path.string(), ": is not the config.json of a run: ", error.what()));
  }
  return options;
}

}  // namespace flyball
