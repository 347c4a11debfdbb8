#pragma once

// Keeper: a small process that is there to make other ones.
//
// It is forked at start, before listeners and heap, so a child of it holds no socket and copies no
// memory; nobody execs, so neither a sandbox of the loop nor a replaced binary is in its way. The
// loop asks for a helper by its number and is told when one ended; which helpers there are, and
// what they do, is the caller's table.
//
//     loop ──socket pair── keeper ──fork──▶ helper 0 (the scribe), …
//       └──── life line ─────┴──────────────┘   ends when the loop does, however that ended
//
// Keeper and helpers do not end for SIGINT, SIGTERM, SIGHUP: what a terminal or a supervisor sends
// to the whole group is the loop's to act on, and a scribe may still have records. They end when
// the life line does, each when it has finished.

#include "mqttd/result.h"

#include "io/event.h"

#include <cstdint>
#include <span>

namespace mqttd {

class Keeper {
  public:
    static constexpr uint32_t kHelpersMax = 8;

    // What a helper does, in a process of its own; returns its exit status.  It must return soon
    // after the life line ended (event.h).
    using Work = int (*)(void* context, int life_read_end);

    struct Helper {
        const char* name = "";  // of the process, at most 15 bytes
        Work work = nullptr;
        void* context = nullptr;
    };

    struct Ended {
        uint32_t helper = 0;
        bool killed = false;  // by a signal
        int status = 0;       // its exit status, or the signal
    };

    // The table is copied; a helper sees what its context was when the keeper was started.
    explicit Keeper(const Helper* helpers, uint32_t count);
    ~Keeper();  // lets go: the keeper and its helpers end by themselves
    Keeper(const Keeper&) = delete;
    Keeper& operator=(const Keeper&) = delete;

    // What the keeper does first; false ends it.
    using Settle = bool (*)(void* context);

    // Forks the keeper.  Returns in the caller only.  Errors: what pipe, socketpair and fork say.
    Error start(Settle settle = nullptr, void* context = nullptr);

    // When it is gone: another one.  It lets go of all that the loop has open but `keep`.
    Error start_again(Settle settle, void* context, std::span<const int> keep);

    // Asks for a helper; one that runs already is not made again.
    void ask_for(uint32_t helper);

    // Readable when a helper ended, or the keeper.
    int descriptor() const { return socket_; }

    // What has come; false: nothing more.  `gone()` afterwards: the keeper itself ended.
    bool take(Ended& out);

    bool gone() const { return gone_; }

  private:
    [[noreturn]] void keep(int socket);
    void let_go_of_others(int socket) const;
    void fork_helper(uint32_t helper, int socket, int signals);
    void reap(int socket);

    Helper helpers_[kHelpersMax] = {};
    uint32_t count_ = 0;
    int pids_[kHelpersMax] = {};  // in the keeper
    int pid_ = 0;                 // its own, outside
    int socket_ = -1;
    LifeLine life_;
    std::span<const int> keep_;  // while another one is started
    bool gone_ = false;
};

}  // namespace mqttd
