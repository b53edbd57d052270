#include "framework/checkpoint.h"

#include <cstdio>

#include "framework/checksum.h"
#include "framework/safetensors.h"

namespace flyball {
namespace {

template <class T>
Tensor bytes_tensor(const Stream& stream, const T& value) {
  return Tensor::from_host(
      stream, {static_cast<int64_t>(sizeof value)},
      std::span<const uint8_t>(reinterpret_cast<const uint8_t*>(&value), sizeof value));
}

// Of names, shapes, types, bytes and metadata.
std::string checksum_of(const NamedTensors& tensors, const Metadata& metadata,
                        const Stream& stream) {
  Checksum sum;
  for (const auto& [key, value] : metadata) {
    sum.add(key);
    sum.add(value);
  }
  std::string bytes;
  for (const auto& [name, tensor] : tensors) {
    sum.add(name);
    sum.add(tensor.shape().str());
    sum.add(name_of(tensor.dtype()));
    bytes.resize(static_cast<size_t>(tensor.bytes()));
    copy_to_host(stream, bytes.data(), tensor.raw(), tensor.bytes());
    sum.add(bytes);
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(sum.value()));
  return text;
}

// The optimizer's tensors by their names in the file.
NamedTensors optimizer_tensors(const TrainingState& state) {
  NamedTensors tensors;
  for (const auto& [name, tensor] : state.optimizer.state())
    tensors.emplace_back("state.optimizer." + name, tensor);
  return tensors;
}

template <class T>
T value_in(const std::map<std::string, Tensor>& found, const std::string& name,
           const Stream& stream) {
  const auto entry = found.find(name);
  if (entry == found.end()) throw Error(str("tensor '", name, "' is missing"));
  const Tensor& tensor = entry->second;
  if (tensor.bytes() != static_cast<int64_t>(sizeof(T))) {
    throw Error(str("'", name, "' holds ", tensor.bytes(), " bytes, expected ", sizeof(T),
                    ": saved by another version"));
  }
  T value;
  copy_to_host(stream, &value, tensor.raw(), sizeof value);
  return value;
}

void require_same(const std::map<std::string, Tensor>& found, const NamedTensors& wanted) {
  for (const auto& [name, tensor] : wanted) {
    const auto entry = found.find(name);
    if (entry == found.end()) throw Error(str("tensor '", name, "' is missing"));
    const Tensor& source = entry->second;
    if (!(source.shape() == tensor.shape()) || source.dtype() != tensor.dtype()) {
      throw Error(str("tensor '", name, "' is ", name_of(source.dtype()), source.shape(),
                      ", expected ", name_of(tensor.dtype()), tensor.shape()));
    }
  }
}

void load(const NamedTensors& file, const TrainingState& state, const Stream& stream) {
  const std::map<std::string, Tensor> found(file.begin(), file.end());
  NamedTensors wanted = tensors_of(state.module);
  const NamedTensors of_optimizer = optimizer_tensors(state);
  wanted.insert(wanted.end(), of_optimizer.begin(), of_optimizer.end());
  require_same(found, wanted);
  if (found.size() != wanted.size() + 2) {
    throw Error(str(found.size(), " tensors, expected ", wanted.size() + 2));
  }
  const auto rate = value_in<LearningRateState>(found, "state.rate", stream);
  const auto signals = value_in<StepSignals>(found, "state.signals", stream);
  if (rate.rule.kind != state.rate.kind()) throw Error("holds the state of another schedule");
  for (auto& [name, tensor] : wanted) {
    tensor.copy_from(stream, found.at(name));
  }
  state.rate.restore(stream, rate, signals);
}

}  // namespace

void save_checkpoint(const std::filesystem::path& path, const TrainingState& state,
                     const Metadata& metadata, const Stream& stream) {
  NamedTensors tensors = tensors_of(state.module);
  const NamedTensors of_optimizer = optimizer_tensors(state);
  tensors.insert(tensors.end(), of_optimizer.begin(), of_optimizer.end());
  tensors.emplace_back("state.rate", bytes_tensor(stream, state.rate.read_state(stream)));
  tensors.emplace_back("state.signals", bytes_tensor(stream, state.rate.read_signals(stream)));
  Metadata all = metadata;
  all["checksum"] = checksum_of(tensors, metadata, stream);
  write_safetensors(path, tensors, all, stream);
}

Metadata load_checkpoint(const std::filesystem::path& path, const TrainingState& state,
                         const Stream& stream) {
  Metadata metadata;
  const NamedTensors file = read_safetensors(path, stream, &metadata);
  const auto checksum = metadata.extract("checksum");
  try {
    if (checksum.empty()) throw Error("has no checksum, expected a checkpoint of a training run");
    if (checksum.mapped() != checksum_of(file, metadata, stream)) {
      throw Error("the checksum does not match, the file is damaged");
    }
    load(file, state, stream);
  } catch (const Error& error) {
    throw Error(str(path.string(), ": ", error.what()));
  }
  return metadata;
}

}  // namespace flyball
