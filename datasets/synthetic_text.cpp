#include "datasets/synthetic_text.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/error.h"
#include "kernels/permutation.h"
#include "kernels/philox.h"

namespace flyball {
namespace {

enum RandomStream : uint32_t { kLabelStream = 0x54585400U, kWordStream };

// In templates: a topic, another topic, an intensifier, the adjective that the sentence's meaning
// asks for, one of the opposite meaning, and what fills a neutral sentence.
constexpr std::string_view kStated[] = {
    "The {topic} was {very} {adjective}.",
    "What {very} {adjective} {topic}!",
    "I found the {topic} {very} {adjective}, and so did {person}.",
    "{adjective} {topic}, that is all there is to say.",
    "For {person} and me the {topic} was the {very} {adjective} part.",
};
constexpr std::string_view kNegated[] = {
    "The {topic} wasn't {very} {opposite}.",
    "I can't call the {topic} {opposite} at all.",
    "Nobody could say that the {topic} was {opposite}.",
    "At no point in {number} minutes was the {topic} {opposite}.",
    "The {topic}, as {person} told me in {place}, is not {very} {opposite}.",
    "It is hardly {very} {opposite} {topic}.",
};
constexpr std::string_view kContrasted[] = {
    "Although the {other} was {very} {opposite}, the {topic} was {adjective}.",
    "Although {person} found the {other} {opposite}, I found the {topic} {very} {adjective}.",
    "Although the {other} wasn't {adjective}, the {topic} was {very} {adjective}.",
};
constexpr std::string_view kNeutral[] = {
    "I saw it with {person} in {place}.",
    "It runs for {number} minutes.",
    "I had not read the book before.",
    "Nobody in {place} had told me about it.",
    "The story takes place in {place}.<br /><br />",
    "There is no second part so far.",
    "{person} never goes to {place} without me.",
    "They made it in {number} days, most of it in {place}.",
    "The credits didn't say who wrote the {topic}.",
};
constexpr std::string_view kTopics[] = {"plot",        "cast",   "music",  "ending",
                                        "camera work", "script", "acting", "humour",
                                        "dialogue",    "story",  "lead",   "pace"};
constexpr std::string_view kVery[] = {"", "", "really", "very", "quite", "truly", "so"};
constexpr std::string_view kPersons[] = {"my sister", "a friend", "my neighbour",
                                         "Anna",      "Tom",      "the whole class"};
constexpr std::string_view kPlaces[] = {"Lisbon", "a small town",  "the capital",
                                        "Norway", "an old cinema", "the mountains"};
constexpr std::string_view kNumbers[] = {"87", "93", "101", "112", "124", "140"};
constexpr std::string_view kAdjectives[2][12] = {
    {"dull", "boring", "weak", "clumsy", "awful", "tedious", "lifeless", "bad", "predictable",
     "silly", "tiresome", "poor"},
    {"moving", "gripping", "clever", "funny", "great", "charming", "brilliant", "good", "original",
     "lovely", "touching", "superb"}};

class Writer {
 public:
  Writer(int64_t review, uint64_t seed) : review_(static_cast<uint64_t>(review)), seed_(seed) {}

  uint32_t below(uint32_t count) {
    return philox_at(review_, step_++, kWordStream, seed_).word[0] % count;
  }

  template <size_t kCount>
  std::string_view one_of(const std::string_view (&words)[kCount]) {
    return words[below(kCount)];
  }

  // Fills a template's places for a sentence that means `label`, and starts it in upper case.
  std::string sentence(std::string_view form, int32_t label) {
    const std::string_view topic = one_of(kTopics);
    std::string text;
    while (!form.empty()) {
      const size_t open = form.find('{');
      text += form.substr(0, open);
      if (open == std::string_view::npos) break;
      const size_t close = form.find('}', open);
      const std::string_view word = filler(form.substr(open + 1, close - open - 1), topic, label);
      text += word;
      form.remove_prefix(close + 1);
      if (word.empty() && form.starts_with(' ')) form.remove_prefix(1);
    }
    if (text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
    return text;
  }

  std::string opinion(int32_t label) {
    const uint32_t form = below(20);
    if (form < 12) return sentence(one_of(kStated), label);
    return sentence(form < 17 ? one_of(kNegated) : one_of(kContrasted), label);
  }

 private:
  std::string_view filler(std::string_view place, std::string_view topic, int32_t label) {
    if (place == "topic") return topic;
    if (place == "other") {
      std::string_view other = topic;
      while (other == topic) other = one_of(kTopics);
      return other;
    }
    if (place == "very") return one_of(kVery);
    if (place == "adjective") return one_of(kAdjectives[label]);
    if (place == "opposite") return one_of(kAdjectives[1 - label]);
    if (place == "person") return one_of(kPersons);
    if (place == "place") return one_of(kPlaces);
    return one_of(kNumbers);
  }

  uint64_t review_, seed_;
  uint32_t step_ = 0;
};

std::string review(int64_t i, int32_t label, uint64_t seed) {
  Writer writer(i, seed);
  uint32_t opinions = 1 + writer.below(3);
  uint32_t neutral = 2 + writer.below(4);
  std::string text;
  while (opinions + neutral > 0) {
    if (!text.empty()) text += ' ';
    if (writer.below(opinions + neutral) < opinions) {
      text += writer.opinion(label);
      --opinions;
    } else {
      text += writer.sentence(writer.one_of(kNeutral), label);
      --neutral;
    }
  }
  return text;
}

}  // namespace

TextSamples synthetic_text(int64_t count, uint64_t seed) {
  if (count < 1) throw Error(str("synthetic_text: count is ", count, ", expected at least 1"));
  TextSamples samples{.name = "synthetic reviews"};
  for (int64_t i = 0; i < count; ++i) {
    const auto pair = static_cast<uint32_t>(i / 2);
    const auto label = static_cast<int32_t>(permuted(i % 2, 2, seed, pair, kLabelStream));
    samples.texts.push_back(review(i, label, seed));
    samples.labels.push_back(label);
  }
  return samples;
}

}  // namespace flyball
