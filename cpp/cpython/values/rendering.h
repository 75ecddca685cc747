#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "cpython/layout/layout.h"
#include "cpython/objects/value_types.h"
#include "cpython/values/redaction.h"
#include "cpython/values/render_limits.h"
#include "memory/page_cache.h"
#include "memory/remote_struct.h"

// What the renderers of the kinds of values (render_*.h) work with. Only value_renderer and they
// include this.

namespace pystack::cpython {

/// One object, with the bytes at its beginning.
struct Value {
    RemoteAddr address;
    const TypeInfo& type;
    memory::RemoteStruct head;
};

/// The text being made of one value, what it is made from, and the limits it keeps.
class Rendering {
  public:
    Rendering(memory::PageCache& heap, const Layout& of, TypeCache& type_cache,
              const RenderLimits& limit, const Redaction& hidden);

    /// Appends the text of an object, or why there is none. Never fails.
    void value(RemoteAddr object);
    /// The same, unless the name says that it must not be looked at.
    void named_value(std::string_view name, RemoteAddr object);
    void unreadable(const Error& error);

    void charge(std::uint64_t bytes) {
        budget_ -= std::min(budget_, bytes);
        value_budget_ -= std::min(value_budget_, bytes);
    }
    /// The byte budget of the thread is spent; or so much was read on the way, through dicts with
    /// nothing in them, that the target is not worth it.
    bool spent() const;
    /// That, or the share of it that one value may take.
    bool exhausted() const { return spent() || value_budget_ <= out.size(); }
    /// A part of the byte budget of a thread, which adds to what is left of the parts before.
    void add_budget(std::uint64_t bytes) { budget_ += bytes; }
    /// Another thread: what is left of the budget is gone.
    void begin_thread();
    /// Empties `out`, too. `max_depth`: how many containers and instances are shown inside each
    /// other.
    void begin_value(unsigned max_depth);
    /// Whether containers at this depth show nothing of what is in them.
    bool too_deep() {
        if (nesting_.size() <= max_depth_) return false;
        was_too_deep_ = true;
        return true;
    }
    /// Whether something of the value was left out because of the depth.
    bool was_too_deep() const { return was_too_deep_; }

    /// A pointer or number in the object; kOffsetsRejected where this version has no such field.
    Result<RemoteAddr> pointer(const Value& value, FieldOffset field) const;
    template <class T>
    Result<T> field(const Value& value, FieldOffset offset) const {
        if (!offset)
            return fail(Error{.code = ErrorCode::kOffsetsRejected, .what = "field of an object"});
        if (const auto held = value.head.get<T>(*offset)) return *held;
        return heap.read_value<T>(value.address + *offset);
    }

    /// The names, escaped, that these str objects hold, in few batches. Those of attributes come
    /// again and again, so what was read once is kept.
    std::vector<std::string_view> names(std::span<const RemoteAddr> strs);
    void forget() { names_.clear(); }

    /// The pointers of an array that are going to be shown, which are fetched in one batch.
    Result<std::vector<RemoteAddr>> item_array(RemoteAddr array, std::uint64_t size);
    /// How many items of so many are shown here.
    std::size_t shown_of(std::uint64_t size);

    memory::PageCache& heap;
    const Layout& layout;
    TypeCache& types;
    const RenderLimits limits;
    const Redaction& redaction;
    std::string out;

  private:
    friend class Nesting;

    Result<void> describe(RemoteAddr object);

    std::unordered_map<RemoteAddr, std::string> names_;
    std::vector<RemoteAddr> nesting_;  ///< The containers around what is being written.
    int recursion_ = 0;
    unsigned max_depth_ = 0;  ///< Of this value.
    bool was_too_deep_ = false;
    std::uint64_t budget_ = 0;
    std::uint64_t value_budget_ = 0;
    std::uint64_t read_before_ = 0;  ///< heap.bytes_read() when the budget was filled.
};

/// Being inside of a container, for as long as it lives.
class Nesting {
  public:
    Nesting(Rendering& rendering, RemoteAddr container);
    ~Nesting();
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

    /// The container contains itself.
    bool cycle() const { return cycle_; }

  private:
    Rendering& rendering_;
    bool cycle_;
};

/// Writes the commas between entries and what is left out at the end.
class Entries {
  public:
    Entries(Rendering& rendering, std::uint64_t total) : rendering_(rendering), total_(total) {}

    /// Before each entry: false when no more of them are to be written.
    bool next();
    /// After the last.
    void finish();
    std::uint64_t written() const { return written_; }

  private:
    Rendering& rendering_;
    std::uint64_t total_;
    std::uint64_t written_ = 0;
};

}  // namespace pystack::cpython
