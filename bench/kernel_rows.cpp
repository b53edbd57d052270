#include "bench/kernel_rows.h"

#include <cstdio>

#include "kernels/error.h"

namespace flyball::bench {
namespace {

std::string commit_of_sources() {
  std::string text;
  FILE* git = popen("git -C " FLYBALL_SOURCE_DIR " describe --always --dirty 2>/dev/null", "r");
  if (git == nullptr) return "unknown";
  for (int c; (c = std::fgetc(git)) != EOF && c != '\n';) text += static_cast<char>(c);
  pclose(git);
  return text.empty() ? "unknown" : text;
}

std::string ratio_text(const Comparison& times) {
  char text[48];
  std::snprintf(text, sizeof text, "%.2f (%.2f..%.2f)%s", times.ratio, times.low, times.high,
                times.tie()       ? " tie"
                : times.ratio < 1 ? " LOSS"
                                  : "");
  return text;
}

std::string number_text(const char* format, double value) {
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

}  // namespace

KernelTable::KernelTable(std::string device, int threads, const std::string& json)
    : device_(std::move(device)), threads_(threads), commit_(commit_of_sources()) {
  if (json.empty()) return;
  json_.open(json);
  if (!json_) throw Error(str("--json ", json, ": cannot write"));
}

void KernelTable::begin(const std::string& family, const std::string& columns) {
  if (family == family_) return;
  family_ = family;
  std::printf("\n%-54s %s\n", family.c_str(), columns.c_str());
}

void KernelTable::add(const Row& row) {
  print(row);
  if (json_.is_open()) write(row);
  const std::string precision = row.dtype == "f32" ? "" : " " + row.dtype;
  if (row.pct_floor() > 0) shares_[row.family + precision].push_back(row.pct_floor());
  for (const PeerRow& peer : row.peers) {
    if (!peer.times) continue;
    ratios_[row.family + precision + " / " + peer.implementation].push_back(peer.times->ratio);
    if (peer.times->ratio >= 1 || peer.times->tie()) continue;
    losses_.push_back(row.family + " " + row.shape + ": " + peer.implementation + " " +
                      ratio_text(*peer.times));
  }
}

void KernelTable::add_fault(const std::string& family, const std::string& shape,
                            const std::string& fault) {
  begin(family, "");
  ++failures_;
  std::printf("%-54s %s\n", shape.c_str(), fault.c_str());
}

void KernelTable::print(const Row& row) {
  char header[128];
  std::snprintf(header, sizeof header, "%11s %23s %s%8s %7s %7s %8s", "us", "p10 - p90",
                row.warm ? "       warm  " : "", "GFLOP/s", "GB/s", "% floor", "error");
  begin(row.family, header);
  std::printf("%-54s %11.1f %11.1f %11.1f %s%8s %7.1f %7.0f %8.0e%s\n", row.shape.c_str(),
              row.timing.median, row.timing.p10, row.timing.p90,
              row.warm ? number_text("%11.1f  ", row.warm->median).c_str() : "",
              row.flops > 0 ? number_text("%.1f", row.gflops()).c_str() : "-", row.gbs(),
              row.pct_floor(), row.relative_error,
              row.checked_as.empty() ? "" : (" of " + row.checked_as).c_str());
  for (const PeerRow& peer : row.peers) {
    if (!peer.times) {
      std::printf("%54s %11s\n", peer.implementation.c_str(), "absent");
      continue;
    }
    std::printf("%54s %11.1f  peer / ours %s\n", peer.implementation.c_str(), peer.times->other_us,
                ratio_text(*peer.times).c_str());
  }
  std::fflush(stdout);
}

nlohmann::ordered_json KernelTable::line(const std::string& family, const std::string& shape,
                                         const std::string& dtype,
                                         const std::string& implementation) const {
  return {{"case", family},
          {"shape", shape},
          {"dtype", dtype},
          {"device", device_},
          {"implementation", implementation}};
}

void KernelTable::write(const nlohmann::ordered_json& line) {
  if (json_.is_open()) json_ << line.dump() << std::endl;
}

void KernelTable::write(const Row& row) {
  nlohmann::ordered_json line = this->line(row.family, row.shape, row.dtype, row.implementation);
  line["us"] = row.timing.median;
  line["p10"] = row.timing.p10;
  line["p90"] = row.timing.p90;
  if (row.warm) line["warm_us"] = row.warm->median;
  line["gflops"] = row.gflops();
  line["gbs"] = row.gbs();
  line["floor_us"] = row.floor_us();
  line["pct_floor"] = row.pct_floor();
  line["relative_error"] = row.relative_error;
  line["threads"] = threads_;
  line["commit"] = commit_;
  if (!row.checked_as.empty()) line["checked_as"] = row.checked_as;
  if (row.peers.empty()) write(line);
  for (const PeerRow& peer : row.peers) {
    nlohmann::ordered_json with_peer = line;
    with_peer["peer"] = peer.times ? device_ : "absent";
    with_peer["peer_implementation"] = peer.implementation;
    if (peer.times) {
      with_peer["peer_us"] = peer.times->other_us;
      with_peer["ratio"] = peer.times->ratio;
      with_peer["ratio_spread"] = {peer.times->low, peer.times->high};
      with_peer["tie"] = peer.times->tie();
      with_peer["peer_relative_error"] = peer.relative_error;
    }
    write(with_peer);
  }
}

void KernelTable::print_families(const char* title, const Families& families) {
  if (families.empty()) return;
  std::printf("\ngeometric mean of %s\n", title);
  for (const auto& [family, values] : families) {
    double logs = 0;
    for (const double value : values) logs += std::log(value);
    std::printf("  %-34s %6.2f  (%zu cases)\n", family.c_str(),
                std::exp(logs / static_cast<double>(values.size())), values.size());
  }
}

void KernelTable::print_means() const {
  print_families("% floor", shares_);
  print_families("peer / ours", ratios_);
  if (!ratios_.empty()) std::printf("\nlosses: %s\n", losses_.empty() ? "none" : "");
  for (const std::string& loss : losses_) std::printf("  %s\n", loss.c_str());
  if (failures_ > 0) std::printf("%d cases with wrong results\n", failures_);
}

}  // namespace flyball::bench
