#include "cpython/tasks/greenlet_search.h"

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "cpython/objects/instance_attributes.h"
#include "cpython/runtime/greenlet_library.h"

namespace pystack::cpython {

namespace {

constexpr std::uint64_t kWordBytes = 8;
constexpr std::uint64_t kBlockBytes = 1 << 20;
/// Takes about half a second.
constexpr std::uint64_t kMostSearched = 1 << 30;
constexpr std::size_t kMostGreenlets = 1 << 20;

/// Where programs have objects: not in files, and not in memory that is shared with others.
bool may_hold_objects(const elf::Mapping& mapping) {
    const std::string_view path = mapping.path;
    return mapping.readable && mapping.writable && mapping.inode == 0 &&
           (path.empty() || path == "[heap]" || path.starts_with("[anon:"));
}

class Search {
  public:
    Search(const memory::MemoryReader& memory, const Layout& layout, RemoteRange library,
           const WorkLimits& limits, FoundGreenlets& found)
        : memory_(memory), layout_(layout), library_(library), limits_(limits), found_(found) {}

    void search(RemoteRange range) {
        block_.resize(kBlockBytes / kWordBytes);
        for (RemoteAddr at = range.begin; at < range.end; at = at + kBlockBytes) {
            if (searched_ >= kMostSearched || limits_.cancelled()) {
                found_.is_cut = true;
                return;
            }
            const std::uint64_t wanted = std::min(kBlockBytes, range.end - at);
            searched_ += wanted;  // Unreadable or not: the search has to end.
            const std::size_t size =
                memory_.read_up_to(at, std::as_writable_bytes(std::span(block_)).first(wanted));
            visit(at, std::span(block_).first(size / kWordBytes));
        }
    }

  private:
    void visit(RemoteAddr at, std::span<const std::uint64_t> words) {
        const std::uint64_t begin = library_.begin.value;
        const std::uint64_t size = library_.size();
        for (std::size_t i = 0; i < words.size(); ++i) {
            if (words[i] - begin >= size) continue;
            const RemoteAddr object = at + i * kWordBytes;
            if (!greenlet_of(memory_, layout_, object)) continue;
            if (found_.objects.size() >= kMostGreenlets) {
                found_.is_cut = true;
                return;
            }
            found_.objects.push_back(object);
        }
    }

    const memory::MemoryReader& memory_;
    const Layout& layout_;
    const RemoteRange library_;
    const WorkLimits& limits_;
    FoundGreenlets& found_;
    std::vector<std::uint64_t> block_;
    std::uint64_t searched_ = 0;
};

}  // namespace

bool has_greenlet(const memory::MemoryReader& memory, const Layout& layout,
                  RemoteAddr interpreter) {
    const auto globals = imported_module_dict(memory, layout, interpreter, "greenlet._greenlet");
    return globals && *globals;
}

/// A greenlet is an object with a list of weak references, a dict and the C++ object
/// [src/greenlet/greenlet.h].
RemoteAddr greenlet_of(const memory::MemoryReader& memory, const Layout& layout,
                       RemoteAddr object) {
    const auto greenlet = memory.read_pointer(object + kWordBytes);
    if (!greenlet || !*greenlet || greenlet->value % kWordBytes != 0) return {};
    const auto back = memory.read_pointer(*greenlet + layout.pyobject.struct_size + 2 * kWordBytes);
    return back && *back == object ? *greenlet : RemoteAddr{};
}

FoundGreenlets search_greenlets(const memory::MemoryReader& memory, const Layout& layout,
                                std::span<const elf::Mapping> mappings,
                                std::span<const elf::Module> modules, const WorkLimits& limits) {
    FoundGreenlets found;
    const auto library = std::ranges::find_if(
        modules, [](const elf::Module& module) { return is_greenlet_library(module.path); });
    if (library == modules.end()) return found;
    Search search(memory, layout, library->range(), limits, found);
    for (const elf::Mapping& mapping : mappings) {
        if (may_hold_objects(mapping)) search.search(mapping.range);
    }
    return found;
}

}  // namespace pystack::cpython
