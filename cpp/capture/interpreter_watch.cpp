#include "capture/interpreter_watch.h"

#include <algorithm>
#include <array>
#include <unordered_map>

namespace pystack::capture {

namespace {

using cpython::InterpreterState;
using cpython::ThreadState;
using memory::ReadBatch;
using memory::RemoteStruct;

/// Of the GIL struct: all that is read lies before the condition variables.
constexpr std::uint64_t kGilBytes = 48;
/// What lies nearer than this is one piece: bytes are cheaper than pieces.
constexpr std::uint64_t kMaxGap = 1024;
constexpr int kListAttempts = 4;
constexpr std::size_t kMaxThreads = 1'000'000;

}  // namespace

RemoteRange InterpreterWatch::links_of(RemoteAddr interpreter) const {
    const auto& fields = runtime_.layout.interpreter_state;
    const std::uint32_t first = std::min(*fields.next, *fields.threads_head);
    const std::uint32_t last = std::max(*fields.next, *fields.threads_head);
    return {interpreter + first, interpreter + last + 8};
}

std::optional<RemoteAddr> InterpreterWatch::gc_flag_of(RemoteAddr interpreter) const {
    const cpython::Layout& layout = runtime_.layout;
    if (!layout.gc.collecting) return std::nullopt;
    switch (layout.gc_place) {
        case cpython::GcPlace::kNone:
            return std::nullopt;
        case cpython::GcPlace::kRuntime:
            if (!runtime_.address || !layout.runtime_state.gc) return std::nullopt;
            return runtime_.address + *layout.runtime_state.gc + *layout.gc.collecting;
        case cpython::GcPlace::kInterpreter:
            break;
    }
    if (!layout.interpreter_state.gc) return std::nullopt;
    return interpreter + *layout.interpreter_state.gc + *layout.gc.collecting;
}

RemoteAddr InterpreterWatch::gil_of(RemoteAddr interpreter) const {
    const cpython::Layout& layout = runtime_.layout;
    if (!layout.gil.locked || !layout.gil.last_holder) return {};
    switch (layout.gil_place) {
        case cpython::GilPlace::kSymbols:
            return {};
        case cpython::GilPlace::kRuntime:
            if (!runtime_.address || !layout.runtime_state.ceval_gil) return {};
            return runtime_.address + *layout.runtime_state.ceval_gil;
        case cpython::GilPlace::kInterpreter:
            break;
    }
    // Set before the interpreter is in the list, and never changed.
    if (!layout.interpreter_state.ceval_gil) return {};
    return memory_.read_pointer(interpreter + *layout.interpreter_state.ceval_gil)
        .value_or(RemoteAddr{});
}

void InterpreterWatch::plan_items() {
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
        if (const auto flag = gc_flag_of(interpreter.address)) items.gc = add(*flag, 4);
        if (const auto place = runtime_.layout.interpreter_state.code_object_generation) {
            items.generation = add(interpreter.address + *place, 8);
        }
        if (const RemoteAddr gil = gil_of(interpreter.address)) items.gil = add(gil, kGilBytes);
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

RemoteStruct InterpreterWatch::item(const ReadBatch& batch, std::size_t index) const {
    const Item& item = items_[index];
    const auto bytes = batch.bytes(first_piece_ + item.piece);
    if (bytes.size() < item.offset + item.range.size()) return RemoteStruct(item.range.begin, {});
    return RemoteStruct(item.range.begin, bytes.subspan(item.offset, item.range.size()));
}

void InterpreterWatch::add_to(ReadBatch& batch) {
    first_piece_ = batch.size();
    for (const RemoteRange& range : ranges_) batch.add(range);
}

void InterpreterWatch::add_end_to(ReadBatch& batch) {
    end_piece_ = batch.size();
    for (const Items& items : of_interpreter_) {
        if (items.generation) batch.add(items_[*items.generation].range);
    }
}

bool InterpreterWatch::take(const ReadBatch& batch, const std::vector<std::size_t>& thread_pieces) {
    if (!links_hold(batch, thread_pieces)) {
        follow(batch, thread_pieces);
        return false;
    }
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
        take_gil(batch, i);
    }
    return true;
}

void InterpreterWatch::take_gil(const ReadBatch& batch, std::size_t index) {
    Interpreter& now = now_[index];
    if (!of_interpreter_[index].gil) return read_gil(index);
    const auto& fields = runtime_.layout.gil;
    const RemoteStruct gil = item(batch, *of_interpreter_[index].gil);
    const auto locked = gil.get<std::int32_t>(*fields.locked);
    const auto holder = gil.pointer(*fields.last_holder);
    now.gil_known = locked && holder;
    if (!now.gil_known) return;
    // `locked` is -1 before the GIL is created [Python/ceval_gil.c].
    now.gil.locked = *locked > 0;
    now.gil.holder = *holder;
    now.gil.enabled = !fields.enabled || gil.get<std::int32_t>(*fields.enabled).value_or(1) != 0;
    if (fields.cond && fields.switch_cond) {
        now.gil.wait = {gil.address() + *fields.cond, gil.address() + *fields.switch_cond};
        now.gil.forced = {now.gil.wait.end, gil.address() + fields.struct_size};
    }
}

void InterpreterWatch::read_gil(std::size_t index) {
    const auto gil = cpython::read_gil(memory_, runtime_, walked_.interpreters[index].address);
    now_[index].gil_known = gil.has_value();
    now_[index].gil = gil.value_or(cpython::Gil{});
}

std::optional<std::pair<RemoteAddr, RemoteAddr>> InterpreterWatch::links(const ReadBatch& batch,
                                                                         std::size_t index) const {
    const auto& fields = runtime_.layout.interpreter_state;
    const RemoteStruct links = item(batch, of_interpreter_[index].links);
    const std::uint32_t base = std::min(*fields.next, *fields.threads_head);
    const auto next = links.pointer(*fields.next - base);
    const auto head = links.pointer(*fields.threads_head - base);
    if (!next || !head) return std::nullopt;
    return std::pair(*next, *head);
}

bool InterpreterWatch::interpreters_hold(const ReadBatch& batch) const {
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

bool InterpreterWatch::links_hold(const ReadBatch& batch,
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
            RemoteAddr next;
            const auto state = parse(known.address, i, batch.data(piece), next);
            if (!state || *state != known || next != older) return false;
            older = known.address;
        }
        if (links(batch, i)->second != older) return false;
    }
    return true;
}

std::optional<ThreadState> InterpreterWatch::parse(RemoteAddr address, std::size_t interpreter,
                                                   const std::byte* bytes, RemoteAddr& next) const {
    const auto& fields = runtime_.layout.thread_state;
    const RemoteRange covered = format_.thread();
    const RemoteStruct state(address, std::span(bytes, covered.size()));
    const auto word = [&](cpython::FieldOffset field) {
        return field ? state.get<std::uint64_t>(*field - covered.begin.value).value_or(0) : 0;
    };
    if (word(fields.interp) != walked_.interpreters[interpreter].address.value) return std::nullopt;
    next = {word(fields.next)};
    ThreadState thread{.address = address, .interpreter = interpreter};
    thread.python_thread_id = word(fields.thread_id);
    if (fields.native_thread_id) thread.native_thread_id = word(fields.native_thread_id);
    thread.unique_id = word(fields.id);
    return thread;
}

/// Thread states that were in the batch cost nothing; new ones a call each.
void InterpreterWatch::follow(const ReadBatch& batch,
                              const std::vector<std::size_t>& thread_pieces) {
    if (std::find(thread_pieces.begin(), thread_pieces.end(), kNotRead) != thread_pieces.end()) {
        read_all();
        return follow(full_batch_, full_pieces_);
    }
    ++changes_;
    const auto walk_all = [this] {
        start(cpython::walk_moving_interpreters(memory_, runtime_, kListAttempts));
    };
    // Interpreters come and go seldom.
    if (walked_.interpreters.empty() || !interpreters_hold(batch)) return walk_all();

    std::unordered_map<RemoteAddr, std::size_t> known;
    for (std::size_t i = 0; i < walked_.threads.size(); ++i) {
        if (batch.complete(thread_pieces[i]))
            known.emplace(walked_.threads[i].address, thread_pieces[i]);
    }
    std::vector<ThreadState> threads;
    std::array<std::byte, cpython::FrameFormat::kMostThreadBytes> bytes;
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
            RemoteAddr older;
            const auto state = parse(address, i, state_bytes, older);
            if (!state || threads.size() - first >= kMaxThreads) return walk_all();
            // In the batch a state may be listed that has gone since: it comes again only in a
            // ring.
            if (place != known.end()) known.erase(place);
            if (threads.size() > first && threads.back().address == older) return walk_all();
            threads.push_back(*state);
            address = older;
        }
        std::reverse(threads.begin() + static_cast<std::ptrdiff_t>(first), threads.end());
    }
    walked_.threads = std::move(threads);
}

/// All that take() needs to see whether the lists are those of the last time.
void InterpreterWatch::read_all() {
    full_batch_.clear();
    full_pieces_.clear();
    add_to(full_batch_);
    for (const ThreadState& thread : walked_.threads) {
        full_pieces_.push_back(full_batch_.add(format_.thread_at(thread.address)));
    }
    add_end_to(full_batch_);
    full_batch_.read(memory_);
}

void InterpreterWatch::read_still() {
    read_all();
    if (take(full_batch_, full_pieces_)) return;
    cpython::WalkedInterpreters walked = cpython::walk_interpreters(memory_, runtime_);
    if (walked.threads != walked_.threads) ++changes_;
    start(std::move(walked));
    for (std::size_t i = 0; i < now_.size(); ++i) {
        read_gil(i);
        now_[i].collecting = walked_.interpreters[i].gc_collecting.value_or(false);
        now_[i].code_generation = read_generation(i);
    }
    generations_held_ = true;
}

void InterpreterWatch::start(cpython::WalkedInterpreters walked) {
    walked_ = std::move(walked);
    now_.assign(walked_.interpreters.size(), {});
    plan_items();
}

std::optional<std::uint64_t> InterpreterWatch::read_generation(std::size_t interpreter) const {
    const cpython::FieldOffset generation =
        runtime_.layout.interpreter_state.code_object_generation;
    if (!generation) return std::nullopt;
    const auto value =
        memory_.read_value<std::uint64_t>(walked_.interpreters[interpreter].address + *generation);
    return value ? std::optional(*value) : std::nullopt;
}

bool InterpreterWatch::is_linked(std::size_t thread) const {
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

}  // namespace pystack::capture
