#include "support/fake_disk.h"

#include "base/assert.h"

#include <algorithm>

namespace mqttd {

Error FakeDisk::list(Visit visit, void* context) {
    for (const auto& [name, node] : now_)
        visit(context, name, node->now.size());
    return Error::kNone;
}

std::vector<std::string> FakeDisk::names() const {
    std::vector<std::string> names;
    for (const auto& [name, node] : now_)
        names.push_back(name);
    return names;
}

void FakeDisk::change(const std::function<void(Names&)>& step) {
    step(now_);
    changes_.push_back(step);
}

Result<int> FakeDisk::open(std::string_view name, bool create) {
    ++opens_;
    const std::string text(name);
    MQTTD_ASSERT(text.size() <= kNameMax);
    const auto found = now_.find(text);
    if (create == (found != now_.end())) return create ? Error::kExists : Error::kNotFound;
    if (create && (!alive() || fails(faults.names))) return Error::kIo;
    NodeRef node = create ? std::make_shared<Node>() : found->second;
    if (create) {
        change([text, node](Names& names) { names[text] = node; });
    }
    handles_.push_back(node);
    ++open_;
    return static_cast<int>(handles_.size() - 1);
}

void FakeDisk::close(int file) {
    NodeRef& node = handles_.at(static_cast<size_t>(file));
    MQTTD_ASSERT(node != nullptr);
    node = nullptr;
    --open_;
}

Result<size_t> FakeDisk::read(int file, uint64_t offset, std::span<uint8_t> into) {
    const Node& node = *handles_.at(static_cast<size_t>(file));
    if (offset >= node.now.size()) return size_t{0};
    const size_t size = std::min<size_t>(into.size(), node.now.size() - offset);
    std::copy_n(node.now.begin() + static_cast<ptrdiff_t>(offset), size, into.begin());
    return size;
}

uint64_t FakeDisk::used() const {
    uint64_t used = 0;
    for (const auto& [name, node] : now_)
        used += node->now.size();
    return used;
}

// A write that fails has written some of it.
Error FakeDisk::write(int file, uint64_t offset, Bytes bytes) {
    Node& node = *handles_.at(static_cast<size_t>(file));
    Error error = Error::kNone;
    if (died()) return Error::kIo;
    if (!alive() || fails(faults.write)) {
        bytes = bytes.first(dice_.below(static_cast<uint32_t>(bytes.size())));
        error = Error::kIo;
    }
    if (room != ~uint64_t{0} && offset + bytes.size() > node.now.size()) {
        const uint64_t used = this->used();
        const uint64_t more = offset + bytes.size() - node.now.size();
        if (used + more > room) {
            const uint64_t fit = room > used ? room - used : 0;
            const uint64_t end = std::max<uint64_t>(node.now.size() + fit, offset);
            bytes = bytes.first(std::min<uint64_t>(bytes.size(), end - offset));
            error = Error::kNoSpace;
        }
    }
    if (bytes.empty()) return error;
    node.now.resize(std::max<size_t>(node.now.size(), offset + bytes.size()));
    std::copy(bytes.begin(), bytes.end(), node.now.begin() + static_cast<ptrdiff_t>(offset));
    node.dirty.resize((node.now.size() + kSector - 1) / kSector);
    for (size_t sector = offset / kSector; sector * kSector < offset + bytes.size(); ++sector)
        node.dirty[sector] = true;
    return error;
}

void FakeDisk::keep_sector(Node& node, size_t sector) {
    const size_t begin = sector * kSector;
    const size_t end = std::min(begin + kSector, node.now.size());
    if (node.safe.size() < end) node.safe.resize(end);
    std::copy(node.now.begin() + static_cast<ptrdiff_t>(begin),
              node.now.begin() + static_cast<ptrdiff_t>(end),
              node.safe.begin() + static_cast<ptrdiff_t>(begin));
}

Error FakeDisk::sync(int file) {
    Node& node = *handles_.at(static_cast<size_t>(file));
    if (!alive()) return Error::kIo;
    const bool failed = fails(faults.sync);
    for (size_t sector = 0; sector < node.dirty.size(); ++sector) {
        if (node.dirty[sector] && (!failed || dice_.below(2) == 0)) keep_sector(node, sector);
        node.dirty[sector] = false;
    }
    if (failed) return Error::kIo;
    ++syncs_;
    return Error::kNone;
}

Error FakeDisk::rename(std::string_view from, std::string_view to) {
    const std::string old(from);
    const std::string fresh(to);
    if (!alive() || fails(faults.names)) return Error::kIo;
    if (!now_.contains(old)) return Error::kNotFound;
    change([old, fresh](Names& names) {
        const auto node = names.extract(old);
        if (!node.empty()) names[fresh] = node.mapped();
    });
    return Error::kNone;
}

Error FakeDisk::remove(std::string_view name) {
    const std::string text(name);
    if (!alive() || fails(faults.names)) return Error::kIo;
    if (!now_.contains(text)) return Error::kNotFound;
    change([text](Names& names) { names.erase(text); });
    return Error::kNone;
}

Error FakeDisk::sync_names() {
    if (!alive() || fails(faults.names)) return Error::kIo;
    safe_ = now_;
    changes_.clear();
    return Error::kNone;
}

void FakeDisk::power_cut() {
    const uint32_t kept = dice_.below(static_cast<uint32_t>(changes_.size()) + 1);
    for (uint32_t i = 0; i < kept; ++i)
        changes_[i](safe_);
    changes_.clear();
    now_ = safe_;
    for (const auto& [name, node] : now_) {
        for (size_t sector = 0; sector < node->dirty.size(); ++sector) {
            if (node->dirty[sector] && dice_.below(2) == 0) keep_sector(*node, sector);
        }
        node->dirty.clear();
        node->now = node->safe;
        node->dirty.resize((node->now.size() + kSector - 1) / kSector);
    }
    handles_.clear();
    open_ = 0;
}

std::vector<uint8_t>& FakeDisk::content(const std::string& name) {
    return now_.at(name)->now;
}

void FakeDisk::damage(const std::string& name, uint64_t offset, uint8_t flip) {
    Node& node = *now_.at(name);
    node.now.at(offset) ^= flip;
    if (offset < node.safe.size()) node.safe[offset] ^= flip;
}

}  // namespace mqttd
