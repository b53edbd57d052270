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

// Written to a temporary file beside `path` and put in its place once the disk holds it, so `path`
// is either the old file or the whole new one. Throws Error.
void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata, const Stream& stream);

// Every tensor of the file, in the header's order, and its metadata where wanted. Throws Error
// naming the file and what is wrong with it.
NamedTensors read_safetensors(const std::filesystem::path& path, const Stream& stream,
                              std::map<std::string, std::string>* metadata = nullptr);

// A module's parameters and buffers under their dotted names.
NamedTensors tensors_of(Module& module);

// The file of tensors_of(). Loading needs the same names, shapes and dtypes, and changes nothing
// when they differ; names that begin with "state." (a checkpoint's) may be there as well.
void save_model(const std::filesystem::path& path, Module& module, const Stream& stream,
                const std::map<std::string, std::string>& metadata = {});
void load_model(const std::filesystem::path& path, Module& module, const Stream& stream);

}  // namespace flyball
