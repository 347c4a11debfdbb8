#pragma once

// HashIndex: a chained hash over objects that live elsewhere, growing without a pause.
//
// The objects carry a HashHook (hash and next), the index only an array of heads: four bytes per
// bucket, nothing allocated per element. At one element per bucket the array doubles, and the
// elements move over a few buckets at a time with every later insertion or removal. Two facts keep
// that simple:
//   - bucket i of the old array splits into i and i + n of the new one, so a look-up goes to the
//   old
//     array while i has not been moved yet, and to the new one after;
//   - the two new buckets are written when i is moved, so the new array is never cleared at once.
// If the arena refuses a larger array the chains just get longer.
//
// The hash is keyed by the caller (base/siphash.h); the index never looks at the object's bytes.

#include "base/arena.h"
#include "base/assert.h"
#include "base/fetch.h"
#include "base/ptr32.h"

#include <cstdint>

namespace mqttd {

template <class T>
struct HashHook {
    Ptr32<T> next;
    uint32_t hash = 0;
};

// With Load elements per bucket before the array doubles: more for what is many and seldom looked
// up.
template <class T, auto Hook, uint32_t Load = 1>
class HashIndex {
  public:
    static constexpr uint32_t kFirstBuckets = 64;
    static constexpr uint32_t kMovesPerChange = 4;

    explicit HashIndex(Arena& arena) : arena_(arena) {}

    ~HashIndex() {
        if (buckets_ != nullptr) arena_.release(buckets_);
        if (old_ != nullptr) arena_.release(old_);
    }

    HashIndex(const HashIndex&) = delete;
    HashIndex& operator=(const HashIndex&) = delete;

    uint64_t size() const { return size_; }

    // The element with this hash for which same(element) holds, or nullptr.
    template <class Same>
    T* find(uint32_t hash, Same same) const {
        if (buckets_ == nullptr) return nullptr;
        for (T* at = head(hash); at != nullptr; at = (at->*Hook).next.get()) {
            if ((at->*Hook).hash == hash && same(*at)) return at;
        }
        return nullptr;
    }

    // For who will look for this hash in a while: asks memory for its bucket; and, when that has
    // come, for the first element in it; and so on, with one more `passed` each time.
    void fetch(uint32_t hash) const {
        if (buckets_ != nullptr) mqttd::fetch(&head(hash));
    }

    void fetch_element(uint32_t hash, uint32_t passed) const {
        if (buckets_ == nullptr) return;
        const T* at = head(hash).get();
        for (; passed > 0 && at != nullptr; --passed)
            at = (at->*Hook).next.get();
        mqttd::fetch(at);
    }

    // False if the arena refused the first array of heads.  Afterwards never fails.
    bool insert(T& element, uint32_t hash) {
        if (buckets_ == nullptr && !start()) return false;
        (element.*Hook).hash = hash;
        Ptr32<T>& first = head(hash);
        (element.*Hook).next = first;
        first = &element;
        ++size_;
        if (size_ / Load > mask_ && size_ >= grow_again_ && old_ == nullptr) grow();
        move_some();
        return true;
    }

    void remove(T& element) {
        for (Ptr32<T>* at = &head((element.*Hook).hash);; at = &(at->get()->*Hook).next) {
            MQTTD_ASSERT(*at);
            if (at->get() != &element) continue;
            *at = (element.*Hook).next;
            break;
        }
        (element.*Hook).next = nullptr;
        --size_;
        move_some();
    }

    // Visits the elements of one bucket; `cursor` runs from 0 until false is returned.  Elements
    // that stay during the whole walk are seen at least once, also while the table grows.
    template <class Visit>
    bool visit_bucket(uint64_t& cursor, Visit visit) const {
        if (buckets_ == nullptr || cursor > mask_) return false;
        if (old_ != nullptr && (cursor & old_mask_) >= moved_) {
            if (cursor <= old_mask_) visit_chain(old_[cursor].get(), visit);
        } else {
            visit_chain(buckets_[cursor].get(), visit);
        }
        ++cursor;
        return true;
    }

  private:
    Ptr32<T>& head(uint32_t hash) const {
        if (old_ != nullptr && (hash & old_mask_) >= moved_) return old_[hash & old_mask_];
        return buckets_[hash & mask_];
    }

    template <class Visit>
    static void visit_chain(T* at, Visit& visit) {
        while (at != nullptr) {
            T* next = (at->*Hook).next.get();
            visit(*at);
            at = next;
        }
    }

    static Ptr32<T>* array(Arena& arena, uint32_t buckets) {
        return static_cast<Ptr32<T>*>(arena.allocate(size_t{buckets} * sizeof(Ptr32<T>)));
    }

    bool start() {
        buckets_ = array(arena_, kFirstBuckets);
        if (buckets_ == nullptr) return false;
        for (uint32_t i = 0; i < kFirstBuckets; ++i)
            new (&buckets_[i]) Ptr32<T>();
        mask_ = kFirstBuckets - 1;
        return true;
    }

    void grow() {
        if (mask_ >= (uint32_t{1} << 30)) return;
        Ptr32<T>* larger = array(arena_, (mask_ + 1) * 2);
        if (larger == nullptr) {
            grow_again_ = size_ + size_ / 8;  // looking for a run of pages is not free
            return;
        }
        old_ = buckets_;
        old_mask_ = mask_;
        buckets_ = larger;
        mask_ = mask_ * 2 + 1;
        moved_ = 0;
    }

    void move_some() {
        for (uint32_t i = 0; i < kMovesPerChange && old_ != nullptr; ++i) {
            new (&buckets_[moved_]) Ptr32<T>();
            new (&buckets_[moved_ + old_mask_ + 1]) Ptr32<T>();
            // What the next insertion moves is fetched now.
            if (moved_ + kMovesPerChange <= old_mask_) {
                mqttd::fetch(old_[moved_ + kMovesPerChange].get());
            }
            for (T* at = old_[moved_].get(); at != nullptr;) {
                T* next = (at->*Hook).next.get();
                Ptr32<T>& first = buckets_[(at->*Hook).hash & mask_];
                (at->*Hook).next = first;
                first = at;
                at = next;
            }
            if (moved_++ == old_mask_) {
                arena_.release(old_);
                old_ = nullptr;
            }
        }
    }

    Arena& arena_;
    Ptr32<T>* buckets_ = nullptr;
    Ptr32<T>* old_ = nullptr;  // while elements move over
    uint32_t mask_ = 0;
    uint32_t old_mask_ = 0;
    uint32_t moved_ = 0;  // buckets of old_ that have been moved
    uint64_t size_ = 0;
    uint64_t grow_again_ = 0;  // after a refusal: the size at which to try again
};

}  // namespace mqttd
