#pragma once

// FakeDisk: a Disk in memory that keeps what it promised and not a byte more.
//
// It knows what is there now and what would be there after a power cut. `power_cut` lets each
// sector that was not synced survive or not by itself, and of the changes of names that were not
// synced a prefix. A failed sync forgets that the file had anything to write: a later one says yes,
// and the bytes are gone all the same with the next power cut.

#include "base/prng.h"
#include "io/disk.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace mqttd {

class FakeDisk final : public Disk {
  public:
    static constexpr size_t kSector = 512;

    // One in so many calls fails; 0: none.
    struct Faults {
        uint32_t write = 0;
        uint32_t sync = 0;
        uint32_t names = 0;  // open with `create`, rename, remove, sync_names
    };

    explicit FakeDisk(uint64_t seed = 1) : dice_(seed) {}

    Faults faults;
    uint64_t room = ~uint64_t{0};  // bytes of all files together
    // Whoever uses it dies after so many calls that change something: what comes then has no
    // effect, and of the last write a part.
    uint64_t calls_left = ~uint64_t{0};

    bool died() const { return calls_left == 0; }

    void power_cut();

    // What lies there now and would after a power cut, for tests that damage it.
    std::vector<uint8_t>& content(const std::string& name);
    void damage(const std::string& name, uint64_t offset, uint8_t flip);
    std::vector<std::string> names() const;

    // Bytes of all files.
    uint64_t used() const;

    uint64_t syncs() const { return syncs_; }

    // Whether or not there was something to open.
    uint64_t opens() const { return opens_; }

    uint32_t open_files() const { return open_; }

    Error list(Visit visit, void* context) override;
    Result<int> open(std::string_view name, bool create) override;
    void close(int file) override;
    Result<size_t> read(int file, uint64_t offset, std::span<uint8_t> into) override;
    Error write(int file, uint64_t offset, Bytes bytes) override;
    Error sync(int file) override;
    Error rename(std::string_view from, std::string_view to) override;
    Error remove(std::string_view name) override;
    Error sync_names() override;

  private:
    struct Node {
        std::vector<uint8_t> now;
        std::vector<uint8_t> safe;
        std::vector<bool> dirty;  // by sector
    };

    using NodeRef = std::shared_ptr<Node>;
    using Names = std::map<std::string, NodeRef>;

    bool fails(uint32_t one_in) { return one_in != 0 && dice_.below(one_in) == 0; }

    // False: its user is dead.
    bool alive() {
        if (calls_left == ~uint64_t{0}) return true;
        if (calls_left == 0) return false;
        return --calls_left > 0;
    }

    void change(const std::function<void(Names&)>& step);
    static void keep_sector(Node& node, size_t sector);

    Prng dice_;
    Names now_;
    Names safe_;
    std::vector<std::function<void(Names&)>> changes_;  // of names, since the last sync of them
    std::vector<NodeRef> handles_;
    uint64_t syncs_ = 0;
    uint64_t opens_ = 0;
    uint32_t open_ = 0;
};

}  // namespace mqttd
