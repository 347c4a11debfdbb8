// mqttcheck: where the program begins. Options, one task, its report.
//
// Exit codes: 0 sound, 1 damaged, 2 wrong usage, 3 cannot be read or the copy not be written.

#include "mqttd/version.h"

#include "io/disk_folder.h"
#include "io/folder.h"
#include "io/random.h"
#include "store/import.h"
#include "tools/check_findings.h"
#include "tools/check_options.h"
#include "tools/check_records.h"
#include "tools/check_repair.h"

#include <cstdio>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace {

using namespace mqttd;
using namespace mqttd::check;

constexpr int kSound = 0;
constexpr int kDamaged = 1;
constexpr int kUsage = 2;
constexpr int kFailed = 3;

constexpr const char* kFolderName = "mqttd.journal";

void complain(const std::string& text) {
    fflush(stdout);
    fprintf(stderr, "mqttcheck: %s\n", text.c_str());
}

int fail(const std::string& text) {
    complain(text);
    return kFailed;
}

void say(const std::string& text) {
    fwrite(text.data(), 1, text.size(), stdout);
}

// What was said has left, whole.
bool all_said() {
    return fflush(stdout) == 0 && ferror(stdout) == 0;
}

struct Source {
    std::unique_ptr<FolderDisk> disk;
    std::string path;
    std::string problem;  // empty: none
};

bool has_file(Disk& disk, std::string_view wanted) {
    struct Search {
        std::string_view wanted;
        bool found;
    } search{wanted, false};

    const auto visit = [](void* context, std::string_view name, uint64_t) {
        auto& here = *static_cast<Search*>(context);
        here.found = here.found || name == here.wanted;
    };
    (void)disk.list(visit, &search);
    return search.found;
}

// What an import has written so far is no journal: a start removes it and begins anew.
Source whole(Source source) {
    if (has_file(*source.disk, kImporting)) {
        source.problem = source.path +
                         " is being made from a mosquitto.db, or a broker was ended while it did: "
                         "it is a journal when a start is through";
    }
    return source;
}

// The journal's folder, or the one that is called so in it.
Source find_journal(const std::string& path) {
    Source source{std::make_unique<FolderDisk>(), path, {}};
    const Error opened = source.disk->open_to_read(path);
    if (opened != Error::kNone) {
        source.problem = "unable to read " + path + ": " + folder_error_text(opened);
        return source;
    }
    if (holds_records(*source.disk)) return whole(std::move(source));
    Source inner{std::make_unique<FolderDisk>(), path, {}};
    if (!inner.path.ends_with('/')) inner.path += '/';
    inner.path += kFolderName;
    const Error found = inner.disk->open_to_read(inner.path);
    if (found == Error::kNone) return whole(std::move(inner));
    if (found != Error::kNotFound) {
        source.problem = "unable to read " + inner.path + ": " + folder_error_text(found);
    } else if (!has_file(*source.disk, "lock")) {
        source.problem = path + " holds no journal";
    }
    return source;
}

std::string reading_problem(const std::string& path, Error error) {
    switch (error) {
        case Error::kUnsupportedVersion:
            return "the journal in " + path +
                   " is of another version of its format: use the mqttcheck of the mqttd that "
                   "wrote "
                   "it";
        case Error::kInvalid:
            return path + " holds files of more than one journal: take those of the others away";
        default:
            return "unable to read the journal in " + path + ": " + error_text(error);
    }
}

// By root: the copy belongs to whom the original does, so that the broker may write it.
void give_away(const std::string& from, const std::string& to) {
    struct stat owner;
    if (geteuid() != 0 || stat(from.c_str(), &owner) != 0) return;
    const auto names = list_folder(to.c_str(), 1'000'000);
    bool given = names.ok() && lchown(to.c_str(), owner.st_uid, owner.st_gid) == 0;
    for (size_t i = 0; given && i < names->size(); ++i)
        given = lchown((to + '/' + (*names)[i]).c_str(), owner.st_uid, owner.st_gid) == 0;
    if (!given) complain("the owner of " + to + " could not be changed");
}

// Empty when it can be written to; else what is wrong.
std::string prepare_folder(const std::string& path, FolderDisk& disk) {
    const Error made = make_folder(path.c_str(), nullptr);
    if (made == Error::kExists) {
        const auto names = list_folder(path.c_str(), 1);
        if (names.ok() && !names->empty()) return path + " is not empty";
        if (!names.ok() && names.error() == Error::kQuotaExceeded) return path + " is not empty";
    } else if (made != Error::kNone) {
        return "unable to make " + path + ": " + folder_error_text(made);
    }
    Error error = disk.open_folder(path);
    if (error == Error::kNone) error = disk.lock();
    if (error != Error::kNone)
        return "unable to write in " + path + ": " + folder_error_text(error);
    return {};
}

int write_copy(const Options& options, Source& source, bool running) {
    Findings found;
    State state;
    Examination how;
    how.running = running;
    const Error examined = examine(*source.disk, how, found, state);
    if (examined != Error::kNone) return fail(reading_problem(source.path, examined));
    FolderDisk out;
    const std::string refused = prepare_folder(options.out, out);
    if (!refused.empty()) return fail(refused);
    Repair job;
    job.running = running;
    job.largest_unit = found.largest_unit;
    uint8_t id[sizeof job.id];
    if (random_bytes(id) != Error::kNone) return fail("no random bytes from the kernel");
    std::copy_n(id, sizeof id, reinterpret_cast<uint8_t*>(&job.id));
    const Error written = repair(*source.disk, out, job);
    if (written != Error::kNone) {
        return fail("unable to write the copy in " + options.out + ": " + error_text(written));
    }
    say(found.summary(source.path));
    say("Copied " + counted(job.bodies, "record", "records") +
        (job.ended > 0 ? " and ended " + counted(job.ended, "delivery", "deliveries") +
                             " without a message.\n"
                       : ".\n"));
    // What was written is read again, and must come to the same.
    Findings copied;
    State again;
    const Error checked = examine(out, {}, copied, again);
    if (checked != Error::kNone) return fail(reading_problem(options.out, checked));
    say(copied.summary(options.out));
    found.totals.lost = 0;
    const bool same = copied.totals == found.totals;
    if (!copied.damages.empty() || (!same && !running)) {
        return fail("the copy in " + options.out + " is not what was read: do not use it");
    }
    give_away(source.path, options.out);
    return all_said() ? kSound : fail("not all could be printed");
}

int show(const Options& options, Source& source, bool running) {
    Examination how;
    how.running = running;
    if (options.mode == Mode::kState) how.payload_most = options.payload_most;
    if (options.mode == Mode::kJson) {
        how.record = [&](const LogRecord& record) {
            say(record_line(record, options.payload_most));
        };
        how.damage = [](const Damage& damage, const std::string& place) {
            JsonLine line;
            line.number("position", damage.from);
            line.word("type", "damage");
            line.word("file", place.substr(0, place.find('+')));
            line.number("bytes", damage.bytes);
            if (!damage.at_end) line.number("next", damage.until);
            say(line.take());
        };
    }
    Findings found;
    State state;
    const Error examined = examine(*source.disk, how, found, state);
    if (examined != Error::kNone) return fail(reading_problem(source.path, examined));
    switch (options.mode) {
        case Mode::kStats:
            say(found.summary(source.path) + found.statistics(state));
            break;
        case Mode::kState:
            each_state_line(state, say);
            break;
        case Mode::kVerify:
            say(found.summary(source.path));
            break;
        default:
            break;
    }
    if (!all_said()) return fail("not all could be printed");
    return found.sound() ? kSound : kDamaged;
}

}  // namespace

int main(int count, char** words) {
    const size_t given = count > 0 ? static_cast<size_t>(count) - 1 : 0;
    const auto [options, problems] =
        parse_options(std::span<const char* const>(words + (count > 0 ? 1 : 0), given));
    if (!problems.empty()) {
        for (const std::string& problem : problems)
            complain(problem);
        fputs("Try 'mqttcheck --help'.\n", stderr);
        return kUsage;
    }
    if (options.help || options.version) {
        say(options.help ? std::string(usage_text())
                         : std::string("mqttcheck version ") + kVersion + "\n");
        return kSound;
    }
    Source source = find_journal(options.folder);
    if (!source.problem.empty()) return fail(source.problem);
    const int owner = source.disk->lock_owner();
    if (owner != 0) {
        complain("a broker writes this journal" +
                 (owner > 0 ? " (process " + std::to_string(owner) + ")" : std::string()) +
                 ": what is said is what it was at a moment");
    }
    if (options.mode == Mode::kRepair) return write_copy(options, source, owner != 0);
    return show(options, source, owner != 0);
}
