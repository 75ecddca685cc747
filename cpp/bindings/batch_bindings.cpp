#include "bindings/batch_bindings.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <memory>

#include "bindings/debug_file_fetcher.h"
#include "bindings/error_bindings.h"
#include "bindings/native_options.h"
#include "bindings/text.h"
#include "capture/sampler.h"

namespace nb = nanobind;

namespace pystack::bindings {

namespace {

using capture::Sampler;

/// A column as a memoryview that keeps the batch's vector alive.
template <class T>
nb::object column(const std::shared_ptr<const model::Batch>& batch, const std::vector<T>& values) {
    auto owner = std::make_unique<std::shared_ptr<const model::Batch>>(batch);
    const nb::capsule capsule(owner.release(), [](void* pointer) noexcept {
        delete static_cast<std::shared_ptr<const model::Batch>*>(pointer);
    });
    return nb::cast(nb::ndarray<nb::memview, const T, nb::ndim<1>, nb::c_contig>(
        values.data(), {values.size()}, capsule));
}

/// A column made from one member of rows: there are few rows in a batch, one for each new frame or
/// stack.
template <class T, class Rows, class Member>
nb::object row_column(const Rows& rows, Member member) {
    auto values = std::make_unique<std::vector<T>>();
    for (const auto& row : rows) values->push_back(static_cast<T>(row.*member));
    const std::vector<T>& kept = *values;
    const nb::capsule capsule(values.release(), [](void* pointer) noexcept {
        delete static_cast<std::vector<T>*>(pointer);
    });
    return nb::cast(nb::ndarray<nb::memview, const T, nb::ndim<1>, nb::c_contig>(
        kept.data(), {kept.size()}, capsule));
}

class PyBatch {
  public:
    explicit PyBatch(model::Batch batch)
        : batch_(std::make_shared<const model::Batch>(std::move(batch))) {}

    nb::object time_ns() const { return column(batch_, batch_->time_ns); }
    nb::object weight_ns() const { return column(batch_, batch_->weight_ns); }
    nb::object count() const { return column(batch_, batch_->count); }
    nb::object thread() const { return column(batch_, batch_->thread); }
    nb::object stack() const { return column(batch_, batch_->stack); }
    nb::object state() const { return column(batch_, batch_->state); }

    nb::list strings() const {
        nb::list items;
        for (const std::string& text : batch_->strings) items.append(to_str(text));
        return items;
    }
    nb::object frame_kind() const {
        return row_column<std::uint8_t>(batch_->frames, &model::FrameRow::kind);
    }
    nb::object frame_function() const {
        return row_column<std::uint32_t>(batch_->frames, &model::FrameRow::function);
    }
    nb::object frame_file() const {
        return row_column<std::uint32_t>(batch_->frames, &model::FrameRow::file);
    }
    nb::object frame_line() const {
        return row_column<std::int32_t>(batch_->frames, &model::FrameRow::line);
    }
    nb::object frame_first_line() const {
        return row_column<std::int32_t>(batch_->frames, &model::FrameRow::first_line);
    }
    nb::object stack_parent() const {
        return row_column<std::uint32_t>(batch_->stacks, &model::StackTable::Row::parent);
    }
    nb::object stack_frame() const {
        return row_column<std::uint32_t>(batch_->stacks, &model::StackTable::Row::frame);
    }
    nb::list threads() const {
        nb::list items;
        for (const auto& [index, thread] : batch_->threads) {
            items.append(nb::make_tuple(index, thread.pid, thread.tid, thread.interpreter_id,
                                        to_str(thread.name)));
        }
        return items;
    }
    bool finished() const { return batch_->finished; }

  private:
    std::shared_ptr<const model::Batch> batch_;
};

class PySampler {
  public:
    PySampler(int pid, double rate_hz, bool stop, bool exhaustive, const nb::object& native)
        : fetcher_(native) {
        auto native_wanted = native_options(native);
        if (native_wanted) native_wanted->fetch_debug_file = fetcher_.function();
        auto sampler = [&] {
            const nb::gil_scoped_release release;
            return Sampler::open(pid, {.rate_hz = rate_hz,
                                       .stop = stop,
                                       .exhaustive = exhaustive,
                                       .native = native_wanted});
        }();
        // Sampling waits for no server.
        fetcher_.close();
        fetcher_.rethrow();
        if (!sampler) raise(sampler.error(), pid);
        sampler_ = std::move(*sampler);
    }
    ~PySampler() { stop(); }

    void start() { sampler_->start(); }

    void stop() {
        const nb::gil_scoped_release release;
        sampler_->stop();
    }

    nb::object next_batch(double timeout_s) {
        constexpr double kLongest = 3600;
        const std::chrono::duration<double> timeout(std::clamp(timeout_s, 0.0, kLongest));
        auto batch = [&] {
            const nb::gil_scoped_release release;
            return sampler_->next_batch(
                std::chrono::duration_cast<std::chrono::nanoseconds>(timeout));
        }();
        return batch ? nb::cast(PyBatch(std::move(*batch))) : nb::none();
    }

    nb::dict stats() const {
        const model::SamplerStats stats = sampler_->stats();
        nb::dict item;
        item["attempted"] = stats.attempted;
        item["taken"] = stats.taken;
        item["torn"] = stats.torn;
        item["failed"] = stats.failed;
        item["vanished"] = stats.vanished;
        item["ticks"] = stats.ticks;
        item["late"] = stats.late;
        item["missed"] = stats.missed;
        item["elapsed_ns"] = stats.elapsed_ns;
        item["cpu_ns"] = stats.cpu_ns;
        item["stop_ns_total"] = stats.stop_ns_total;
        item["stop_ns_max"] = stats.stop_ns_max;
        nb::list stops;
        for (const std::uint64_t count : stats.stops) stops.append(count);
        item["stops"] = stops;
        item["partly_merged"] = stats.partly_merged;
        return item;
    }

    std::string python_version() const { return sampler_->python_version(); }

    const char* end_reason() const {
        switch (sampler_->end()) {
            case Sampler::End::kRunning:
                return "running";
            case Sampler::End::kStopped:
                return "stopped";
            case Sampler::End::kTargetExited:
                return "target_exited";
            case Sampler::End::kFailed:
                break;
        }
        return "failed";
    }

    nb::object error() const {
        const auto error = sampler_->error();
        return error ? to_str(error->message()) : nb::none();
    }

  private:
    DebugFileFetcher fetcher_;  // Which the sampler refers to.
    std::unique_ptr<Sampler> sampler_;
};

void define_batch(nb::module_& module) {
    nb::class_<PyBatch>(module, "Batch")
        .def_prop_ro("time_ns", &PyBatch::time_ns)
        .def_prop_ro("weight_ns", &PyBatch::weight_ns)
        .def_prop_ro("count", &PyBatch::count)
        .def_prop_ro("thread", &PyBatch::thread)
        .def_prop_ro("stack", &PyBatch::stack)
        .def_prop_ro("state", &PyBatch::state)
        .def_prop_ro("strings", &PyBatch::strings)
        .def_prop_ro("frame_kind", &PyBatch::frame_kind)
        .def_prop_ro("frame_function", &PyBatch::frame_function)
        .def_prop_ro("frame_file", &PyBatch::frame_file)
        .def_prop_ro("frame_line", &PyBatch::frame_line)
        .def_prop_ro("frame_first_line", &PyBatch::frame_first_line)
        .def_prop_ro("stack_parent", &PyBatch::stack_parent)
        .def_prop_ro("stack_frame", &PyBatch::stack_frame)
        .def_prop_ro("threads", &PyBatch::threads)
        .def_prop_ro("finished", &PyBatch::finished);
}

}  // namespace

void define_sampler(nb::module_& module) {
    define_batch(module);
    nb::class_<PySampler>(module, "Sampler")
        .def(nb::init<int, double, bool, bool, const nb::object&>(), nb::arg("pid"), nb::kw_only(),
             nb::arg("rate_hz"), nb::arg("stop") = false, nb::arg("exhaustive") = false,
             nb::arg("native") = nb::none())
        .def("start", &PySampler::start)
        .def("stop", &PySampler::stop)
        .def("next_batch", &PySampler::next_batch, nb::arg("timeout_s"))
        .def("stats", &PySampler::stats)
        .def_prop_ro("python_version", &PySampler::python_version)
        .def_prop_ro("end_reason", &PySampler::end_reason)
        .def_prop_ro("error", &PySampler::error);
    struct SampleStateBits {};
    nb::class_<SampleStateBits>(module, "SampleState")
        .def_prop_ro_static("HOLDS_GIL",
                            [](nb::handle) { return static_cast<int>(model::kHoldsGil); })
        .def_prop_ro_static("WAITS_FOR_GIL",
                            [](nb::handle) { return static_cast<int>(model::kWaitsForGil); })
        .def_prop_ro_static("ON_CPU", [](nb::handle) { return static_cast<int>(model::kOnCpu); })
        .def_prop_ro_static("GC", [](nb::handle) { return static_cast<int>(model::kGc); })
        .def_prop_ro_static("CPU_KNOWN",
                            [](nb::handle) { return static_cast<int>(model::kCpuKnown); })
        .def_prop_ro_static("GIL_KNOWN",
                            [](nb::handle) { return static_cast<int>(model::kGilKnown); });
}

}  // namespace pystack::bindings
