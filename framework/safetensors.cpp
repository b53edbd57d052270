#include "framework/safetensors.h"

#include <bit>
#include <fstream>
#include <nlohmann/json.hpp>

#include "framework/run.h"
#include "framework/write_file.h"

namespace flyball {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

constexpr int64_t kMaxHeaderBytes = 100 * 1000 * 1000;

const char* format_name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "F32";
    case DType::f64:
      return "F64";
    case DType::i32:
      return "I32";
    case DType::u8:
      return "U8";
    case DType::bf16:
      return "BF16";
  }
  return "?";
}

DType dtype_from(const std::string& name) {
  for (DType dtype : {DType::f32, DType::f64, DType::i32, DType::u8, DType::bf16}) {
    if (name == format_name(dtype)) return dtype;
  }
  throw Error(str("dtype '", name, "', expected F32, F64, I32, U8 or BF16"));
}

Shape shape_from(const std::vector<int64_t>& sizes) {
  int64_t bytes = 8;  // of the widest element
  for (const int64_t size : sizes) {
    if (size > 0 && __builtin_mul_overflow(bytes, size, &bytes)) {
      throw Error("shape with more elements than any file holds");
    }
  }
  switch (sizes.size()) {
    case 0:
      return {};
    case 1:
      return {sizes[0]};
    case 2:
      return {sizes[0], sizes[1]};
    case 3:
      return {sizes[0], sizes[1], sizes[2]};
    case 4:
      return {sizes[0], sizes[1], sizes[2], sizes[3]};
    case 5:
      return {sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]};
    case 6:
      return {sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]};
    default:
      throw Error(str(sizes.size(), " axes, expected at most ", Shape::kMaxRank));
  }
}

nlohmann::ordered_json header_of(const NamedTensors& tensors,
                                 const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  int64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    std::vector<int64_t> sizes(static_cast<size_t>(tensor.shape().rank()));
    for (size_t axis = 0; axis < sizes.size(); ++axis) {
      sizes[axis] = tensor.shape()[static_cast<int>(axis)];
    }
    header[name] = {{"dtype", format_name(tensor.dtype())},
                    {"shape", sizes},
                    {"data_offsets", {offset, offset + tensor.bytes()}}};
    offset += tensor.bytes();
  }
  return header;
}

// One entry of the header, checked against the bytes that follow it.
Tensor read_entry(std::ifstream& in, const nlohmann::ordered_json& entry, int64_t data_begin,
                  int64_t data_bytes, const Stream& stream) {
  const DType dtype = dtype_from(entry.at("dtype").get<std::string>());
  const Shape shape = shape_from(entry.at("shape").get<std::vector<int64_t>>());
  const auto begin = entry.at("data_offsets").at(0).get<int64_t>();
  const auto end = entry.at("data_offsets").at(1).get<int64_t>();
  if (begin < 0 || end < begin || end > data_bytes) {
    throw Error(str("data_offsets [", begin, ",", end, "], expected inside the file's ", data_bytes,
                    " data bytes"));
  }
  if (end - begin != shape.count() * bytes_of(dtype)) {
    throw Error(str(end - begin, " bytes for shape ", shape, " of ", name_of(dtype), ", expected ",
                    shape.count() * bytes_of(dtype)));
  }
  std::vector<char> bytes(static_cast<size_t>(end - begin));
  in.seekg(data_begin + begin);
  in.read(bytes.data(), end - begin);
  if (!in) throw Error("the file could not be read");
  Tensor tensor = Tensor::empty(stream, shape, dtype);
  copy_to_device(stream, tensor.mutable_raw(), bytes.data(), tensor.bytes());
  return tensor;
}

}  // namespace

NamedTensors tensors_of(Module& module) {
  NamedTensors tensors;
  for (const auto& parameter : parameters_of(module)) {
    tensors.emplace_back(parameter.name, parameter.item->variable.value());
  }
  for (const auto& buffer : buffers_of(module)) tensors.emplace_back(buffer.name, *buffer.item);
  return tensors;
}

void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata, const Stream& stream) {
  std::string header = header_of(tensors, metadata).dump();
  header.append((8 - header.size() % 8) % 8, ' ');  // the data starts aligned
  const std::filesystem::path temporary = path.string() + ".part";
  try {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    const uint64_t length = header.size();
    out.write(reinterpret_cast<const char*>(&length), sizeof length);
    out.write(header.data(), static_cast<std::streamsize>(header.size()));
    for (const auto& [name, tensor] : tensors) {
      std::vector<char> bytes(static_cast<size_t>(tensor.bytes()));
      copy_to_host(stream, bytes.data(), tensor.raw(), tensor.bytes());
      out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    }
    out.close();
    if (!out) throw Error(str(path.string(), ": cannot write"));
    replace_file(temporary, path);
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    throw;
  }
}

NamedTensors read_safetensors(const std::filesystem::path& path, const Stream& stream,
                              std::map<std::string, std::string>* metadata) {
  std::ifstream in(path, std::ios::binary);
  std::error_code missing;
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path, missing));
  if (!in || missing) throw Error(str(path.string(), ": cannot open, expected a safetensors file"));
  uint64_t length = 0;
  in.read(reinterpret_cast<char*>(&length), sizeof length);
  const auto header_bytes = static_cast<int64_t>(length);
  if (!in || length > kMaxHeaderBytes || header_bytes > size - 8) {
    throw Error(str(path.string(), ": header length ", length,
                    " at offset 0, expected less than the file's ", size, " bytes"));
  }
  std::string text(length, '\0');
  in.read(text.data(), header_bytes);
  const auto header = nlohmann::ordered_json::parse(text, nullptr, false);
  if (!header.is_object())
    throw Error(str(path.string(), ": the header at offset 8 is not a JSON object"));
  NamedTensors tensors;
  for (const auto& [name, entry] : header.items()) {
    try {
      if (name == "__metadata__") {
        if (metadata != nullptr) entry.get_to(*metadata);
        continue;
      }
      tensors.emplace_back(
          name, read_entry(in, entry, 8 + header_bytes, size - 8 - header_bytes, stream));
    } catch (const Error& error) {
      throw Error(str(path.string(), ": tensor '", name, "': ", error.what()));
    } catch (const nlohmann::json::exception&) {
      throw Error(
          str(path.string(), ": tensor '", name, "': expected dtype, shape and data_offsets"));
    }
  }
  return tensors;
}

void save_model(const std::filesystem::path& path, Module& module, const Stream& stream,
                const std::map<std::string, std::string>& metadata) {
  write_safetensors(path, tensors_of(module), metadata, stream);
}

void load_model(const std::filesystem::path& path, Module& module, const Stream& stream) {
  std::map<std::string, Tensor> found;
  for (auto& [name, tensor] : read_safetensors(path, stream)) found.emplace(name, tensor);
  NamedTensors wanted = tensors_of(module);
  for (const auto& [name, tensor] : wanted) {
    const auto entry = found.find(name);
    if (entry == found.end()) throw Error(str(path.string(), ": tensor '", name, "' is missing"));
    const Tensor& source = entry->second;
    if (!(source.shape() == tensor.shape()) || source.dtype() != tensor.dtype()) {
      throw Error(str(path.string(), ": tensor '", name, "' is ", name_of(source.dtype()),
                      source.shape(), ", expected ", name_of(tensor.dtype()), tensor.shape()));
    }
  }
  std::erase_if(found, [](const auto& entry) { return entry.first.starts_with("state."); });
  if (found.size() != wanted.size()) {
    throw Error(str(path.string(), ": ", found.size(), " tensors, expected ", wanted.size()));
  }
  for (auto& [name, tensor] : wanted) tensor.copy_from(stream, found.at(name));
}

}  // namespace flyball
