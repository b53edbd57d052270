#include "datasets/tokenizer.h"

#include <algorithm>

#include "datasets/utf8.h"

namespace flyball {
namespace {

constexpr size_t kMostMarks = 3;  // of a run

enum class Kind : uint8_t { end, separator, letter, digit, mark };

struct Character {
  Kind kind = Kind::end;
  std::string_view text;  // normalised
  size_t next = 0;        // where the character after it starts
};

constexpr char kAscii[] =
    "\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20\21\22\23\24\25\26\27\30\31\32\33\34\35\36\37"
    " !\"#$%&'()*+,-./0123456789:;<=>?@abcdefghijklmnopqrstuvwxyz[\\]^_'"
    "abcdefghijklmnopqrstuvwxyz{|}~\177";  // lower-cased, ` as '
static_assert(sizeof kAscii == 129);

Kind kind_of_ascii(char c) {
  if (c >= 'a' && c <= 'z') return Kind::letter;
  if (c >= '0' && c <= '9') return Kind::digit;
  return c > ' ' && c < '\177' ? Kind::mark : Kind::separator;
}

struct Classified {
  Kind kind;
  std::string_view text;  // empty: as it stands
};

// Latin-1 and the punctuation blocks; everything else counts as a letter.
Classified classify(uint32_t c) {
  if (c <= 0xA0) return {Kind::separator, {}};
  if (c == 0xAB || c == 0xBB) return {Kind::mark, "\""};
  if (c == 0xB4) return {Kind::mark, "'"};
  if (c == 0xAD) return {Kind::separator, {}};
  if (c == 0xAA || c == 0xB5 || c == 0xBA) return {Kind::letter, {}};
  if (c <= 0xBF || c == 0xD7 || c == 0xF7) return {Kind::mark, {}};
  if (c < 0x2000) return {Kind::letter, {}};
  if (c <= 0x200F) return {Kind::separator, {}};
  if (c <= 0x2015) return {Kind::mark, "-"};
  if (c >= 0x2018 && c <= 0x201B) return {Kind::mark, "'"};
  if (c >= 0x201C && c <= 0x201F) return {Kind::mark, "\""};
  if ((c >= 0x2028 && c <= 0x202F) || (c >= 0x205F && c <= 0x206F)) return {Kind::separator, {}};
  if (c <= 0x205E) return {Kind::mark, {}};
  if (c == 0x3000 || c == 0xFEFF) return {Kind::separator, {}};
  if (c >= 0x3001 && c <= 0x3003) return {Kind::mark, {}};
  return {Kind::letter, {}};
}

bool is_word(Kind kind) { return kind == Kind::letter || kind == Kind::digit; }

class Scanner {
 public:
  Scanner(std::string_view text, const std::function<void(std::string_view)>& sink)
      : text_(text), sink_(sink) {}

  void run() {
    for (size_t at = 0;;) {
      const Character c = character(at);
      if (c.kind == Kind::end) return;
      if (c.kind == Kind::separator) {
        at = c.next;
      } else if (is_word(c.kind)) {
        at = word(at);
      } else {
        size_t end = 0;
        if (c.text == "<") end = line_break(c.next);
        if (c.text == "'") end = contraction(c.next);
        at = end != 0 ? end : marks(c);
      }
    }
  }

 private:
  // The first well-formed character at or after `at`.
  Character character(size_t at) const {
    for (; at < text_.size(); ++at) {
      const auto byte = static_cast<uint8_t>(text_[at]);
      if (byte < 0x80) return {kind_of_ascii(kAscii[byte]), {kAscii + byte, 1}, at + 1};
      const CodePoint point = decode_utf8(text_, at);
      if (point.bytes == 0) continue;
      const auto bytes = static_cast<size_t>(point.bytes);
      const Classified found = classify(point.value);
      return {found.kind, found.text.empty() ? text_.substr(at, bytes) : found.text, at + bytes};
    }
    return {Kind::end, {}, at};
  }

  void append(std::string_view bytes) {
    if (full_ || token_.size() + bytes.size() > kMaxTokenBytes) {
      full_ = true;
    } else {
      token_ += bytes;
    }
  }

  void emit(std::string_view token) const {
    if (!token.empty()) sink_(token);
  }

  // A word with the marks that belong inside it: an apostrophe between letters, a point or comma
  // between digits. Returns where it ends.
  size_t word(size_t at) {
    token_.clear();
    full_ = false;
    Kind previous = Kind::end;
    bool number = true;
    for (Character c = character(at); c.kind != Kind::end; c = character(at)) {
      if (!is_word(c.kind)) {
        const Kind next = character(c.next).kind;
        const bool apostrophe = c.text == "'" && is_word(next);
        const bool point = number && previous == Kind::digit && (c.text == "." || c.text == ",") &&
                           next == Kind::digit;
        if (!apostrophe && !point) break;
      }
      number = number && c.kind != Kind::letter;
      previous = c.kind;
      append(c.text);
      at = c.next;
    }
    const size_t ending = full_ ? token_.size() : contraction_start();
    const std::string_view whole = token_;
    emit(whole.substr(0, ending));
    emit(whole.substr(ending));
    return at;
  }

  // Where the token's contracted ending starts, or its end.
  size_t contraction_start() const {
    const std::string_view whole = token_;
    for (const std::string_view ending : {"n't", "'s", "'re", "'ll", "'ve", "'m", "'d"}) {
      if (whole.ends_with(ending)) return whole.size() - ending.size();
    }
    return whole.size();
  }

  // A contracted ending by itself ("it 's"), after its apostrophe: hands it on and returns where it
  // ends; 0 where there is none.
  size_t contraction(size_t at) {
    std::string ending = "'";
    size_t end = at;
    for (Character c = character(at); is_word(c.kind) && ending.size() < 4; c = character(end)) {
      ending += c.text;
      end = c.next;
    }
    if (is_word(character(end).kind)) return 0;
    for (const std::string_view known : {"'s", "'re", "'ll", "'ve", "'m", "'d"}) {
      if (ending != known) continue;
      emit(ending);
      return end;
    }
    return 0;
  }

  // After '<': where a tag br ends, 0 where there is none.
  size_t line_break(size_t at) const {
    const auto spaces = [&] {
      while (at < text_.size() && (text_[at] == ' ' || text_[at] == '/')) ++at;
    };
    const auto is = [&](char lower) {
      const bool yes = at < text_.size() && (text_[at] | 0x20) == lower;
      if (yes) ++at;
      return yes;
    };
    spaces();
    if (!is('b') || !is('r')) return 0;
    spaces();
    return at < text_.size() && text_[at] == '>' ? at + 1 : 0;
  }

  // A run of one mark. Returns where it ends.
  size_t marks(const Character& first) {
    token_ = first.text;
    size_t at = first.next;
    size_t count = 1;
    for (Character c = character(at); c.kind == Kind::mark && c.text == first.text;
         c = character(at)) {
      if (++count <= kMostMarks) token_ += c.text;
      at = c.next;
    }
    emit(token_ == "''" ? std::string_view("\"") : token_);
    return at;
  }

  std::string_view text_;
  const std::function<void(std::string_view)>& sink_;
  std::string token_;
  bool full_ = false;
};

}  // namespace

void tokenize(std::string_view text, const std::function<void(std::string_view)>& sink) {
  Scanner(text, sink).run();
}

std::vector<std::string> tokenize(std::string_view text) {
  std::vector<std::string> tokens;
  tokenize(text, [&](std::string_view token) { tokens.emplace_back(token); });
  return tokens;
}

}  // namespace flyball
