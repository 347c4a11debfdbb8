#pragma once

// IntrusiveList: a FIFO whose links live in the elements.
//
// Pushing, taking and unlinking are O(1) and never allocate. An element is in at most one list per
// hook and knows it (`linked`), so "put it on the ready list unless it is there" is one test. The
// loop's lists, timer slots and per-session relations are all of this kind. Elements unlink
// themselves before they go; the list only borrows them.

#include "base/assert.h"
#include "base/ptr32.h"

#include <cstdint>

namespace mqttd {

template <class T>
struct ListHook {
    Ptr32<T> prev;
    Ptr32<T> next;

    bool linked() const { return in_list; }

    // Kept apart from the pointers: first and only element has neither.
    bool in_list = false;
};

// Hook without the flag, for elements that are always in exactly one list or know by other means.
template <class T>
struct BareHook {
    Ptr32<T> prev;
    Ptr32<T> next;
};

template <class T, auto Hook>
class IntrusiveList {
  public:
    bool empty() const { return first_ == nullptr; }

    uint32_t size() const { return size_; }

    T* front() const { return first_; }

    T* back() const { return last_; }

    static T* next(const T& element) { return (element.*Hook).next.get(); }

    static T* prev(const T& element) { return (element.*Hook).prev.get(); }

    void push_back(T& element) {
        mark(element, true);
        (element.*Hook).prev = last_;
        (element.*Hook).next = nullptr;
        if (last_ != nullptr) {
            (last_->*Hook).next = &element;
        } else {
            first_ = &element;
        }
        last_ = &element;
        ++size_;
    }

    void push_front(T& element) {
        mark(element, true);
        (element.*Hook).prev = nullptr;
        (element.*Hook).next = first_;
        if (first_ != nullptr) {
            (first_->*Hook).prev = &element;
        } else {
            last_ = &element;
        }
        first_ = &element;
        ++size_;
    }

    void remove(T& element) {
        MQTTD_DCHECK(size_ > 0);
        T* before = (element.*Hook).prev.get();
        T* after = (element.*Hook).next.get();
        if (before != nullptr) {
            (before->*Hook).next = after;
        } else {
            MQTTD_ASSERT(first_ == &element);
            first_ = after;
        }
        if (after != nullptr) {
            (after->*Hook).prev = before;
        } else {
            MQTTD_ASSERT(last_ == &element);
            last_ = before;
        }
        mark(element, false);
        --size_;
    }

    T* pop_front() {
        T* element = first_;
        if (element != nullptr) remove(*element);
        return element;
    }

    // Moves all of `other` behind this list's elements.  O(1).
    void splice_back(IntrusiveList& other) {
        if (other.empty()) return;
        if (last_ != nullptr) {
            (last_->*Hook).next = other.first_;
            (other.first_->*Hook).prev = last_;
        } else {
            first_ = other.first_;
        }
        last_ = other.last_;
        size_ += other.size_;
        other.first_ = other.last_ = nullptr;
        other.size_ = 0;
    }

  private:
    static void mark(T& element, bool in) {
        if constexpr (requires { (element.*Hook).in_list; }) {
            MQTTD_ASSERT((element.*Hook).in_list != in);
            (element.*Hook).in_list = in;
        }
    }

    T* first_ = nullptr;
    T* last_ = nullptr;
    uint32_t size_ = 0;
};

}  // namespace mqttd
