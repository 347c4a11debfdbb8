#pragma once

// The process itself: going into the background, the pid file, giving up root.
//
// mosquitto's parent says "started" before the port is bound and before anything could fail. Here
// the child does everything and the parent waits on a pipe: one byte means that the loop runs, and
// the parent ends with 0; a pipe that closes without a byte means that the child is gone, and the
// parent ends with the child's own status. Until then the child keeps the terminal, so that what
// goes wrong is read by the person who typed the command.
//
//     parent   fork ── read(pipe) ····································· exit(0 or the child's
//     status) child         └─ setsid ── bind, pid file, user ── running() ──▶ loop
//
// All of this happens in the first moments of the program, before there is anything to lose: errors
// come back as sentences, and main prints them.

#include "mqttd/result.h"

#include "io/account.h"

#include <string>

namespace mqttd {

class Daemon {
  public:
    // Forks.  Returns in the child only; the parent waits and ends.  Standard input becomes
    // /dev/null.  Process 1 does not fork: the container would end with its parent.
    Error start();

    // The loop runs: lets go of the terminal and tells the parent.  Standard output and error stay
    // where they are if that is a file or a pipe (`mqttd -d > mqttd.log 2>&1`), else they become
    // /dev/null.  Does nothing if `start` was not called.
    void running();

  private:
    int pipe_ = -1;
    bool started_ = false;
};

bool is_process_one();

// Closes what the caller left open besides standard input, output and error, so that a process in
// the background keeps nobody's pipe or file.  Before anything of ours is open.
void close_inherited_files();

// A file that holds our process number while we run.
class PidFile {
  public:
    PidFile() = default;
    PidFile(const PidFile&) = delete;
    PidFile& operator=(const PidFile&) = delete;

    // Creates or takes over the file, locks it and writes "PID\n".  Call it after the fork: the
    // number is the child's.  Returns what went wrong as a clause, empty if nothing did.
    std::string open(const std::string& path);

    // Removes the file, if the path still leads to the one we locked.  Where our user may no longer
    // do that, the file is emptied instead.
    void remove();

  private:
    std::string lock(const std::string& path);
    bool is_at(const std::string& path) const;

    std::string path_;
    int fd_ = -1;
};

bool is_root();

// Finds the account in /etc/passwd and /etc/group.
Result<Account> system_account(std::string_view user);

// Gives up root for good and checks that it is gone.  Returns what went wrong as a clause, empty if
// nothing did.
std::string become(const Account& account);

// No program we might start could gain rights we do not have.
void allow_no_new_privileges();

// For files created from now on; `octal` as in the shell.  False if it is not such a number.
bool set_file_mask(const char* octal);

}  // namespace mqttd
