#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "framework/layers.h"
#include "framework/parameter_arena.h"
#include "framework/run.h"
#include "framework/safetensors.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;
namespace fs = std::filesystem;

namespace {

// A layer and a buffer that is saved with it.
class Network : public Module {
 public:
  explicit Network(uint64_t seed, int64_t in = 3) : init_(stream(), seed), layer_(init_, in, 2) {
    mean = normal_tensor({4}, seed, DType::f64);
  }
  void visit(Visitor& visitor) override {
    visitor("layer", layer_);
    visitor("mean", mean);
  }
  Tensor mean;

 private:
  Initializer init_;
  Linear layer_;
};

std::string bytes_in(const Tensor& tensor) {
  std::string bytes(static_cast<size_t>(tensor.bytes()), '\0');
  copy_to_host(stream(), bytes.data(), tensor.raw(), tensor.bytes());
  return bytes;
}

// Any bytes will do: NaNs and denormals must come back, too.
Tensor random_bytes(const Shape& shape, DType dtype, uint64_t seed) {
  Tensor tensor = Tensor::empty(stream(), shape, dtype);
  std::string bytes(static_cast<size_t>(tensor.bytes()), '\0');
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<char>(philox_at(i, 0, 0, seed).word[0]);
  }
  copy_to_device(stream(), tensor.mutable_raw(), bytes.data(), tensor.bytes());
  return tensor;
}

std::string values_in(Module& module) {
  std::string all;
  for (const auto& parameter : parameters_of(module)) {
    all += bytes_in(parameter.item->variable.value());
  }
  for (const auto& buffer : buffers_of(module)) all += bytes_in(*buffer.item);
  return all;
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

fs::path write_file(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  return path;
}

std::string with_length(uint64_t length, const std::string& rest) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + rest;
}

nlohmann::ordered_json header_in(const fs::path& path) {
  const std::string bytes = read_file(path);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  return nlohmann::ordered_json::parse(bytes.substr(8, length));
}

int64_t entries_in(const fs::path& folder) {
  return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
}

// Reading `path` must fail with one line that begins with the path and contains `part`.
void check_refused(const fs::path& path, const std::string& part) {
  const std::string text = error_of([&] { read_safetensors(path, stream()); });
  CHECK_MESSAGE(text.rfind(path.string() + ": ", 0) == 0, text);
  CHECK_MESSAGE(contains(text, part), text);
  CHECK_MESSAGE(!contains(text, "\n"), text);
}

}  // namespace

TEST_CASE("safetensors: every dtype and rank comes back byte for byte, in order") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "all.safetensors";
  NamedTensors tensors;
  for (const DType dtype : {DType::f64, DType::f32, DType::i32, DType::u8, DType::bf16}) {
    for (const Shape& shape : {Shape{}, Shape{1}, Shape{7}, Shape{0, 5}, Shape{3, 5},
                               Shape{2, 3, 4, 5}, Shape{1, 2, 3, 1, 2, 3}}) {
      tensors.emplace_back(str("layer \"", name_of(dtype), "\" ä.", shape),
                           random_bytes(shape, dtype, tensors.size()));
    }
  }
  write_safetensors(path, tensors, {{"model", "test"}}, stream());
  const NamedTensors read = read_safetensors(path, stream());
  REQUIRE(read.size() == tensors.size());
  for (size_t i = 0; i < read.size(); ++i) {
    CAPTURE(tensors[i].first);
    CHECK(read[i].first == tensors[i].first);
    CHECK(read[i].second.shape() == tensors[i].second.shape());
    CHECK(read[i].second.dtype() == tensors[i].second.dtype());
    CHECK(bytes_in(read[i].second) == bytes_in(tensors[i].second));
  }
  write_safetensors(path, {}, {}, stream());
  CHECK(read_safetensors(path, stream()).empty());
}

TEST_CASE("safetensors: the header is aligned, its offsets are gapless, metadata is kept") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "model.safetensors";
  for (size_t length = 1; length <= 9; ++length) {
    CAPTURE(length);
    const NamedTensors tensors{{std::string(length, 'n'), random_bytes({3}, DType::u8, 1)},
                               {"b", random_bytes({2, 2}, DType::f32, 2)}};
    write_safetensors(path, tensors, {{"model", "m"}, {"variant", ""}}, stream());
    const std::string bytes = read_file(path);
    uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, bytes.data(), 8);
    CHECK(header_bytes % 8 == 0);
    CHECK(bytes.size() == 8 + header_bytes + 3 + 16);
    CHECK(bytes[8] == '{');
    const nlohmann::ordered_json header = header_in(path);
    CHECK(header.size() == 3);
    CHECK(header.at("__metadata__").dump() == R"({"model":"m","variant":""})");
    CHECK(header.at(tensors[0].first).dump() ==
          R"({"dtype":"U8","shape":[3],"data_offsets":[0,3]})");
    CHECK(header.at("b").dump() == R"({"dtype":"F32","shape":[2,2],"data_offsets":[3,19]})");
  }
  write_safetensors(path, {{"a", random_bytes({}, DType::i32, 1)}}, {}, stream());
  CHECK(header_in(path).dump() == R"({"a":{"dtype":"I32","shape":[],"data_offsets":[0,4]}})");
}

TEST_CASE("safetensors: a saved model is loaded into another one, parameters and buffers") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "model.safetensors";
  Network saved(1), loaded(2);
  const ParameterArena arena(stream(), loaded);  // the weights stay where they are
  save_model(path, saved, stream());
  CHECK(values_in(loaded) != values_in(saved));
  load_model(path, loaded, stream());
  CHECK(values_in(loaded) == values_in(saved));
  const nlohmann::ordered_json header = header_in(path);
  std::vector<std::string> names;
  for (const auto& [name, entry] : header.items()) names.push_back(name);
  CHECK(names == std::vector<std::string>{"layer.weight", "layer.bias", "mean"});
}

TEST_CASE("safetensors: a file cut at any byte is refused") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "cut.safetensors";
  write_safetensors(path, {{"a", random_bytes({5}, DType::f32, 1)}}, {}, stream());
  const std::string whole = read_file(path);
  const size_t header_end = whole.size() - 20;
  for (size_t length = 0; length < whole.size(); ++length) {
    CAPTURE(length);
    write_file(path, whole.substr(0, length));
    check_refused(path, length < header_end ? "header length" : "data_offsets [0,20]");
  }
}

TEST_CASE("safetensors: what is no safetensors file is refused") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "bad.safetensors";
  check_refused(path, "cannot open");
  check_refused(folder.path(), "cannot open");
  for (const uint64_t length : {uint64_t{17}, uint64_t{100000001}, uint64_t{1} << 32,
                                uint64_t{1} << 63, ~uint64_t{0}, ~uint64_t{0} - 7}) {
    write_file(path, with_length(length, "{}              "));
    check_refused(path, str("header length ", length, " at offset 0"));
  }
  for (const std::string text : {"", "{", "[]", "null", "3", "\"a\"", "{}}", "{\"a\":}", "\xff\xfe",
                                 "{\"\xff\": 1}", "\x80\x04\x95"}) {
    CAPTURE(text);
    write_file(path, with_length(text.size(), text));
    check_refused(path, "the header at offset 8 is not a JSON object");
  }
}

TEST_CASE("safetensors: a wrong entry is refused with the tensor's name") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "bad.safetensors";
  const auto check = [&](const std::string& entry, const std::string& part) {
    CAPTURE(entry);
    const std::string header = "{\"t\":" + entry + "}";
    write_file(path, with_length(header.size(), header + std::string(24, 'x')));
    check_refused(path, "tensor 't': " + part);
  };
  const auto with = [](const std::string& dtype, const std::string& shape,
                       const std::string& offsets) {
    return str(R"({"dtype":)", dtype, R"(,"shape":)", shape, R"(,"data_offsets":)", offsets, "}");
  };
  const std::string fields = "expected dtype, shape and data_offsets";
  check("3", fields);
  check("[]", fields);
  check("{}", fields);
  check(R"({"dtype":"F32","shape":[6]})", fields);
  check(R"({"dtype":"F32","data_offsets":[0,24]})", fields);
  check(R"({"shape":[6],"data_offsets":[0,24]})", fields);
  check(with("3", "[6]", "[0,24]"), fields);
  check(with(R"("F32")", "6", "[0,24]"), fields);
  check(with(R"("F32")", "[\"6\"]", "[0,24]"), fields);
  check(with(R"("F32")", "[6]", "[0]"), fields);
  check(with(R"("F32")", "[6]", "24"), fields);
  check(with(R"("F32")", "[6]", R"(["0","24"])"), fields);
  check(with(R"("F16")", "[6]", "[0,24]"), "dtype 'F16', expected F32, F64, I32, U8 or BF16");
  check(with(R"("f32")", "[6]", "[0,24]"), "dtype 'f32'");
  check(with(R"("F32")", "[-6]", "[0,24]"), "shape: size -6 is negative");
  check(with(R"("U8")", "[1,1,1,1,1,1,24]", "[0,24]"), "7 axes, expected at most 6");
  const std::string inside = ", expected inside the file's 24 data bytes";
  check(with(R"("F32")", "[6]", "[4,28]"), "data_offsets [4,28]" + inside);
  check(with(R"("F32")", "[6]", "[-4,20]"), "data_offsets [-4,20]" + inside);
  check(with(R"("F32")", "[6]", "[24,0]"), "data_offsets [24,0]" + inside);
  check(with(R"("F32")", "[6]", "[0,18446744073709551615]"), "data_offsets");
  check(with(R"("F32")", "[6]", "[0,20]"), "20 bytes for shape [6] of f32, expected 24");
  check(with(R"("F64")", "[6]", "[0,24]"), "24 bytes for shape [6] of f64, expected 48");
  check(with(R"("U8")", "[0]", "[0,24]"), "24 bytes for shape [0] of u8, expected 0");
  // Element counts that wrap around 64 bits to the right number of bytes.
  check(with(R"("F32")", "[4294967296,4294967296]", "[0,0]"),
        "shape with more elements than any file holds");
  check(with(R"("F32")", "[4611686018427387904]", "[0,0]"),
        "shape with more elements than any file holds");
}

TEST_CASE("safetensors: a file that does not fit the model changes nothing") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "model.safetensors";
  Network saved(1), model(2);
  const std::string before = values_in(model);
  const auto check = [&](const NamedTensors& tensors, const std::string& part) {
    write_safetensors(path, tensors, {}, stream());
    const std::string text = error_of([&] { load_model(path, model, stream()); });
    CHECK_MESSAGE(text == path.string() + ": " + part, text);
    CHECK(values_in(model) == before);
  };
  save_model(path, saved, stream());
  const NamedTensors good = read_safetensors(path, stream());
  NamedTensors tensors = good;
  tensors.pop_back();
  check(tensors, "tensor 'mean' is missing");
  tensors.emplace_back("meen", good[2].second);
  check(tensors, "tensor 'mean' is missing");
  tensors = good;
  tensors.emplace_back("extra", good[2].second);
  check(tensors, "4 tensors, expected 3");
  tensors = good;
  tensors[0].second = good[0].second.reshape({3, 2});
  check(tensors, "tensor 'layer.weight' is f32[3,2], expected f32[2,3]");
  tensors = good;
  tensors[2].second = good[2].second.cast(stream(), DType::f32);
  check(tensors, "tensor 'mean' is f32[4], expected f64[4]");
  check({}, "tensor 'layer.weight' is missing");
  write_safetensors(path, good, {}, stream());
  load_model(path, model, stream());
  CHECK(values_in(model) == values_in(saved));
}

TEST_CASE("safetensors: a failed write leaves no part behind and the old file as it was") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "model.safetensors";
  const fs::path part = path.string() + ".part";
  const NamedTensors tensors{{"a", random_bytes({300, 300}, DType::f64, 1)}};
  const auto error = [&](const fs::path& to) {
    return error_of([&] { write_safetensors(to, tensors, {}, stream()); });
  };
  CHECK(error(folder.path() / "none" / "m") ==
        str((folder.path() / "none" / "m").string(), ": cannot write"));
  const fs::path file = write_file(folder.path() / "file", "x");
  CHECK(error(file / "m") == (file / "m").string() + ": cannot write");
  CHECK(entries_in(folder.path()) == 1);
  if (fs::exists("/dev/full")) {  // every write to it fails: the disk is full
    write_file(path, "the old file");
    fs::create_symlink("/dev/full", part);
    CHECK(error(path) == path.string() + ": cannot write");
    CHECK_FALSE(fs::is_symlink(part));
    CHECK(read_file(path) == "the old file");
    CHECK(entries_in(folder.path()) == 2);
  }
  const fs::path taken = folder.path() / "taken";
  fs::create_directory(taken);
  CHECK(error(taken) == taken.string() + ": cannot write: Is a directory");
  CHECK_FALSE(fs::exists(taken.string() + ".part"));
  CHECK(error(path).empty());  // over the old file
  CHECK(bytes_in(read_safetensors(path, stream()).at(0).second) == bytes_in(tensors[0].second));
}
