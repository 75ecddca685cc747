#include "sampling/batch_writer.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace pystack::sampling {

namespace {

/// The rows from `handed` on, which are handed over with that.
template <class Row>
std::vector<Row> new_rows(const std::vector<Row>& rows, std::size_t& handed) {
    const auto begin =
        rows.begin() + static_cast<std::ptrdiff_t>(std::exchange(handed, rows.size()));
    return {begin, rows.end()};
}

}  // namespace

void BatchWriter::add(const Tick& tick, TrackedThread& thread, model::StackId stack,
                      std::uint8_t state, model::WaitId wait) const {
    if (thread.is_left_out) return lose(tick, thread, tick.stats.failed);
    ++tick.stats.attempted;
    ++tick.stats.taken;
    if (thread.is_order_guessed) ++tick.stats.guessed_order;
    const std::uint64_t since_last = tick.until_ns - std::min(tick.until_ns, thread.last_ns);
    const std::uint64_t weight = std::min(since_last, tick.most_weight_ns);
    thread.last_ns = tick.until_ns;
    thread.cpu.sampled_ns += weight;
    thread.cpu.gaps_ns += since_last - weight;
    if ((state & model::kOnCpu) != 0) thread.cpu.running_ns += weight;
    add_row(tick, weight, thread.index, thread.row, stack, state, wait);
}

void BatchWriter::add_row(const Tick& tick, std::uint64_t weight, std::uint32_t thread,
                          RowPlace& place, model::StackId stack, std::uint8_t state,
                          model::WaitId wait) const {
    if (place.batch == batch_number_ &&
        tick.batch.extend(place.row, tick.until_ns, weight, stack, state, wait))
        return;
    place.batch = batch_number_;
    place.row = tick.batch.add(tick.until_ns, weight, thread, stack, state, wait);
}

void BatchWriter::lose(const Tick& tick, TrackedThread& thread, std::uint64_t& count) const {
    ++tick.stats.attempted;
    ++(thread.is_left_out ? tick.stats.failed : count);
    thread.cpu.gaps_ns += tick.until_ns - std::min(tick.until_ns, thread.last_ns);
    thread.last_ns = tick.until_ns;
}

void BatchWriter::add_new_rows(model::Batch& batch, const FrameInterner& tables,
                               const model::WaitTable& waits, ThreadIdentities& identities) {
    ++batch_number_;
    batch.strings = new_rows(tables.strings().rows(), strings_);
    batch.frames = new_rows(tables.frames(), frames_);
    batch.stacks = new_rows(tables.stacks().rows(), stacks_);
    batch.waits = new_rows(waits.rows(), waits_);
    batch.threads = identities.consume_changed();
}

}  // namespace pystack::sampling
