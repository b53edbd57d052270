#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>

#include "framework/progress.h"
#include "framework/run_folder.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::string read_file(const fs::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// Every line of a file, each of which must be JSON.
std::vector<Json> lines_of(const fs::path& path) {
  std::ifstream in(path);
  std::vector<Json> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(Json::parse(line));
  return lines;
}

std::vector<std::string> keys_of(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

std::vector<std::string> entries_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

Evaluation evaluation_of(const std::string& split) {
  return {
      .split = split, .samples = 400, .steps = 7, .loss = 0.25, .accuracy = 0.925, .seconds = 0.5};
}

}  // namespace

TEST_CASE("run folder: one line a step, in order, with the epoch that it completes") {
  const TemporaryFolder temporary;
  RunFolder folder(temporary.path() / "runs" / "first", false);
  CHECK(folder.path() == temporary.path() / "runs" / "first");
  CHECK(folder.model_file() == folder.path() / "model.safetensors");
  folder.add_steps({{.step = 0, .loss = 2.5, .correct_fraction = 0.125, .learning_rate = 1e-3},
                    {.step = 1, .loss = 2.25, .correct_fraction = 0.5, .learning_rate = 1.0 / 3}},
                   4);
  folder.add_steps({}, 4);
  folder.add_steps({{.step = 7, .loss = 0.1, .correct_fraction = 1, .learning_rate = 5e-324}}, 4);
  const std::vector<Json> lines = lines_of(folder.path() / "metrics.jsonl");  // no close: flushed
  REQUIRE(lines.size() == 3);
  for (const Json& line : lines) {
    CHECK(keys_of(line) == std::vector<std::string>{"step", "epoch", "train_loss", "train_accuracy",
                                                    "learning_rate", "seconds"});
  }
  CHECK(contains(lines[0].dump(),
                 R"({"step":0,"epoch":0.25,"train_loss":2.5,"train_accuracy":0.125,)"
                 R"("learning_rate":0.001,"seconds":)"));
  CHECK(lines[0].at("seconds") > 0);
  CHECK(lines[1].at("seconds") == 2 * lines[0].at("seconds").get<double>());  // one block
  CHECK(lines[2].at("seconds") > lines[1].at("seconds"));
  CHECK(lines[1].at("learning_rate") == 1.0 / 3);  // every digit
  CHECK(lines[2].at("step") == 7);
  CHECK(lines[2].at("epoch") == 2);
  CHECK(lines[2].at("learning_rate") == 5e-324);
}

TEST_CASE("run folder: skipped steps, snapshots and rollbacks are shown, others are not") {
  const TemporaryFolder temporary;
  RunFolder folder(temporary.path(), false);
  folder.add_steps({{.step = 0},
                    {.step = 1, .action = Action::kSnapshot},
                    {.step = 2, .action = Action::kRollback},
                    {.step = 3, .loss = kNan, .skipped = 1}},
                   10);
  const std::vector<Json> lines = lines_of(temporary.path() / "metrics.jsonl");
  REQUIRE(lines.size() == 4);
  CHECK_FALSE((lines[0].contains("action") || lines[0].contains("skipped")));
  CHECK(lines[1].at("action") == "snapshot");
  CHECK(lines[2].at("action") == "rollback");
  CHECK_FALSE((lines[3].contains("action") || lines[2].contains("skipped")));
  CHECK(lines[3].at("skipped") == true);
}

TEST_CASE("run folder: losses that are no numbers are null, so that every line stays JSON") {
  const TemporaryFolder temporary;
  RunFolder folder(temporary.path(), false);
  folder.add_steps({{.step = 0, .loss = kNan, .skipped = 1},
                    {.step = 1, .loss = kInfinity, .skipped = 1},
                    {.step = 2, .loss = -kInfinity, .learning_rate = kNan}},
                   1);
  Evaluation evaluation = evaluation_of("validation");
  evaluation.loss = kNan;
  evaluation.seconds = 0;  // infinitely many samples a second
  folder.add_evaluation(evaluation, 3, 3);
  const std::vector<Json> lines = lines_of(temporary.path() / "metrics.jsonl");
  REQUIRE(lines.size() == 4);
  for (size_t i = 0; i < 3; ++i) CHECK(lines[i].at("train_loss").is_null());
  CHECK(lines[2].at("learning_rate").is_null());
  CHECK(lines[3].at("eval_loss").is_null());
  CHECK(lines[3].at("eval_samples_per_second").is_null());
  CHECK(lines[3].at("eval_accuracy") == 0.925);
}

TEST_CASE("run folder: an evaluation is one line that names its split") {
  const TemporaryFolder temporary;
  RunFolder folder(temporary.path(), false);
  folder.add_evaluation(evaluation_of("validation"), 63, 1);
  folder.add_evaluation(evaluation_of("test"), 126, 2);
  const std::vector<Json> lines = lines_of(temporary.path() / "metrics.jsonl");
  REQUIRE(lines.size() == 2);
  CHECK(
      lines[0].dump() ==
      R"({"step":63,"epoch":1.0,"seconds":0.0,"split":"validation","eval_loss":0.25,"eval_accuracy":0.925,)"
      R"("eval_runtime":0.5,"eval_samples_per_second":800.0,"eval_steps_per_second":14.0})");
  CHECK(lines[1].at("split") == "test");
  CHECK(lines[1].at("step") == 126);
}

TEST_CASE("run folder: config and summary are written whole, with a newline at the end") {
  const TemporaryFolder temporary;
  RunFolder folder(temporary.path(), false);
  folder.write_config("{\"epochs\": 3}");
  folder.write_summary("{}");
  CHECK(read_file(temporary.path() / "config.json") == "{\"epochs\": 3}\n");
  CHECK(read_file(temporary.path() / "summary.json") == "{}\n");
  folder.write_config("{\"epochs\": 4}");
  CHECK(read_file(temporary.path() / "config.json") == "{\"epochs\": 4}\n");
  CHECK(entries_in(temporary.path()) ==
        std::vector<std::string>{"config.json", EventFile::kName, "metrics.jsonl", "summary.json"});
}

TEST_CASE("run folder: one that holds a run is refused and stays as it is, unless overwritten") {
  const TemporaryFolder temporary;
  const std::vector<std::string> names{"config.json", "metrics.jsonl", "model.safetensors",
                                       "summary.json"};
  for (const std::string& name : names) std::ofstream(temporary.path() / name) << "old " << name;
  CHECK(error_of([&] { RunFolder(temporary.path(), false); }) ==
        str("--out: ", temporary.path().string(),
            " already holds a run; choose another folder or pass --overwrite"));
  for (const std::string& name : names) {
    CHECK(read_file(temporary.path() / name) == "old " + name);
  }
  // The new run starts empty: nothing of the old one can be taken for its result.
  RunFolder folder(temporary.path(), true);
  folder.write_config("{}");
  CHECK(entries_in(temporary.path()) ==
        std::vector<std::string>{"config.json", EventFile::kName, "metrics.jsonl"});
  CHECK(read_file(temporary.path() / "metrics.jsonl").empty());
}

TEST_CASE("run folder: other files in the folder are no run and stay") {
  const TemporaryFolder temporary;
  std::ofstream(temporary.path() / "notes.txt") << "mine";
  RunFolder(temporary.path(), false).write_config("{}");
  CHECK(read_file(temporary.path() / "notes.txt") == "mine");
}

TEST_CASE("run folder: a discarded run leaves nothing of itself, and the next one may begin") {
  const TemporaryFolder temporary;
  const fs::path path = temporary.path() / "run";
  for (const bool shared : {false, true}) {
    RunFolder folder(path, false);
    folder.write_config("{}");
    if (shared) std::ofstream(path / "notes.txt") << "mine";
    folder.discard();
    CHECK(fs::exists(path) == shared);
  }
  CHECK(entries_in(path) == std::vector<std::string>{"notes.txt"});
}

TEST_CASE("run folder: what cannot be written is refused with one line") {
  const TemporaryFolder temporary;
  const fs::path file = temporary.path() / "file";
  std::ofstream(file) << "x";
  for (const fs::path& path : {file, file / "run", file / "deep" / "run"}) {
    const std::string text = error_of([&] { RunFolder(path, false); });
    CHECK_MESSAGE(contains(text, "--out: cannot create folder " + path.string() + ": "), text);
    CHECK_FALSE(contains(text, "\n"));
  }
  CHECK(contains(error_of([&] { RunFolder(temporary.path() / std::string(300, 'n'), false); }),
                 "--out: cannot create folder "));
  CHECK(entries_in(temporary.path()) == std::vector<std::string>{"file"});
  const fs::path taken = temporary.path() / "taken";
  fs::create_directories(taken / "metrics.jsonl");
  CHECK(error_of([&] { RunFolder(taken, false); }) ==
        "--out: cannot write into folder " + taken.string());
}

TEST_CASE("run folder: a full disk is reported, and leaves no part behind") {
  if (!fs::exists("/dev/full")) return;
  const TemporaryFolder temporary;
  fs::create_symlink("/dev/full", temporary.path() / "metrics.jsonl");
  RunFolder folder(temporary.path(), false);
  CHECK(error_of([&] { folder.add_steps({{.step = 0}}, 1); }) ==
        (temporary.path() / "metrics.jsonl").string() + ": cannot write");
  CHECK(error_of([&] { folder.add_evaluation(evaluation_of("validation"), 1, 1); }) ==
        (temporary.path() / "metrics.jsonl").string() + ": cannot write");
  // No room for more than 8 bytes of a file.
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{8, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string error = error_of([&] { folder.write_summary("{\"a\": 123456789}"); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, SIG_DFL);
  CHECK(error == (temporary.path() / "summary.json").string() + ": cannot write: File too large");
  fs::create_directory(temporary.path() / "config.json");
  CHECK(error_of([&] { folder.write_config("{}"); }) ==
        (temporary.path() / "config.json").string() + ": cannot write: Is a directory");
  CHECK(entries_in(temporary.path()) ==
        std::vector<std::string>{"config.json", EventFile::kName, "metrics.jsonl"});
}

TEST_CASE("progress: durations and counts are spelled for people") {
  CHECK(duration_text(0) == "00:00");
  CHECK(duration_text(-3) == "00:00");
  CHECK(duration_text(0.4) == "00:00");
  CHECK(duration_text(0.6) == "00:01");
  CHECK(duration_text(59.6) == "01:00");
  CHECK(duration_text(425) == "07:05");
  CHECK(duration_text(3599) == "59:59");
  CHECK(duration_text(3599.5) == "1:00:00");
  CHECK(duration_text(4025) == "1:07:05");
  CHECK(duration_text(360000) == "100:00:00");
  CHECK(count_text(0) == "0");
  CHECK(count_text(999) == "999");
  CHECK(count_text(1000) == "1,000");
  CHECK(count_text(60000) == "60,000");
  CHECK(count_text(1199882) == "1,199,882");
  CHECK(count_text(std::numeric_limits<int64_t>::max()) == "9,223,372,036,854,775,807");
  CHECK(peak_memory_bytes() > 1000000);
}

TEST_CASE("run folder: a run that goes on has the lines until then, and what comes after them") {
  const TemporaryFolder temporary;
  const auto record = [](int64_t step, double loss, Action action) {
    return StepRecord{.step = step,
                      .loss = loss,
                      .correct_fraction = 0.5,
                      .learning_rate = 1e-3,
                      .action = action,
                      .skipped = std::isfinite(loss) ? 0 : 1};
  };
  {
    RunFolder folder(temporary.path(), false);
    folder.add_steps({record(0, 2.5, Action::kSnapshot), record(1, kNan, Action::kNone),
                      record(2, 2.25, Action::kRollback)},
                     4);
    folder.add_evaluation(evaluation_of("validation"), 3, 0.75);
    folder.add_steps({record(3, 2, Action::kNone)}, 4);
    folder.add_evaluation(evaluation_of("validation"), 4, 1);
  }
  const fs::path metrics = temporary.path() / "metrics.jsonl";
  const std::string whole = read_file(metrics);
  const RunHistory history = cut_metrics(metrics, 3);
  REQUIRE(history.records.size() == 3);
  CHECK(history.records[0].loss == 2.5);
  CHECK(history.records[0].action == Action::kSnapshot);
  CHECK(std::isnan(history.records[1].loss));
  CHECK(history.records[1].skipped == 1);
  CHECK(history.records[2].action == Action::kRollback);
  CHECK(history.records[2].learning_rate == 1e-3);
  REQUIRE(history.evaluations.size() == 1);
  CHECK(history.evaluations[0].first.accuracy == 0.925);
  CHECK(history.evaluations[0].second == 3);
  const std::string kept = read_file(metrics);
  CHECK(whole.starts_with(kept));
  CHECK(lines_of(metrics).size() == 4);

  RunFolder folder(temporary.path(), history);
  CHECK(folder.training_seconds() == history.step_seconds.back());
  folder.add_steps({record(3, 2, Action::kNone)}, 4);
  CHECK(read_file(metrics).starts_with(kept));
  CHECK(lines_of(metrics).size() == 5);
  CHECK(lines_of(metrics).back().at("seconds") > history.step_seconds.back());
  CHECK(contains(error_of([&] { cut_metrics(metrics, 9); }),
                 "holds 4 of the first steps, expected 9"));
}
