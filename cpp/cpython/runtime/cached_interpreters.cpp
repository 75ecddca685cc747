#include "cpython/runtime/cached_interpreters.h"

#include <algorithm>
#include <array>
#include <unordered_map>

namespace pystack::cpython {

namespace {

using memory::ReadBatch;
using memory::RemoteStruct;

/// What lies nearer than this is one piece: bytes are cheaper than pieces.
constexpr std::uint64_t kMaxGap = 1024;
constexpr int kListAttempts = 4;

}  // namespace

RemoteRange CachedInterpreters::links_of(RemoteAddr interpreter) const {
    const auto& fields = runtime_.layout.interpreter_state;
    const std::uint32_t first = std::min(*fields.next, *fields.threads_head);
    const std::uint32_t last = std::max(*fields.next, *fields.threads_head);
    return {interpreter + first, interpreter + last + 8};
}

void CachedInterpreters::plan_items() {
    items_.clear();
    of_interpreter_.clear();
    const auto add = [this](RemoteAddr begin, std::uint64_t size) {
        items_.push_back({.range = {begin, begin + size}});
        return items_.size() - 1;
    };
    add(runtime_.interpreters_head, 8);
    for (const InterpreterState& interpreter : walked_.interpreters) {
        Items items;
        const RemoteRange links = links_of(interpreter.address);
        items.links = add(links.begin, links.size());
        if (const auto flag = gc_flag_address(runtime_, interpreter.address))
            items.gc = add(*flag, 4);
        if (const auto place = runtime_.layout.interpreter_state.code_object_generation) {
            items.generation = add(interpreter.address + *place, 8);
        }
        if (const RemoteAddr gil = gil_address(memory_, runtime_, interpreter.address))
            items.gil = add(gil, kGilBytes);
        of_interpreter_.push_back(items);
    }
    std::vector<std::size_t> order(items_.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(),
              [this](std::size_t a, std::size_t b) { return items_[a].range < items_[b].range; });
    ranges_.clear();
    for (const std::size_t i : order) {
        Item& item = items_[i];
        if (!ranges_.empty() && item.range.begin.value < ranges_.back().end.value + kMaxGap) {
            ranges_.back().end = std::max(ranges_.back().end, item.range.end);
        } else {
            ranges_.push_back(item.range);
        }
        item.piece = ranges_.size() - 1;
        item.offset = item.range.begin - ranges_.back().begin;
    }
}

RemoteStruct CachedInterpreters::item(const ReadBatch& batch, std::size_t index) const {
    const Item& item = items_[index];
    const auto bytes = batch.bytes(first_piece_ + item.piece);
    if (bytes.size() < item.offset + item.range.size()) return RemoteStruct(item.range.begin, {});
    return RemoteStruct(item.range.begin, bytes.subspan(item.offset, item.range.size()));
}

void CachedInterpreters::add_to(ReadBatch& batch) {
    first_piece_ = batch.size();
    for (const RemoteRange& range : ranges_) batch.add(range);
}

void CachedInterpreters::add_end_to(ReadBatch& batch) {
    end_piece_ = batch.size();
    for (const Items& items : of_interpreter_) {
        if (items.generation) batch.add(items_[*items.generation].range);
    }
}

bool CachedInterpreters::accept(const ReadBatch& batch,
                                const std::vector<std::size_t>& thread_pieces) {
    if (!links_hold(batch, thread_pieces)) {
        follow(batch, thread_pieces);
        return false;
    }
    accept_values(batch);
    return true;
}

/// Of the interpreters that there are.
void CachedInterpreters::accept_values(const ReadBatch& batch) {
    generations_held_ = true;
    std::size_t end_piece = end_piece_;
    for (std::size_t i = 0; i < now_.size(); ++i) {
        Interpreter& now = now_[i];
        const Items& items = of_interpreter_[i];
        if (items.gc) now.collecting = item(batch, *items.gc).get<std::int32_t>(0).value_or(0) != 0;
        if (items.generation) {
            const auto begin = item(batch, *items.generation).get<std::uint64_t>(0);
            now.code_generation = RemoteStruct({}, batch.bytes(end_piece++)).get<std::uint64_t>(0);
            generations_held_ = generations_held_ && begin && begin == now.code_generation;
        }
        update_gil(batch, i);
    }
}

void CachedInterpreters::update_gil(const ReadBatch& batch, std::size_t index) {
    const auto place = of_interpreter_[index].gil;
    now_[index].gil = place ? parse_gil(runtime_.layout, item(batch, *place))
                            : read_gil(memory_, runtime_, walked_.interpreters[index].address);
}

std::optional<std::pair<RemoteAddr, RemoteAddr>> CachedInterpreters::links(
    const ReadBatch& batch, std::size_t index) const {
    const auto& fields = runtime_.layout.interpreter_state;
    const RemoteStruct links = item(batch, of_interpreter_[index].links);
    const std::uint32_t base = std::min(*fields.next, *fields.threads_head);
    const auto next = links.pointer(*fields.next - base);
    const auto head = links.pointer(*fields.threads_head - base);
    if (!next || !head) return std::nullopt;
    return std::pair(*next, *head);
}

bool CachedInterpreters::interpreters_hold(const ReadBatch& batch) const {
    const auto& interpreters = walked_.interpreters;
    const RemoteAddr first = interpreters.empty() ? RemoteAddr{} : interpreters.front().address;
    if (item(batch, 0).pointer(0) != first) return false;
    for (std::size_t i = 0; i < interpreters.size(); ++i) {
        const RemoteAddr next =
            i + 1 < interpreters.size() ? interpreters[i + 1].address : RemoteAddr{};
        const auto found = links(batch, i);
        if (!found || found->first != next) return false;
    }
    return true;
}

bool CachedInterpreters::links_hold(const ReadBatch& batch,
                                    const std::vector<std::size_t>& thread_pieces) const {
    if (!interpreters_hold(batch)) return false;
    std::size_t thread = 0;
    for (std::size_t i = 0; i < walked_.interpreters.size(); ++i) {
        // Oldest first here, newest first there.
        RemoteAddr older;
        for (; thread < walked_.threads.size() && walked_.threads[thread].interpreter == i;
             ++thread) {
            const ThreadState& known = walked_.threads[thread];
            const std::size_t piece = thread_pieces[thread];
            if (piece == kNotRead) {
                older = known.address;
                continue;
            }
            if (!batch.complete(piece)) return false;
            const auto listed = parse(known.address, i, batch.data(piece));
            if (!listed || listed->thread != known || listed->next != older) return false;
            older = known.address;
        }
        if (links(batch, i)->second != older) return false;
    }
    return true;
}

std::optional<ListedThread> CachedInterpreters::parse(RemoteAddr address, std::size_t interpreter,
                                                      const std::byte* bytes) const {
    const RemoteRange covered = format_.thread();
    auto listed =
        parse_thread_state(runtime_.layout, RemoteStruct(address, std::span(bytes, covered.size())),
                           covered.begin.value, walked_.interpreters[interpreter].address);
    if (listed) listed->thread.interpreter = interpreter;
    return listed;
}

/// Thread states that were in the batch cost nothing; new ones a call each.
void CachedInterpreters::follow(const ReadBatch& batch,
                                const std::vector<std::size_t>& thread_pieces) {
    if (std::find(thread_pieces.begin(), thread_pieces.end(), kNotRead) != thread_pieces.end()) {
        read_all();
        return follow(full_batch_, full_pieces_);
    }
    ++changes_;
    const auto walk_all = [this] {
        start(walk_running_interpreters(memory_, runtime_, kListAttempts, most_states_()));
    };
    // Interpreters come and go seldom.
    if (walked_.interpreters.empty() || !interpreters_hold(batch)) return walk_all();

    std::unordered_map<RemoteAddr, std::size_t> known;
    for (std::size_t i = 0; i < walked_.threads.size(); ++i) {
        if (batch.complete(thread_pieces[i]))
            known.emplace(walked_.threads[i].address, thread_pieces[i]);
    }
    const std::size_t most = most_states_();
    std::vector<ThreadState> threads;
    std::array<std::byte, FrameFormat::kMostThreadBytes> bytes;
    const std::size_t size = format_.thread().size();
    for (std::size_t i = 0; i < walked_.interpreters.size(); ++i) {
        RemoteAddr address = links(batch, i)->second;
        const std::size_t first = threads.size();
        while (address) {
            const auto place = known.find(address);
            const std::byte* state_bytes = bytes.data();
            if (place != known.end()) {
                state_bytes = batch.data(place->second);
            } else if (!memory_.read(format_.thread_at(address).begin,
                                     std::span(bytes).first(size))) {
                return walk_all();
            }
            const auto listed = parse(address, i, state_bytes);
            if (!listed || threads.size() >= most) return walk_all();
            // In the batch a state may be listed that has gone since: it comes again only in a
            // ring.
            if (place != known.end()) known.erase(place);
            if (threads.size() > first && threads.back().address == listed->next) return walk_all();
            threads.push_back(listed->thread);
            address = listed->next;
        }
        std::reverse(threads.begin() + static_cast<std::ptrdiff_t>(first), threads.end());
    }
    walked_.threads = std::move(threads);
}

/// All that accept() needs to see whether the lists are those of the last time.
void CachedInterpreters::read_all() {
    full_batch_.clear();
    full_pieces_.clear();
    add_to(full_batch_);
    for (const ThreadState& thread : walked_.threads) {
        full_pieces_.push_back(full_batch_.add(format_.thread_at(thread.address)));
    }
    add_end_to(full_batch_);
    full_batch_.read(memory_);
}

void CachedInterpreters::read() {
    for (int attempt = 0; attempt < kListAttempts; ++attempt) {
        read_all();
        if (accept(full_batch_, full_pieces_) || walked_.interpreters.empty()) return;
    }
}

bool CachedInterpreters::read_now() {
    full_batch_.clear();
    add_to(full_batch_);
    add_end_to(full_batch_);
    full_batch_.read(memory_);
    if (!interpreters_hold(full_batch_)) return false;
    accept_values(full_batch_);
    return true;
}

void CachedInterpreters::start(WalkedInterpreters walked) {
    walked_ = std::move(walked);
    now_.assign(walked_.interpreters.size(), {});
    plan_items();
}

std::optional<std::uint64_t> CachedInterpreters::read_generation(std::size_t interpreter) const {
    const FieldOffset generation = runtime_.layout.interpreter_state.code_object_generation;
    if (!generation) return std::nullopt;
    const auto value =
        memory_.read_value<std::uint64_t>(walked_.interpreters[interpreter].address + *generation);
    return value ? std::optional(*value) : std::nullopt;
}

bool CachedInterpreters::is_linked(std::size_t thread) const {
    const ThreadState& state = walked_.threads[thread];
    const std::size_t newer = thread + 1;
    RemoteAddr link = walked_.interpreters[state.interpreter].address +
                      *runtime_.layout.interpreter_state.threads_head;
    if (newer < walked_.threads.size() && walked_.threads[newer].interpreter == state.interpreter) {
        link = walked_.threads[newer].address + *runtime_.layout.thread_state.next;
    }
    const auto to = memory_.read_pointer(link);
    return to && *to == state.address;
}

bool CachedInterpreters::is_listed(std::size_t thread) const {
    return (is_linked(thread) || is_in_list(thread)) && is_same(thread);
}

/// Not another thread's, at the same address.
bool CachedInterpreters::is_same(std::size_t thread) const {
    const ThreadState& known = walked_.threads[thread];
    std::array<std::byte, FrameFormat::kMostThreadBytes> bytes;
    const RemoteRange range = format_.thread_at(known.address);
    if (!memory_.read(range.begin, std::span(bytes).first(range.size()))) return false;
    const auto listed = parse(known.address, known.interpreter, bytes.data());
    return listed && listed->thread == known;
}

bool CachedInterpreters::is_in_list(std::size_t thread) const {
    const ThreadState& wanted = walked_.threads[thread];
    RemoteAddr link = walked_.interpreters[wanted.interpreter].address +
                      *runtime_.layout.interpreter_state.threads_head;
    for (std::size_t most = most_states_(); most > 0; --most) {
        const auto state = memory_.read_pointer(link);
        if (!state || !*state) return false;
        if (*state == wanted.address) return true;
        link = *state + *runtime_.layout.thread_state.next;
    }
    return false;
}

}  // namespace pystack::cpython
