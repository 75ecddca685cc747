#include "cpython/objects/lock_objects.h"

#include <doctest/doctest.h>

#include "support/fake_heap.h"

using namespace pystack;
using namespace pystack::cpython;
using pystack::testing::FakeHeap;
using pystack::testing::kMinors;
using pystack::testing::layout_of;

namespace {

constexpr std::uint64_t kOwner = 0x7F0012345678;
constexpr RemoteAddr kSemaphore{0x5000};

/// The offset of the byte that says whether it is locked. 3.13 has both forms.
std::uint32_t flag_of(const Layout& layout, bool is_mutex) {
    return is_mutex ? *layout.lock_object.mutex : *layout.lock_object.locked;
}

RemoteAddr make_lock(FakeHeap& heap, bool is_mutex, bool locked) {
    const auto& fields = heap.layout.lock_object;
    const RemoteAddr lock = heap.memory.allocate(64);
    const RemoteAddr type = heap.memory.allocate(heap.layout.type_object.struct_size);
    heap.memory.put(lock + *heap.layout.pyobject.ob_type, type);
    heap.memory.put(type + *heap.layout.type_object.tp_basicsize,
                    std::uint64_t{is_mutex ? *fields.mutex + 8 : *fields.locked + 8});
    if (!is_mutex) heap.memory.put(lock + *fields.semaphore, kSemaphore);
    heap.memory.put(lock + flag_of(heap.layout, is_mutex),
                    static_cast<std::uint8_t>(locked ? 1 : 0));
    return lock;
}

/// Calls `test` for each form of lock that the version has.
template <class Test>
void for_each_form(const Layout& layout, Test test) {
    if (layout.lock_object.semaphore) test(false);
    if (layout.lock_object.mutex) test(true);
}

RemoteAddr make_rlock(FakeHeap& heap, std::uint64_t count) {
    const auto& fields = heap.layout.rlock_object;
    const RemoteAddr lock = heap.memory.allocate(fields.struct_size);
    heap.memory.put(lock + *fields.owner, kOwner);
    if (fields.mutex) {
        heap.memory.put(lock + *fields.mutex, static_cast<std::uint8_t>(count > 0 ? 3 : 2));
        heap.memory.put(lock + *fields.level, count > 0 ? count - 1 : 0);
    } else {
        heap.memory.put(lock + *fields.semaphore, kSemaphore);
        heap.memory.put(lock + *fields.count, count);
    }
    return lock;
}

}  // namespace

TEST_CASE("locks of every version") {
    for (const std::uint8_t minor : kMinors) {
        CAPTURE(minor);
        const Layout layout = layout_of(minor);
        for_each_form(layout, [&](bool is_mutex) {
            CAPTURE(is_mutex);
            FakeHeap heap(layout);
            const RemoteAddr taken = make_lock(heap, is_mutex, true);
            CHECK(read_lock(heap.memory, layout, taken, LockKind::kLock)->locked);
            CHECK(read_lock(heap.memory, layout, taken, LockKind::kLock)->owner == 0);
            const RemoteAddr free = make_lock(heap, is_mutex, false);
            CHECK_FALSE(read_lock(heap.memory, layout, free, LockKind::kLock)->locked);
            // What a waiting thread waits at.
            CHECK(lock_address(heap.memory, layout, taken, LockKind::kLock) ==
                  (is_mutex ? taken + *layout.lock_object.mutex : kSemaphore));
        });
    }
}

TEST_CASE("recursive locks of every version") {
    for (const std::uint8_t minor : kMinors) {
        CAPTURE(minor);
        const Layout layout = layout_of(minor);
        FakeHeap heap(layout);
        const auto twice = read_lock(heap.memory, layout, make_rlock(heap, 2), LockKind::kRLock);
        REQUIRE(twice);
        CHECK(twice->locked);
        CHECK(twice->owner == kOwner);
        CHECK(twice->count == 2);
        const auto free = read_lock(heap.memory, layout, make_rlock(heap, 0), LockKind::kRLock);
        REQUIRE(free);
        CHECK_FALSE(free->locked);
        CHECK(free->owner == 0);
        CHECK(free->count == 0);
    }
}

TEST_CASE("what cannot be a lock") {
    for (const std::uint8_t minor : kMinors) {
        CAPTURE(minor);
        const Layout layout = layout_of(minor);
        for_each_form(layout, [&](bool is_mutex) {
            FakeHeap heap(layout);
            const RemoteAddr lock = make_lock(heap, is_mutex, true);
            heap.memory.put(lock + flag_of(layout, is_mutex), std::uint8_t{77});
            CHECK(read_lock(heap.memory, layout, lock, LockKind::kLock).error().code ==
                  ErrorCode::kCorruptData);
            const RemoteAddr often = make_rlock(heap, 1ull << 40);
            CHECK(read_lock(heap.memory, layout, often, LockKind::kRLock).error().code ==
                  ErrorCode::kCorruptData);
            CHECK_FALSE(read_lock(heap.memory, layout, {0x10}, LockKind::kLock));
            Layout without = layout;
            without.lock_object = {};
            without.rlock_object = {};
            CHECK(read_lock(heap.memory, without, lock, LockKind::kLock).error().code ==
                  ErrorCode::kOffsetsRejected);
            CHECK(lock_address(heap.memory, without, lock, LockKind::kRLock).error().code ==
                  ErrorCode::kOffsetsRejected);
        });
    }
}
