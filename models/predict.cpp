// Classifies texts from standard input, or image files.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <numeric>

#include "kernels/cpu/parallel.h"
#include "models/command_line.h"
#include "models/process_settings.h"
#include "models/run_config.h"
#include "models/saved_model.h"
#include "models/terminal.h"

namespace flyball {
namespace {

struct Options {
  std::string checkpoint, device = "cpu";
  std::vector<std::string> files;
  int64_t top = 1;
  bool json = false;
};

Options parse(int argc, char** argv) {
  Options options;
  CLI::App app(
      "Classifies image files, or the texts on standard input, one a line, for models of texts.",
      "predict");
  app.add_option("--checkpoint", options.checkpoint, "a run folder, or weights in one")->required();
  app.add_option("files", options.files, "PNG or JPEG images (models of images)");
  app.add_option("--top", options.top, "so many of the likeliest classes")->capture_default_str();
  app.add_option("--device", options.device, "cpu, cuda or cuda:INDEX")->capture_default_str();
  app.add_flag("--json", options.json, "print a JSON line for each input");
  parse_command_line(app, argc, argv);
  if (options.top < 1) throw Error(str("--top is ", options.top, ", expected at least 1"));
  return options;
}

std::vector<std::string> lines_of_standard_input() {
  std::vector<std::string> lines;
  for (std::string line; std::getline(std::cin, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    lines.push_back(std::move(line));
  }
  return lines;
}

std::vector<double> softmax(const float* logits, size_t n) {
  const double largest = *std::max_element(logits, logits + n);
  std::vector<double> p(n);
  for (size_t i = 0; i < n; ++i) p[i] = std::exp(logits[i] - largest);
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value /= sum;
  return p;
}

// Probabilities of each input, in the inputs' order.
std::vector<std::vector<double>> predict(const SavedModel& saved, const LabelledSet& inputs,
                                         const Stream& stream) {
  const NoGradient no_gradient;
  const Context context{.stream = stream};
  const size_t classes = saved.task->classes().size();
  const auto loader =
      inputs.loader(stream, first_indices(inputs.size()), saved.options, Use::evaluation);
  std::vector<std::vector<double>> all(static_cast<size_t>(inputs.size()));
  for (int64_t b = 0; b < loader->batches_per_epoch(); ++b) {
    const Batch batch = loader->next();
    const auto logits = saved.model.forward(context, batch).value().to_host<float>(stream);
    const std::vector<int32_t> places = batch.labels.to_host<int32_t>(stream);
    for (size_t i = 0; i < places.size(); ++i) {
      all[static_cast<size_t>(places[i])] = softmax(logits.data() + i * classes, classes);
    }
  }
  return all;
}

int predict_inputs(int argc, char** argv) {
  const Options options = parse(argc, argv);
  cpu::set_threads(1);
  const Stream stream(parse_device(options.device));
  const SavedModel saved = open_model(options.checkpoint, stream);
  const bool texts = saved.task->reads_texts();
  if (texts && !options.files.empty()) {
    throw Error(str("'", options.files[0], "': ", saved.options.model,
                    " reads texts, expected them on standard input, one a line"));
  }
  const std::vector<std::string> names = texts ? lines_of_standard_input() : options.files;
  if (names.empty()) {
    throw Error(texts ? "standard input is empty, expected a text a line"
                      : str(saved.options.model, " reads images, expected PNG or JPEG files"));
  }
  const auto inputs = saved.task->inputs(saved.options, names);
  const auto probabilities = predict(saved, *inputs, stream);
  const std::vector<std::string>& classes = saved.task->classes();
  const size_t shown = std::min(classes.size(), static_cast<size_t>(options.top));
  for (size_t i = 0; i < names.size(); ++i) {
    const std::vector<double>& p = probabilities[i];
    std::vector<size_t> order(classes.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] > p[b]; });
    Json answers = Json::array();
    std::string text;
    for (size_t k = 0; k < shown; ++k) {
      answers.push_back({{"class", classes[order[k]]}, {"probability", p[order[k]]}});
      text += classes[order[k]] + ' ' + percent(p[order[k]]) + '\t';
    }
    if (options.json) {
      std::cout << text_of(Json{{"input", names[i]}, {"answers", answers}}) << '\n';
    } else {
      std::cout << text << names[i] << '\n';
    }
  }
  return 0;
}

}  // namespace
}  // namespace flyball

int main(int argc, char** argv) {
  flyball::flush_subnormals();
  return flyball::run_main("predict", [&] { return flyball::predict_inputs(argc, argv); });
}
