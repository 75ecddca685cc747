#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "arch/registers.h"
#include "cpython/frames/code_reader.h"
#include "cpython/sync/frame_objects.h"
#include "cpython/sync/lock_finder.h"
#include "memory/memory_reader.h"
#include "model/wait.h"

namespace pystack::cpython {

/// What a thread waits for, before it is known which threads of the target are meant.
struct FoundWait {
    model::Wait wait;
    std::optional<std::int64_t> deadline_ns{};  ///< When it ends, on the clock `clock`.
    int clock = 0;
    RemoteAddr object{};
    std::optional<FoundLock> lock{};              ///< What the thread acquires.
    std::optional<std::size_t> site_frame{};      ///< The call of the standard library.
    std::optional<std::uint64_t> holder_ident{};  ///< Python's id of the thread that can end it.
    std::optional<std::int32_t> holder_tid{};     ///< Or the OS thread that can end it.
    model::HolderProof proof = model::HolderProof::kOwner;  ///< Of either.
};

/// Finds out what a thread waits for that is blocked in a system call, by the call and what its
/// frames refer to. Not thread-safe.
class WaitFinder {
  public:
    /// The tid, as it is here, of the target's thread with this tid in its own pid namespace;
    /// nullopt: it has no such thread.
    using FindThread = std::function<std::optional<std::int32_t>(std::int32_t)>;

    /// All must outlive this. `codes` has the code objects of the frames, and `objects` has loaded
    /// them.
    WaitFinder(const memory::MemoryReader& memory, const Layout& layout, const CodeReader& codes,
               const FrameObjects& objects, TypeCache& types, const LockFinder& locks)
        : memory_(memory),
          layout_(layout),
          codes_(codes),
          objects_(objects),
          types_(types),
          locks_(locks) {}

    /// `frames`: innermost first, as far as they are known; the outer ones only tell more about
    /// waits inside of the standard library. nullopt: it does not wait, or for what is not known,
    /// or it has just been woken.
    std::optional<FoundWait> find(std::span<const RawFrame> frames, const arch::Syscall& call,
                                  const FindThread& find_thread);

    /// Python's id of the thread that has an import lock at the moment.
    std::optional<std::uint64_t> import_owner(RemoteAddr lock) { return identifier(lock, "owner"); }

  private:
    void find_lock(std::span<const RawFrame> frames, RemoteAddr futex, FoundWait& wait);
    void find_object(std::span<const RawFrame> frames, RemoteAddr futex, FoundWait& wait);
    void find_native_object(const arch::Syscall& call, const FindThread& find_thread,
                            FoundWait& wait);
    void find_site(std::span<const RawFrame> frames, FoundWait& wait);
    void find_target(RemoteAddr object, FoundWait& wait);
    void find_pool(std::span<const RawFrame> frames, FoundWait& wait);
    void find_exit(std::span<const RawFrame> frames, FoundWait& wait) const;
    void find_name(std::span<const RawFrame> frames, FoundWait& wait);
    std::vector<RemoteAddr> innermost_objects(std::span<const RawFrame> frames) const;
    std::optional<std::uint64_t> identifier(RemoteAddr object, std::string_view attribute);
    std::string text(RemoteAddr object, std::string_view attribute);

    const memory::MemoryReader& memory_;
    const Layout& layout_;
    const CodeReader& codes_;
    const FrameObjects& objects_;
    TypeCache& types_;
    const LockFinder& locks_;
};

}  // namespace pystack::cpython
