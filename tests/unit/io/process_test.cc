#include "io/process.h"

#include "support/temp_folder.h"

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <filesystem>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace mqttd;

namespace {

// Runs `act` in a child that becomes a daemon; returns the exit status the caller of `mqttd -d`
// sees, or -1.
template <class Act>
int status_of_daemon(Act act) {
    const pid_t parent = fork();
    if (parent == 0) {
        Daemon daemon;
        if (daemon.start() != Error::kNone) _exit(99);
        act(daemon);
        _exit(98);
    }
    int status = 0;
    waitpid(parent, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TEST_CASE("the parent of a daemon ends with 0 once the loop runs, and not before") {
    // `mqttd -d && mosquitto_pub` has to work.
    const TempFolder folder;
    const std::string mark = folder.file("running");
    const int status = status_of_daemon([&](Daemon& daemon) {
        usleep(50'000);
        close(open(mark.c_str(), O_CREAT | O_WRONLY, 0600));
        daemon.running();
        _exit(7);  // what happens later is not the parent's business
    });
    REQUIRE(status == 0);
    REQUIRE(std::filesystem::exists(mark));
}

TEST_CASE("the parent of a daemon that fails ends with the child's status") {
    // `mosquitto -d` reports success and then dies of "address in use".
    REQUIRE(status_of_daemon([](Daemon&) { _exit(1); }) == 1);
    REQUIRE(status_of_daemon([](Daemon&) { _exit(3); }) == 3);
    REQUIRE(status_of_daemon([](Daemon&) {
                signal(SIGTERM, SIG_DFL);
                kill(getpid(), SIGTERM);
                usleep(1'000'000);
            }) == 128 + SIGTERM);
}

TEST_CASE("a daemon keeps a redirected log and lets go of everything else") {
    // The seed starts its broker as `mosquitto -d > mosquitto.log 2>&1` and reads that file.
    const TempFolder folder;
    const std::string log = folder.file("log");
    const std::string findings = folder.file("findings");
    const pid_t parent = fork();
    if (parent == 0) {
        dup2(open(log.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600), 1);
        dup2(open("/dev/full", O_WRONLY), 2);  // a device, like a terminal
        Daemon daemon;
        if (daemon.start() != Error::kNone) _exit(99);
        daemon.running();
        static_cast<void>(!write(1, "kept", 4));
        struct stat in;
        struct stat err;
        struct stat nothing;
        stat("/dev/null", &nothing);
        fstat(0, &in);
        fstat(2, &err);
        const bool fine = in.st_rdev == nothing.st_rdev && err.st_rdev == nothing.st_rdev &&
                          getsid(0) == getpid();
        close(open(fine ? findings.c_str() : log.c_str(), O_CREAT | O_WRONLY, 0600));
        _exit(0);
    }
    int status = 0;
    waitpid(parent, &status, 0);
    for (int i = 0; i < 200 && !std::filesystem::exists(findings); ++i)
        usleep(10'000);
    REQUIRE(std::filesystem::exists(findings));
    REQUIRE(folder.read("log") == "kept");
}

TEST_CASE("the pid file holds our number and a newline, and goes with us") {
    // mosquitto writes no newline, which `read` in a shell takes for a failure.
    const TempFolder folder;
    PidFile pid_file;
    REQUIRE(pid_file.open(folder.file("pid")).empty());
    REQUIRE(folder.read("pid") == std::to_string(getpid()) + "\n");
    pid_file.remove();
    REQUIRE_FALSE(std::filesystem::exists(folder.file("pid")));
    pid_file.remove();  // once is enough
}

TEST_CASE("a stale pid file is taken over, whatever it holds") {
    // After a power cut.
    const TempFolder folder;
    folder.write("pid", "99999999 and a long text behind it\n");
    PidFile pid_file;
    REQUIRE(pid_file.open(folder.file("pid")).empty());
    REQUIRE(folder.read("pid") == std::to_string(getpid()) + "\n");
    pid_file.remove();
}

TEST_CASE("a pid file that a living process has locked is left alone") {
    // Two brokers would take each other's number, and a stop script would kill the wrong one.
    const TempFolder folder;
    PidFile first;
    REQUIRE(first.open(folder.file("pid")).empty());
    PidFile second;
    const std::string problem = second.open(folder.file("pid"));
    REQUIRE(problem.find("locked") != std::string::npos);
    REQUIRE(problem.find(std::to_string(getpid())) != std::string::npos);
    second.remove();
    REQUIRE(std::filesystem::exists(folder.file("pid")));
    first.remove();
}

TEST_CASE("a pid file that is no longer ours is not removed") {
    // Somebody replaced it meanwhile.
    const TempFolder folder;
    PidFile pid_file;
    REQUIRE(pid_file.open(folder.file("pid")).empty());
    std::filesystem::remove(folder.file("pid"));
    folder.write("pid", "1\n");
    pid_file.remove();
    REQUIRE(folder.read("pid") == "1\n");
}

TEST_CASE("a pid file that cannot be written says why, and a symbolic link is not followed") {
    // Started as root, a link could point anywhere.
    const TempFolder folder;
    PidFile pid_file;
    REQUIRE_FALSE(pid_file.open(folder.file("no/such/folder")).empty());
    folder.write("precious", "content");
    std::filesystem::create_symlink(folder.file("precious"), folder.file("pid"));
    REQUIRE_FALSE(pid_file.open(folder.file("pid")).empty());
    REQUIRE(folder.read("precious") == "content");
}

TEST_CASE("giving up root is for good") {
    // Also for the groups.
    if (geteuid() != 0) {
        WARN("not root: nothing to give up");
        return;
    }
    const pid_t child = fork();
    if (child == 0) {
        Account account;
        account.uid = 12345;
        account.gid = 54321;
        account.groups = {54321, 777};
        if (!become(account).empty()) _exit(1);
        gid_t groups[8];
        if (getgroups(8, groups) != 2 || groups[0] + groups[1] != 54321 + 777) _exit(2);
        if (getuid() != 12345 || geteuid() != 12345 || getegid() != 54321) _exit(3);
        if (setuid(0) == 0 || setgid(0) == 0) _exit(4);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    REQUIRE(WIFEXITED(status));
    REQUIRE(WEXITSTATUS(status) == 0);
}

TEST_CASE("the file mask is octal and at most 777") {
    // UMASK_SET, as mosquitto's containers set it.
    const mode_t before = umask(022);
    umask(before);
    REQUIRE(set_file_mask("027"));
    const mode_t now = umask(before);
    REQUIRE(now == 027);
    for (const char* text : {"", "8", "1000", "-1", "27x"})
        REQUIRE_FALSE(set_file_mask(text));
    umask(before);
}
