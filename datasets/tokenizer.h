#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace flyball {

// Changes with every change of what tokenize() returns: what was made with another version is not
// used again.
constexpr uint32_t kTokenizerVersion = 1;

// No token is longer; a longer word is cut at the end of a character and its rest dropped.
constexpr size_t kMaxTokenBytes = 64;

// Cuts UTF-8 text into tokens and hands them to `sink` in their order; a token's memory is valid
// during the call only. No token is empty or holds ASCII white space.
//   words         runs of letters and digits; A-Z become a-z, other letters stay as they are
//   contractions  the ending is a token of its own, as in the Penn Treebank: do n't, it 's, we 'll
//   numbers       as they stand, "1.5" and "1,000" as one token: in reviews they are the ratings
//   marks         each its own token, a run of one mark as one token of at most three; curly
//   quotes,
//                 ``, '' and dashes become ", ' and -
//   <br />        dropped, as are other spellings of this tag
// White space and control characters separate. Bytes that are not UTF-8 (Unicode 15, table 3-7) are
// dropped. Memory does not grow with the text.
void tokenize(std::string_view text, const std::function<void(std::string_view)>& sink);

std::vector<std::string> tokenize(std::string_view text);

}  // namespace flyball
