#include "cpython/runtime/thread_names.h"

#include <optional>
#include <vector>

#include "cpython/objects/dict_objects.h"
#include "cpython/objects/instance_attributes.h"
#include "cpython/objects/objects.h"

namespace pystack::cpython {

namespace {

using memory::MemoryReader;
using memory::ReadRequest;
using memory::RemoteStruct;

constexpr std::size_t kMaxThreads = 1u << 15;
constexpr std::size_t kMaxNameLength = 65536;

std::vector<std::optional<std::uint64_t>> read_identifiers(
    const MemoryReader& reader, const Layout& layout, const std::vector<RemoteAddr>& integers) {
    const std::size_t size = int64_object_size(layout);
    std::vector<std::byte> bytes(integers.size() * size);
    std::vector<ReadRequest> requests;
    for (std::size_t i = 0; i < integers.size(); ++i) {
        requests.push_back({integers[i], std::span(bytes).subspan(i * size, size)});
    }
    reader.read_many(requests);
    std::vector<std::optional<std::uint64_t>> identifiers(integers.size());
    for (std::size_t i = 0; i < integers.size(); ++i) {
        const auto read = requests[i].destination.first(requests[i].done);
        const auto value = decode_int64(layout, RemoteStruct(integers[i], read));
        if (value && *value) identifiers[i] = static_cast<std::uint64_t>(**value);
    }
    return identifiers;
}

}  // namespace

Result<ThreadNames> read_thread_names(const MemoryReader& reader, const Layout& layout,
                                      RemoteAddr interpreter_state) {
    ThreadNames names;
    PYSTACK_TRY(globals, imported_module_dict(reader, layout, interpreter_state, "threading"));
    if (!globals) return names;
    // Absent while the module is being imported.
    PYSTACK_TRY(active, dict_lookup_str(reader, layout, *globals, "_active"));
    if (!active) return names;

    std::vector<RemoteAddr> keys;
    std::vector<RemoteAddr> threads;
    PYSTACK_CHECK(for_each_dict_item(reader, layout, *active, kMaxThreads,
                                     [&](RemoteAddr key, RemoteAddr thread) {
                                         keys.push_back(key);
                                         threads.push_back(thread);
                                         return true;
                                     }));
    const auto identifiers = read_identifiers(reader, layout, keys);
    const auto attributes = instance_attributes(reader, layout, threads, "_name");
    std::vector<RemoteAddr> strs;
    std::vector<std::uint64_t> owners;
    for (std::size_t i = 0; i < threads.size(); ++i) {
        if (!identifiers[i] || !attributes[i] || !*attributes[i]) continue;
        strs.push_back(**attributes[i]);
        owners.push_back(*identifiers[i]);
    }
    auto texts = read_str_prefixes(reader, layout, strs, kMaxNameLength);
    for (std::size_t i = 0; i < strs.size(); ++i) {
        if (texts[i]) names.insert_or_assign(owners[i], std::move(texts[i]->text));
    }
    return names;
}

std::optional<std::string> thread_name(const ThreadNames& names, std::uint64_t python_thread_id,
                                       bool is_main) {
    const auto name = names.find(python_thread_id);
    if (name != names.end()) return name->second;
    return is_main ? std::optional<std::string>("MainThread") : std::nullopt;
}

}  // namespace pystack::cpython
