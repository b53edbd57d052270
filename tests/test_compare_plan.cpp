#include <nlohmann/json.hpp>
#include <thread>

#include "schedulers/compare/options.h"
#include "schedulers/compare/overall_progress.h"
#include "schedulers/compare/plan_file.h"
#include "schedulers/compare/text.h"
#include "tests/file_helpers.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;
namespace fs = std::filesystem;
using Texts = std::vector<std::string>;

namespace {

// A folder with programs that have the names of models.
struct Binaries {
  TemporaryFolder folder;
  Binaries() {
    for (const char* name : {"mnist_mlp", "mnist_cnn", "cifar10_resnet18", "imdb_bilstm"}) {
      fs::permissions(write_file(folder.path() / name, "#!/bin/sh\n"), fs::perms::owner_all);
    }
  }
};

CompareOptions parse(const Texts& flags) {
  static const Binaries binaries;
  std::vector<const char*> arguments{"compare_schedules"};
  for (const std::string& flag : flags) arguments.push_back(flag.c_str());
  return parse_compare_options(static_cast<int>(arguments.size()), arguments.data(),
                               binaries.folder.path());
}

std::string refusal(const Texts& flags) {
  return error_of([&] { parse(flags); });
}

ModelPlan task_of(const std::string& model) {
  return {.model = model, .data = "", .epochs = 3, .flags = {}, .threshold = {.value = 0.9}};
}

Plan small_plan() { return make_plan({task_of("a")}, {"constant", "adaptive"}, {1e-3}, 2); }

}  // namespace

TEST_CASE("compare: numbers, lists and CSV fields as text") {
  CHECK(number_text(0.001) == "0.001");
  CHECK(number_text(1e-5) == "1e-5");
  CHECK(number_text(1.5e-10) == "1.5e-10");
  CHECK(number_text(1e300) == "1e+300");
  CHECK(number_text(0.1 + 0.2) == "0.30000000000000004");  // reads back as the same number
  CHECK(parse_number("x", "1e-3") == 0.001);
  for (const char* bad : {"", "1e", "1,5", " 1", "nan", "inf", "0x1"})
    CHECK(error_of([&] { parse_number("--lrs", bad); }) ==
          str("--lrs is '", bad, "', expected a number"));
  CHECK(split_text("a,,b", ',') == Texts{"a", "", "b"});
  CHECK(split_text("", ',') == Texts{""});
  CHECK(csv_field("plain text") == "plain text");
  CHECK(csv_field("a,b") == "\"a,b\"");
  CHECK(csv_field("say \"hi\"") == "\"say \"\"hi\"\"\"");
  CHECK(csv_field("two\nlines") == "\"two\nlines\"");
  CHECK(cut_text("ab━─c", 4) == "ab━─");
  CHECK(cut_text("ab", 4) == "ab");
}

TEST_CASE("compare: a schedule is a name with options") {
  const ScheduleSpec spec = parse_schedule("step:every=0.6:factor=1e-1");
  CHECK(spec.name == "step");
  CHECK(spec.options == Texts{"every=0.6", "factor=1e-1"});
  CHECK(parse_schedule("adaptive").options.empty());
  for (const char* bad : {"", ":a=1", "step:", "step:every", "step:=1", "step:a=", "../x", "a/b",
                          "a b", "step:a=b=c", "--lr"}) {
    CHECK_MESSAGE(contains(error_of([&] { parse_schedule(bad); }), "is no schedule, expected NAME"),
                  bad);
  }
  CHECK(error_of([] { parse_schedule("step:a=1:a=2"); }) ==
        "--schedules: 'step:a=1:a=2' gives a twice");
}

TEST_CASE("compare: scaled schedules decay over a run of any length as over 50 epochs") {
  CHECK(scaled_schedule("step") == "step:as_epochs=50");
  CHECK(scaled_schedule("exponential:decay=0.9") == "exponential:decay=0.9:as_epochs=50");
  CHECK(scaled_schedule("step:as_epochs=20") == "step:as_epochs=20");
  CHECK(scaled_schedule("adaptive") == "adaptive");
}

TEST_CASE("compare: the grid is every combination once, seeds outside, schedules inside") {
  const Plan plan =
      make_plan({task_of("a"), task_of("b")}, {"constant", "adaptive", "step:k=1"}, {1e-3, 0.1}, 2);
  REQUIRE(plan.cells.size() == 24);
  CHECK(cell_text(plan.cells[0]) == "a constant lr 0.001 seed 1");
  CHECK(cell_text(plan.cells[1]) == "a adaptive lr 0.001 seed 1");
  CHECK(cell_text(plan.cells[3]) == "a constant lr 0.1 seed 1");
  CHECK(cell_text(plan.cells[6]) == "a constant lr 0.001 seed 2");
  CHECK(cell_text(plan.cells[23]) == "b step:k=1 lr 0.1 seed 2");
  CHECK(plan.baselines == Texts{"constant", "step:k=1"});
  for (size_t i = 0; i < plan.cells.size(); ++i) {
    for (size_t j = 0; j < i; ++j) CHECK(cell_folder(plan.cells[i]) != cell_folder(plan.cells[j]));
  }
  CHECK(cell_folder(plan.cells[23]) == fs::path("runs/b/step,k=1/lr-0.1/seed-2"));
  const ModelPlan task{.model = "b", .data = "d", .epochs = 4, .flags = {"--width", "8"}};
  CHECK(cell_arguments(task, plan.cells[23], "out", 2) ==
        Texts{"--width", "8", "--data", "d", "--epochs", "4", "--schedule", "step",
              "--schedule-option", "k=1", "--lr", "0.1", "--seed", "2", "--threads", "2", "--out",
              "out", "--json"});
  CHECK(error_of([] {
          make_plan({task_of("a")}, {"x", "x"}, {1}, 1);
        }) == "--schedules holds x twice, expected distinct ones");
  CHECK(error_of([] {
          make_plan({task_of("a")}, {"x"}, {1, 1}, 1);
        }) == "--lrs holds 1 twice, expected distinct ones");
  CHECK(error_of([] { make_plan({task_of("a")}, {"x"}, {-1}, 1); }) ==
        "--lrs: -1, expected positive numbers");
  CHECK(error_of([] { make_plan({task_of("a")}, {"x"}, {1}, 0); }) ==
        "--seeds is 0, expected 1 to 1000");
}

TEST_CASE("compare: thresholds") {
  CHECK(parse_threshold("0.97").value == 0.97);
  CHECK_FALSE(parse_threshold("accuracy=0.5").is_loss);
  CHECK(parse_threshold("loss=1.5").is_loss);
  CHECK(threshold_text(parse_threshold("loss=1.5")) == "loss=1.5");
  for (const char* bad : {"97", "accuracy=0", "loss=-1", "recall=0.5", "x"})
    CHECK_MESSAGE(contains(error_of([&] { parse_threshold(bad); }), "--threshold is '"), bad);
}

TEST_CASE("compare: a plan is read back as it was written") {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "plan.json";
  const Plan plan = small_plan();
  write_plan(file, plan);
  const Plan read = read_plan(file);
  CHECK(read.cells == plan.cells);
  CHECK(read.baselines == plan.baselines);
  REQUIRE(read.tasks.size() == 1);
  CHECK(threshold_text(read.tasks[0].threshold) == "accuracy=0.9");
  for (const char* damaged : {"", "{", "[]", "{\"tasks\": 1}"}) {
    write_file(file, damaged);
    const std::string text = error_of([&] { read_plan(file); });
    CHECK_MESSAGE(contains(text, file.string() + ": "), damaged);
    CHECK_FALSE(contains(text, "\n"));
  }
}

TEST_CASE("compare: a plan grows by cells, and another configuration is refused") {
  const Plan plan = small_plan();
  CHECK(merge_plans(plan, plan).cells == plan.cells);
  Plan more = make_plan({task_of("a")}, {"adaptive", "step"}, {1e-3, 1e-2}, 2);
  const Plan grown = merge_plans(plan, more);
  CHECK(grown.cells.size() == 10);  // 4 of before, and 8 new ones of which 2 were there
  CHECK(grown.baselines == Texts{"constant", "step"});
  CHECK(merge_plans(plan, make_plan({task_of("b")}, {"constant"}, {1}, 1)).tasks.size() == 2);
  more.tasks[0].threshold = {.is_loss = true, .value = 2};
  CHECK(threshold_text(merge_plans(plan, more).tasks[0].threshold) == "loss=2");
  more.tasks[0].epochs = 5;
  CHECK(error_of([&] { merge_plans(plan, more); }) ==
        "--out holds runs of another configuration: a there has --epochs '3', here '5'; choose "
        "another folder");
  more = plan;
  more.tasks[0].data = "elsewhere";
  CHECK(contains(error_of([&] { merge_plans(plan, more); }), "has --data '', here 'elsewhere'"));
  more = plan;
  more.tasks[0].flags = {"--width", "8"};
  CHECK(contains(error_of([&] { merge_plans(plan, more); }), "has flags '', here '--width 8'"));
}

TEST_CASE("compare: flags") {
  CompareOptions options =
      parse({"--model", "mnist_mlp", "--schedules", "a,b:k=2", "--lrs", "1e-4,1", "--seeds", "2",
             "--epochs", "7", "--out", "o", "--", "--limit-train", "10"});
  CHECK(options.plan.cells.size() == 8);
  CHECK(options.plan.tasks[0].flags == Texts{"--limit-train", "10"});
  CHECK(options.runner.out == "o");
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  CHECK(options.runner.jobs * options.runner.threads <= cores);
  options = parse({"--jobs", "1"});
  CHECK(options.runner.threads == cores);
  options = parse({"--preset", "small", "--seeds", "1"});  // a flag beside the preset wins
  CHECK(options.plan.cells.size() == 4);
  CHECK(options.plan.cells[1].schedule == "step:as_epochs=50");
  options = parse({"--preset", "paper", "--data", "d"});
  CHECK(options.plan.cells.size() == 3 * 4 * 5 * 5);
  CHECK(options.estimate);
  CHECK(options.plan.tasks[2].flags == Texts{"--batch-size", "64", "--optimizer", "adam"});
}

TEST_CASE("compare: flags that are wrong are refused with one line") {
  CHECK(contains(refusal({"--model", "vgg"}),
                 "--model is 'vgg', expected one of those beside this program: mnist_mlp, "));
  CHECK(contains(refusal({"--model", "mnist_mlp,mnist_mlp"}), "--model holds mnist_mlp twice"));
  CHECK(contains(refusal({"--preset", "huge"}), "expected one of: small, paper"));
  CHECK(contains(refusal({"--preset", "paper"}), "--preset paper: expected --data"));
  CHECK(contains(refusal({"--epochs", "0"}), "--epochs is 0, expected 1 to 1000000"));
  CHECK(contains(refusal({"--jobs", "0"}), "--jobs is 0, expected 1 to "));
  CHECK(contains(refusal({"--jobs", "10000"}), "--jobs is 10000, expected 1 to "));
  CHECK(contains(refusal({"--lrs", "1e-3,fast"}), "--lrs is 'fast', expected a number"));
  CHECK(contains(refusal({"--schedules", "constant,,"}), "is no schedule"));
  CHECK(contains(refusal({"--no-such-flag"}), "--no-such-flag"));
  CHECK(contains(refusal({"surplus"}), "surplus"));
  for (const char* flag : {"--schedule", "--lr", "--seed=3", "--out", "--epochs", "--threads=1"}) {
    CHECK_MESSAGE(contains(refusal({"--", flag, "1"}), "after --: every run gets its own"), flag);
  }
}

TEST_CASE("compare: time left is in proportion to the work left") {
  CHECK(OverallProgress::seconds_left(30, 0, 10) == -1);
  CHECK(OverallProgress::seconds_left(30, 2.5, 10) == 90);
  CHECK(OverallProgress::seconds_left(30, 10, 10) == 0);
}
