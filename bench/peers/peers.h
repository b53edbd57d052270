#pragma once

#include <any>
#include <functional>
#include <string>
#include <vector>

// What other libraries take for the same work: same arguments, same outputs, same thread count.
namespace flyball::bench {

struct Peer {
  const char* implementation;
  std::function<void()> run;
  std::vector<std::string> leaves{};  // outputs of ours that it does not write
};

// The peers of a kernel's argument struct (OpCase::arguments); none where no library has the
// operation. What a peer needs beyond the arguments it allocates here, not in run().
std::vector<Peer> peers_of(const std::any& arguments);

// Eigen, one thread.
void offer_eigen(const std::any& arguments, std::vector<Peer>& peers);
// oneDNN on channel-last data; nothing in a build without it.
void offer_onednn(const std::any& arguments, std::vector<Peer>& peers);

// Calls offer(arguments) if that is what `arguments` holds.
template <class Arguments, class Offer>
void if_holds(const std::any& arguments, Offer&& offer) {
  if (const auto* held = std::any_cast<Arguments>(&arguments)) offer(*held);
}

}  // namespace flyball::bench
