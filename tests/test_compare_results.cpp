#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "schedulers/compare/report.h"
#include "schedulers/compare/run_reader.h"
#include "schedulers/compare/statistics.h"
#include "tests/file_helpers.h"
#include "tests/testing.h"

using namespace flyball;
using namespace flyball::testing;
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

ModelPlan two_epochs() {
  return {.model = "m",
          .data = "/somewhere/private/mnist/",
          .epochs = 2,
          .flags = {},
          .threshold = {.value = 0.8}};
}

// A complete run of two steps an epoch, with the given losses and validation accuracies.
void write_run(const fs::path& folder, const Cell& cell, const std::vector<double>& losses,
               const std::vector<double>& accuracies) {
  std::string metrics;
  for (size_t i = 0; i < losses.size(); ++i) {
    metrics += Json{{"step", i},
                    {"epoch", (static_cast<double>(i) + 1) / 2},
                    {"train_loss", losses[i]},
                    {"train_accuracy", 0.5},
                    {"learning_rate", cell.learning_rate},
                    {"seconds", 10 * (static_cast<double>(i) + 1)}}
                   .dump() +
               "\n";
    if (i % 2 == 0) continue;
    metrics += Json{{"step", i + 1},
                    {"epoch", (i + 1) / 2},
                    {"seconds", 10 * (static_cast<double>(i) + 1)},
                    {"split", "validation"},
                    {"eval_loss", 1 - accuracies.at(i / 2)},
                    {"eval_accuracy", accuracies.at(i / 2)}}
                   .dump() +
               "\n";
  }
  write_file(folder / "metrics.jsonl", metrics);
  write_file(folder / "config.json", Json{{"model", cell.model},
                                          {"schedule", cell.schedule},
                                          {"learning_rate", cell.learning_rate},
                                          {"seed", cell.seed},
                                          {"epochs", 2}}
                                         .dump());
  write_file(folder / "summary.json",
             Json{{"steps", losses.size()}, {"train_loss", losses.back()}, {"test_accuracy", 0.75}}
                 .dump());
}

Cell cell_of(const std::string& schedule, uint64_t seed) {
  return {.model = "m", .schedule = schedule, .learning_rate = 0.5, .seed = seed};
}

Run run_with(const std::string& schedule, uint64_t seed, double final_accuracy,
             double final_loss = 1) {
  Run run;
  run.cell = cell_of(schedule, seed);
  run.final_loss = final_loss;
  run.final_validation_accuracy = run.best_validation_accuracy = final_accuracy;
  return run;
}

const PairedMetric& metric_of(const Comparison& comparison, const std::string& name) {
  for (const PairedMetric& metric : comparison.metrics)
    if (name == metric.column->name) return metric;
  throw Error("no metric " + name);
}

}  // namespace

TEST_CASE("compare results: a run's figures, by hand") {
  const TemporaryFolder folder;
  const Cell cell = cell_of("constant", 1);
  write_run(folder.path(), cell, {4, 2, 1, 0.5}, {0.7, 0.9});
  const std::optional<Run> run = read_run(folder.path(), two_epochs(), cell);
  REQUIRE(run.has_value());
  CHECK(run->steps == 4);
  CHECK(run->seconds == 40);
  CHECK(run->loss_area == 3.75);  // (4 + 2 + 1 + 0.5) / 2 steps an epoch
  CHECK(run->final_loss == 0.5);
  CHECK(run->test_accuracy == 0.75);
  CHECK(std::isnan(run->test_loss));
  CHECK(run->final_validation_accuracy == 0.9);
  CHECK(run->best_validation_loss == doctest::Approx(0.1));
  REQUIRE(run->curve.size() == 4);
  CHECK(run->curve[3].epoch == 2);
  CHECK(run->curve[3].learning_rate == doctest::Approx(0.5));
  CHECK(reach_threshold(*run, {.value = 0.8}).steps == 4);
  CHECK(reach_threshold(*run, {.value = 0.8}).seconds == 40);
  CHECK(reach_threshold(*run, {.is_loss = true, .value = 0.35}).steps == 2);
  CHECK(std::isnan(reach_threshold(*run, {.value = 0.95}).steps));
  // Means of two steps, an epoch: 3, 1.5, 0.75.
  CHECK(reach_loss(*run, 3).steps == 2);
  CHECK(reach_loss(*run, 2.9).steps == 3);
  CHECK(reach_loss(*run, 0.75).seconds == 40);
  CHECK(std::isnan(reach_loss(*run, 0.7).seconds));
}

TEST_CASE("compare results: losses that are no numbers count with the one before") {
  const TemporaryFolder folder;
  const Cell cell = cell_of("constant", 1);
  write_run(folder.path(), cell, {4, kNan, kNan, 2}, {0.5, 0.5});
  const Run run = read_run(folder.path(), two_epochs(), cell).value();
  CHECK(run.loss_area == 7);
  CHECK(reach_loss(run, 3.9).steps == 4);
  CHECK(std::isnan(run.curve[1].loss));
  write_run(folder.path(), cell, {kNan, kNan, kNan, kNan}, {kNan, kNan});
  const Run diverged = read_run(folder.path(), two_epochs(), cell).value();
  CHECK(std::isnan(diverged.loss_area));
  CHECK(std::isnan(diverged.best_validation_accuracy));
}

TEST_CASE("compare results: a run that is cut off, damaged or another's is not complete") {
  const TemporaryFolder folder;
  const Cell cell = cell_of("constant", 1);
  CHECK_FALSE(is_complete(folder.path() / "none", two_epochs(), cell));
  write_run(folder.path(), cell, {1, 1, 1, 1}, {0.5, 0.5});
  CHECK(is_complete(folder.path(), two_epochs(), cell));
  CHECK_FALSE(is_complete(folder.path(), two_epochs(), cell_of("constant", 2)));
  CHECK_FALSE(is_complete(folder.path(), two_epochs(), cell_of("linear", 1)));
  CHECK_FALSE(is_complete(folder.path(), two_epochs(), {"m", "constant", 0.25, 1}));
  CHECK_FALSE(is_complete(folder.path(), two_epochs(), {"n", "constant", 0.5, 1}));
  ModelPlan longer = two_epochs();
  longer.epochs = 3;
  CHECK_FALSE(is_complete(folder.path(), longer, cell));
  CHECK(is_complete(folder.path(), two_epochs(), {"m", "constant:k=1", 0.5, 1}));
  write_file(folder.path() / "summary.json", "{\"steps\": ");
  CHECK_FALSE(is_complete(folder.path(), two_epochs(), cell));
  fs::remove(folder.path() / "summary.json");
  CHECK_FALSE(read_run(folder.path(), two_epochs(), cell).has_value());
  write_run(folder.path(), cell, {1, 1}, {0.5});
  write_file(folder.path() / "metrics.jsonl", "{\"step\":0}\nhalf a li");
  CHECK(contains(error_of([&] { read_run(folder.path(), two_epochs(), cell); }),
                 "metrics.jsonl: line 2 is not JSON"));
}

TEST_CASE("compare results: how far a run under way is, from a file that is cut off at the end") {
  const TemporaryFolder folder;
  CHECK(read_progress(folder.path(), 2).share == 0);
  write_run(folder.path(), cell_of("constant", 1), std::vector<double>(200, 1.0),
            std::vector<double>(100, 0.5));
  std::string text;
  std::getline(std::ifstream(folder.path() / "metrics.jsonl"), text, '\0');
  text.resize(text.rfind("{\"step\":150,") + 20);
  write_file(folder.path() / "metrics.jsonl", text);
  const RunProgress progress = read_progress(folder.path(), 100);
  CHECK(progress.share == 0.75);
  CHECK(progress.seconds == 1500);
}

TEST_CASE("compare results: rows, the best baseline's loss, and files") {
  const Plan plan = make_plan({two_epochs()}, {"constant", "step", "linear", "adaptive"}, {0.5}, 2);
  std::vector<Run> runs{run_with("constant", 1, 0.5, 2), run_with("constant", 2, 0.5, 1),
                        run_with("step", 1, 0.5, 1), run_with("adaptive", 1, 0.5, 0.1),
                        run_with("linear", 1, 0.5, 3)};
  runs[3].records = {{.loss = 1.2, .seconds = 3, .step = 30},
                     {.loss = 0.9, .seconds = 4, .step = 40}};
  const std::vector<Row> rows = make_rows(runs, plan);
  CHECK(rows[3].baseline_loss == 1);  // constant 1.5, step 1, linear 3; adaptive is no baseline
  CHECK(rows[3].at_baseline_loss.steps == 40);
  CHECK(std::isnan(rows[0].at_baseline_loss.steps));
  const std::vector<Failure> failures{{cell_of("step", 2), "m: error: \"x\", y"}};
  const std::string csv = results_csv(rows, failures);
  CHECK(contains(csv, "model,schedule,learning_rate,seed,status,threshold,epochs,steps,"));
  CHECK(contains(csv, "\nm,adaptive,0.5,1,complete,accuracy=0.8,0,0,0,0.1,"));
  CHECK(contains(csv, "\nm,step,0.5,2,failed,,"));
  CHECK(contains(csv, ",\"m: error: \"\"x\"\", y\"\n"));
  std::istringstream lines(csv);
  for (std::string line; std::getline(lines, line);) {
    if (contains(line, "\"")) line = line.substr(0, line.find('"'));
    CHECK(std::count(line.begin(), line.end(), ',') == static_cast<int64_t>(columns().size()) + 6);
  }
  std::istringstream objects(results_jsonl(rows, failures));
  std::vector<Json> read;
  for (std::string line; std::getline(objects, line);) read.push_back(Json::parse(line));
  REQUIRE(read.size() == 6);
  CHECK(read[3].at("steps_to_baseline_loss") == 40);
  CHECK(read[0].at("steps_to_baseline_loss").is_null());
  CHECK(read[5].at("error") == "m: error: \"x\", y");
}

TEST_CASE("compare statistics: mean, standard deviation and bootstrap intervals") {
  CHECK(mean_of({1, 2, 6}) == 3);
  CHECK(std::isnan(mean_of({})));
  CHECK(standard_deviation({1, 2, 6}) == doctest::Approx(std::sqrt(7.0)));  // (4 + 1 + 9) / 2
  CHECK(std::isnan(standard_deviation({1})));
  CHECK(std::isnan(bootstrap_interval({1}).low));
  CHECK(bootstrap_interval({2, 2, 2}).low == 2);
  CHECK(bootstrap_interval({2, 2, 2}).high == 2);
  // Means of two draws are 0, 1/2 and 1 with probabilities 1/4, 1/2, 1/4.
  CHECK(bootstrap_interval({0, 1}).low == 0);
  CHECK(bootstrap_interval({0, 1}).high == 1);
  // The same draws by another program. Over all 7^7 samples the quantiles are -0.0135 and 0.3838.
  const std::vector<double> values{0.413, -0.127, 0.2311, 0.0771, 0.3173, 0.6007, -0.2039};
  const Interval interval = bootstrap_interval(values);
  CHECK(interval.low == doctest::Approx(-0.015857142857142847).epsilon(1e-12));
  CHECK(interval.high == doctest::Approx(0.3793285714285715).epsilon(1e-12));
  CHECK(bootstrap_interval(values).low == interval.low);
}

TEST_CASE("compare statistics: paired differences over common seeds, by hand") {
  const Plan plan = make_plan({two_epochs()}, {"constant", "adaptive"}, {0.5}, 4);
  const std::vector<Run> runs{run_with("constant", 1, 0.8),  run_with("constant", 2, 0.8),
                              run_with("constant", 3, 0.75), run_with("adaptive", 3, 0.5),
                              run_with("adaptive", 2, 0.8),  run_with("adaptive", 1, 0.9),
                              run_with("adaptive", 4, 0.125)};
  std::vector<Row> rows = make_rows(runs, plan);
  for (Row& row : rows) row.at_threshold.steps = kNan;
  rows[0].at_threshold.steps = 100;  // constant, seed 1
  rows[5].at_threshold.steps = 60;   // adaptive, seed 1
  rows[4].at_threshold.steps = 70;   // adaptive, seed 2
  const std::vector<Group> groups = group_rows(rows);
  REQUIRE(groups.size() == 2);
  const std::vector<Comparison> comparisons = compare_groups(groups, plan.baselines);
  REQUIRE(comparisons.size() == 1);
  CHECK(comparisons[0].group->schedule == "adaptive");
  const PairedMetric& accuracy = metric_of(comparisons[0], "validation_accuracy");
  CHECK(accuracy.count == 3);
  CHECK(accuracy.difference == doctest::Approx((-0.25 + 0 + 0.1) / 3));
  CHECK(accuracy.interval.low == doctest::Approx(-0.25));  // all three draws the worst: 1/27
  CHECK(accuracy.interval.high == doctest::Approx(0.1));
  CHECK((accuracy.wins == 1 && accuracy.ties == 1 && accuracy.losses == 1));
  const PairedMetric& steps = metric_of(comparisons[0], "steps_to_threshold");
  CHECK(steps.count == 1);
  CHECK(steps.difference == -40);
  CHECK((steps.wins == 2 && steps.ties == 1 && steps.losses == 0));
  const Json json = Json::parse(statistics_json(groups, comparisons));
  CHECK(json.at("groups").at(1).at("metrics").at("validation_accuracy").at("count") == 4);
  CHECK(json.at("comparisons").at(0).at("metrics").at("steps_to_threshold").at("low").is_null());
  CHECK(contains(statistics_csv(groups, comparisons),
                 "m,adaptive,0.5,constant,0.5,steps_to_threshold,1,,,-40,,,2,1,0\n"));
}

TEST_CASE("compare statistics: a baseline is also met at its best rate") {
  const Plan plan = make_plan({two_epochs()}, {"constant", "adaptive"}, {0.5, 0.25}, 1);
  std::vector<Run> runs{run_with("constant", 1, 0.5), run_with("constant", 1, 0.75),
                        run_with("adaptive", 1, 0.625)};
  runs[1].cell.learning_rate = 0.25;
  const std::vector<Row> rows = make_rows(runs, plan);
  const std::vector<Group> groups = group_rows(rows);
  const std::vector<Comparison> comparisons = compare_groups(groups, plan.baselines);
  REQUIRE(comparisons.size() == 2);
  CHECK_FALSE(comparisons[0].tuned);
  CHECK(metric_of(comparisons[0], "validation_accuracy").difference == 0.125);
  CHECK(comparisons[1].tuned);
  CHECK(comparisons[1].baseline->learning_rate == 0.25);
  CHECK(metric_of(comparisons[1], "validation_accuracy").difference == -0.125);
}

TEST_CASE("compare report: one page, data that cannot break out of it, no paths of the machine") {
  CHECK(script_safe("</script><!--") == "\\u003c/script>\\u003c!--");
  CHECK(without_folders("m: /a/b c/d.json: full, '/e/f', x=/g") == "m: b c/d.json: full, 'f', x=g");
  CHECK(without_folders("/a/b/c") == "c");
  CHECK(without_folders("1/2, and/or") == "1/2, and/or");
  CHECK(fill_place("a{x}b", "{x}", "{x}") == "a{x}b");
  CHECK(contains(error_of([] { fill_place("ab", "{x}", ""); }), "expected {x} once"));
  CHECK(contains(error_of([] { fill_place("{x}{x}", "{x}", ""); }), "expected {x} once"));
  const TemporaryFolder folder;
  const Plan plan = make_plan({two_epochs()}, {"constant", "adaptive"}, {0.5}, 1);
  write_run(folder.path(), plan.cells[0], {2, 1, 1, 1}, {0.5, 0.625});
  const std::vector<Row> rows =
      make_rows({read_run(folder.path(), two_epochs(), plan.cells[0]).value()}, plan);
  const std::vector<Group> groups = group_rows(rows);
  const std::vector<Failure> failures{{plan.cells[1], "/somewhere/private/m: </script><b>\xff"}};
  const std::string page =
      report_html({.plan = plan,
                   .machine = {.processor = "P", .system = "S", .compiler = "C"},
                   .rows = rows,
                   .failures = failures,
                   .groups = groups,
                   .comparisons = {}});
  CHECK_FALSE(contains(page, "/somewhere/private"));
  CHECK(contains(page, "\"data\":\"mnist\""));
  CHECK_FALSE(contains(page, "m: </script>"));
  CHECK_FALSE(contains(page, "src=\"http"));
  const std::string begin = "<script type=\"application/json\" id=\"data\">";
  const size_t from = page.find(begin) + begin.size();
  const Json data = Json::parse(page.substr(from, page.find("</script>", from) - from));
  CHECK(data.at("groups").at(0).at("validation").at("accuracy").at("mean").at(1) == 0.625);
  CHECK(contains(data.at("failures").at(0).at("error").get<std::string>(), "</script>"));
}
