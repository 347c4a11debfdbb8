// What must hold for the table of keys, as constexpr functions of the rows: table.cc asserts them,
// so that a broken row does not compile.
#pragma once

#include "config/row_value.h"
#include "config/table.h"

#include <span>
#include <string_view>

namespace mqttd::config_rows {

using Rows = std::span<const ConfigKey>;

constexpr const ConfigKey* row_of(Rows rows, std::string_view name) {
    for (const ConfigKey& key : rows) {
        if (key.name == name) {
            return &key;
        }
    }
    return nullptr;
}

constexpr bool names_are_unique(Rows rows) {
    for (const ConfigKey& key : rows) {
        if (row_of(rows, key.name) != &key) {
            return false;
        }
    }
    return true;
}

constexpr bool sections_are_in_order(Rows rows) {
    Section last = Section::kListeners;
    for (const ConfigKey& key : rows) {
        if (key.section < last) {
            return false;
        }
        last = key.section;
    }
    return static_cast<size_t>(last) + 1 == kSectionCount;
}

constexpr bool targets_are_rows(Rows rows) {
    for (const ConfigKey& key : rows) {
        const bool needs_one = key.verdict == Verdict::kAlias || key.verdict == Verdict::kInert;
        if (needs_one == key.target.empty()) {
            return false;
        }
        const ConfigKey* target = needs_one ? row_of(rows, key.target) : nullptr;
        if (needs_one && (target == nullptr || target->verdict == Verdict::kAlias)) {
            return false;
        }
        if (key.verdict == Verdict::kInert && target->verdict != Verdict::kComing) {
            return false;
        }
    }
    return true;
}

constexpr bool is_legal(const ConfigKey& key, std::string_view value) {
    const Reading reading = read_row_value(key, value);
    return reading.error == ReadError::kNone && reading.trailing.empty();
}

constexpr bool defaults_are_legal(Rows rows) {
    for (const ConfigKey& key : rows) {
        if (!key.fallback.empty() && key.kind != Kind::kLogTypes && !is_legal(key, key.fallback)) {
            return false;
        }
        for (std::string_view rest = key.off; !rest.empty();) {
            const size_t end = rest.find('|');
            if (!is_legal(key, rest.substr(0, end))) {
                return false;
            }
            rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
        }
    }
    return true;
}

// That a built row has its store and load is a unit test's to check: under -fsanitize=undefined g++
// does not compare function pointers with nullptr in constant expressions.
constexpr bool rows_are_complete(Rows rows) {
    for (const ConfigKey& key : rows) {
        if (key.verdict != Verdict::kAlias && key.doc.empty()) {
            return false;
        }
        if ((key.verdict == Verdict::kRefused) == key.reason.empty()) {
            return false;
        }
        if (key.min > key.max && key.kind != Kind::kAnything) {
            return false;
        }
    }
    return true;
}

}  // namespace mqttd::config_rows
