// One group of threads, its meeting points, and the fiber that runs now. Compiled without TSan's
// instrumentation: the fibers of one group are switched on one thread of the host.
#pragma once

#include <memory>
#include <string>

#include "device/emulated/fiber.h"
#include "device/emulated/grid.h"

namespace assay::emulated {

inline constexpr uint32_t simd_width = 32, most_threads = 1024, most_simds = 32;

/// Where a thread waits.
struct Place {
  const char* word = nullptr;
  const char* file = nullptr;
  int line = 0;
  bool operator==(const Place& other) const {
    return line == other.line && word == other.word && std::string_view(file) == other.file;
  }
};

enum class State : uint8_t { ready, at_barrier, at_exchange, ended };

/// What the lanes of a simd give each other: up to four words each, kept twice, so that a lane may
/// come to the next exchange while others still read this one.
struct Exchange {
  uint32_t words[2][simd_width][4];
  uint32_t round = 0, here = 0;
  Place place;
};

struct GroupThread {
  Context context;
  Thread thread{};
  State state = State::ended;
  bool has_inputs = false;
  Place place;
  class Group* group = nullptr;
};

class Group {
 public:
  explicit Group(const GridOptions& options);
  ~Group();
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  /// False where a thread did something wrong; error() then says what.
  bool run(const KernelEntry& kernel, const Grid& grid, const void* args, void* shared,
           uint32_t group_x, uint32_t group_y);
  const std::string& error() const { return error_; }
  /// For TSan: what the groups' threads did is seen from here on. Groups themselves are not
  /// ordered.
  void see_all();

  // Called by the running fiber.
  void barrier(const Place& place);
  /// A meeting point the first time, so that `inputs_arrive` is as late as it may be.
  void await_inputs(const Place& place);
  /// The 32 lanes' words, as lane·4.
  const uint32_t* exchange(const uint32_t* words, uint32_t count, const Place& place);
  /// Ends the group with a fault of the running fiber; does not return.
  void fail(std::string&& message);
  TileMap tile_map() const { return tile_map_; }
  uint32_t own_lane() const { return running_->thread.lane; }

 private:
  static void enter(void* argument);
  void arrange();
  bool all_ended() const { return ended_ == size_; }
  void wait();
  std::string divergence() const;

  Context scheduler_;
  std::unique_ptr<GroupThread[]> threads_;
  std::unique_ptr<uint32_t[]> order_;
  Exchange exchanges_[most_simds];
  const KernelEntry* kernel_ = nullptr;
  const void* args_ = nullptr;
  void* shared_ = nullptr;
  GroupThread* running_ = nullptr;
  uint32_t size_ = 0, allocated_ = 0, ended_ = 0, at_barrier_ = 0, at_inputs_ = 0;
  Schedule schedule_;
  TileMap tile_map_;
  std::function<void()> inputs_arrive_;
  uint64_t random_ = 0;
  std::string error_;
};

/// The group whose fiber runs on this thread of the host; null outside kernels.
Group* current_group();

}  // namespace assay::emulated
