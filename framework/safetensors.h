#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "framework/module.h"

namespace flyball {

// The safetensors file format: eight bytes of little-endian header length, a JSON header
// {"name": {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]}, ..., "__metadata__":
// {..}}, then the tensors' bytes.
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

// Written to a temporary file beside `path` and renamed, so `path` is either the old file or the
// whole new one. Throws Error.
void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata, const Stream& stream);

// Every tensor of the file, in the header's order. Throws Error naming the file and what is wrong
// with it.
NamedTensors read_safetensors(const std::filesystem::path& path, const Stream& stream);

// A module's parameters and buffers under their dotted names. Loading needs the same names, shapes
// and dtypes, and changes nothing when they differ.
void save_model(const std::filesystem::path& path, Module& module, const Stream& stream,
                const std::map<std::string, std::string>& metadata = {});
void load_model(const std::filesystem::path& path, Module& module, const Stream& stream);

}  // namespace flyball
