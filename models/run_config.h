#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "framework/trainer.h"
#include "models/run_options.h"

namespace flyball {

using Json = nlohmann::ordered_json;

// As text; paths need not be UTF-8, JSON must be.
std::string text_of(const Json& json, int indent = -1);

// config.json of a run folder: what a run was started with.
Json config_of(const RunOptions& options);

// The figures of an evaluation under the names that metrics.jsonl gives them.
Json evaluation_json(const Evaluation& evaluation);

// The options that a config.json holds. Throws Error naming the file and what is wrong with it.
RunOptions read_config(const std::filesystem::path& path);

}  // namespace flyball
