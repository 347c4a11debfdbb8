#include "support/alloc_guard.h"

#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MQTTD_OWN_MALLOC 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define MQTTD_OWN_MALLOC 0
#endif
#endif
#ifndef MQTTD_OWN_MALLOC
#define MQTTD_OWN_MALLOC 1
#endif

namespace {

struct Counts {
    uint64_t heap_calls = 0;
    uint64_t mappings = 0;
    uint64_t frees = 0;
};

// One thread: plain numbers.
Counts counts;

}  // namespace

#if MQTTD_OWN_MALLOC

extern "C" {

void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* old, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
void __libc_free(void* memory);
void* __sbrk(intptr_t by);

void* malloc(size_t size) noexcept {
    ++counts.heap_calls;
    return __libc_malloc(size);
}

void* calloc(size_t count, size_t size) noexcept {
    ++counts.heap_calls;
    return __libc_calloc(count, size);
}

void* realloc(void* old, size_t size) noexcept {
    ++counts.heap_calls;
    return __libc_realloc(old, size);
}

void* memalign(size_t alignment, size_t size) noexcept {
    ++counts.heap_calls;
    return __libc_memalign(alignment, size);
}

void* aligned_alloc(size_t alignment, size_t size) noexcept {
    ++counts.heap_calls;
    return __libc_memalign(alignment, size);
}

int posix_memalign(void** out, size_t alignment, size_t size) noexcept {
    ++counts.heap_calls;
    void* got = __libc_memalign(alignment, size);
    if (got == nullptr) return ENOMEM;
    *out = got;
    return 0;
}

void free(void* memory) noexcept {
    ++counts.frees;
    __libc_free(memory);
}

void* mmap(void* at, size_t size, int protection, int flags, int fd, off_t offset) noexcept {
    ++counts.mappings;
    return reinterpret_cast<void*>(syscall(SYS_mmap, at, size, protection, flags, fd, offset));
}

void* mremap(void* old, size_t old_size, size_t size, int flags, ...) noexcept {
    ++counts.mappings;
    va_list rest;
    va_start(rest, flags);
    void* at = (flags & MREMAP_FIXED) != 0 ? va_arg(rest, void*) : nullptr;
    va_end(rest);
    return reinterpret_cast<void*>(syscall(SYS_mremap, old, old_size, size, flags, at));
}

void* sbrk(intptr_t by) noexcept {
    ++counts.mappings;
    return __sbrk(by);
}

}  // extern "C"

#endif

namespace mqttd {

AllocGuard::AllocGuard()
    : heap_calls_(counts.heap_calls), mappings_(counts.mappings), frees_(counts.frees) {}

bool AllocGuard::available() {
    return MQTTD_OWN_MALLOC != 0;
}

uint64_t AllocGuard::allocations() const {
    return heap_calls() + mappings();
}

uint64_t AllocGuard::heap_calls() const {
    return counts.heap_calls - heap_calls_;
}

uint64_t AllocGuard::mappings() const {
    return counts.mappings - mappings_;
}

uint64_t AllocGuard::frees() const {
    return counts.frees - frees_;
}

}  // namespace mqttd
