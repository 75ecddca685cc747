#include "bindings/batch_bindings.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <unistd.h>

#include <array>
#include <memory>
#include <tuple>

#include "bindings/core_call.h"
#include "bindings/debug_file_fetcher.h"
#include "bindings/error_bindings.h"
#include "bindings/gil.h"
#include "bindings/native_options.h"
#include "bindings/text.h"
#include "sampling/sampler.h"

namespace nb = nanobind;

namespace pystack::bindings {

namespace {

using sampling::Sampler;

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

nb::object count_object(std::uint64_t count) {
    return nb::cast(count);
}

template <std::size_t kSize>
nb::object count_object(const std::array<std::uint64_t, kSize>& counts) {
    nb::list items;
    for (const std::uint64_t count : counts) items.append(count);
    return items;
}

const char* merge_name(model::CountMerge merge) {
    switch (merge) {
        case model::CountMerge::kSum:
            return "sum";
        case model::CountMerge::kMaximum:
            return "maximum";
        case model::CountMerge::kHistogram:
            break;
    }
    return "histogram";
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
    nb::object wait() const { return column(batch_, batch_->wait); }

    nb::object cpu_ns() const { return column(batch_, batch_->cpu_ns); }
    nb::object runnable_ns() const { return column(batch_, batch_->runnable_ns); }
    nb::list late_cpu() const {
        nb::list items;
        for (const model::Batch::LateCpu& late : batch_->late_cpu)
            items.append(nb::make_tuple(late.thread, late.cpu_ns, late.runnable_ns));
        return items;
    }

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
    nb::object frame_module() const {
        return row_column<std::uint32_t>(batch_->frames, &model::FrameRow::module);
    }
    nb::object frame_build_id() const {
        return row_column<std::uint32_t>(batch_->frames, &model::FrameRow::build_id);
    }
    nb::object frame_address() const {
        return row_column<std::uint64_t>(batch_->frames, &model::FrameRow::address);
    }
    nb::object frame_inline_depth() const {
        return row_column<std::uint8_t>(batch_->frames, &model::FrameRow::inline_depth);
    }
    nb::object frame_name_source() const {
        return row_column<std::uint8_t>(batch_->frames, &model::FrameRow::name_source);
    }
    nb::object stack_parent() const {
        return row_column<std::uint32_t>(batch_->stacks, &model::StackTable::Row::parent);
    }
    nb::object stack_frame() const {
        return row_column<std::uint32_t>(batch_->stacks, &model::StackTable::Row::frame);
    }
    nb::object wait_kind() const {
        return row_column<std::uint8_t>(batch_->waits, &model::WaitRow::kind);
    }
    nb::object wait_type() const {
        return row_column<std::uint32_t>(batch_->waits, &model::WaitRow::type);
    }
    nb::object wait_name() const {
        return row_column<std::uint32_t>(batch_->waits, &model::WaitRow::name);
    }
    nb::object wait_holder() const {
        return row_column<std::uint32_t>(batch_->waits, &model::WaitRow::holder);
    }
    nb::list threads() const {
        nb::list items;
        for (const auto& [index, thread] : batch_->threads) {
            items.append(nb::make_tuple(index, thread.pid, thread.tid, thread.interpreter_id,
                                        to_str(thread.name), thread.is_of_tasks));
        }
        return items;
    }
    nb::dict stats() const {
        nb::dict items;
        model::for_each_count([&](const char* name, auto member, model::CountMerge) {
            items[name] = count_object(batch_->stats.*member);
        });
        return items;
    }
    bool finished() const { return batch_->finished; }
    bool ends_tables() const { return batch_->ends_tables; }

  private:
    std::shared_ptr<const model::Batch> batch_;
};

class PySampler {
  public:
    PySampler(int pid, double rate_hz, std::optional<bool> stop, bool exhaustive,
              const nb::object& native, bool tasks, bool raise_priority, double max_cpu_share,
              double max_pause_share, std::optional<std::uint64_t> max_memory,
              const nb::object& cancelled)
        : fetcher_(native) {
        auto native_wanted = native_options(native);
        if (native_wanted) native_wanted->fetch_debug_file = fetcher_.function();
        const auto policy = !stop   ? sampling::StopPolicy::kWhenNeeded
                            : *stop ? sampling::StopPolicy::kAlways
                                    : sampling::StopPolicy::kNever;
        CoreCall call(make_limits(max_memory), cancelled);
        fetcher_.use(call);
        // Sampling waits for no server.
        const Closing closing{fetcher_};
        auto sampler = call.run([&] {
            return Sampler::open(pid, {.rate_hz = rate_hz,
                                       .stop = policy,
                                       .exhaustive = exhaustive,
                                       .native = native_wanted,
                                       .tasks = tasks,
                                       .raise_priority = raise_priority,
                                       .max_cpu_share = max_cpu_share,
                                       .max_pause_share = max_pause_share,
                                       .limits = call.limits()});
        });
        if (!sampler) raise(sampler.error(), pid);
        sampler_ = std::move(*sampler);
    }
    ~PySampler() {
        stop();
        // Its locks and conditions may be in use by the thread that the child of a fork lacks.
        if (is_in_forked_child()) std::ignore = sampler_.release();
    }

    void start() {
        auto started = guarded([&]() -> Result<void> {
            sampler_->start();
            return {};
        });
        if (!started) raise(started.error());
    }

    void stop() {
        if (is_in_forked_child()) return;
        const WithoutGil without_gil;
        sampler_->stop();
    }

    nb::object next_batch(double timeout_s) {
        if (is_in_forked_child()) return nb::none();
        constexpr double kLongest = 3600;
        constexpr auto kSlice = std::chrono::milliseconds(50);  // How late a signal may be handled.
        using Clock = std::chrono::steady_clock;
        const auto end =
            Clock::now() + std::chrono::duration_cast<Clock::duration>(
                               std::chrono::duration<double>(std::clamp(timeout_s, 0.0, kLongest)));
        for (;;) {
            const auto left = end - Clock::now();
            auto batch = [&] {
                const WithoutGil without_gil;
                return sampler_->next_batch(std::clamp<std::chrono::nanoseconds>(
                    left, std::chrono::nanoseconds(0), kSlice));
            }();
            if (batch) return nb::cast(PyBatch(std::move(*batch)));
            if (left <= kSlice || sampler_->end() != Sampler::End::kRunning) return nb::none();
            if (PyErr_CheckSignals() != 0) throw nb::python_error();
        }
    }

    void renew_tables() {
        if (!is_in_forked_child()) sampler_->renew_tables();
    }

    void set_max_cpu_share(double share) {
        if (!(share > 0) || share > 1) {
            raise(Error{.code = ErrorCode::kInvalidArgument,
                        .what = "the share of a CPU must be above 0 and at most 1"});
        }
        sampler_->set_max_cpu_share(share);
    }

    std::string python_version() const { return sampler_->python_version(); }

    nb::list other_interpreters() const {
        nb::list items;
        if (is_in_forked_child()) return items;
        for (const std::string& other : sampler_->other_runtimes()) items.append(to_str(other));
        return items;
    }

    const char* end_reason() const {
        if (is_in_forked_child()) return "stopped";
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
        if (is_in_forked_child()) return nb::none();
        const auto error = sampler_->error();
        return error ? to_str(error->message()) : nb::none();
    }

  private:
    struct Closing {
        DebugFileFetcher& fetcher;
        ~Closing() { fetcher.close(); }
    };

    /// A fork copies this object, but not the sampling thread.
    bool is_in_forked_child() const { return ::getpid() != owner_; }

    const pid_t owner_ = ::getpid();
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
        .def_prop_ro("wait", &PyBatch::wait)
        .def_prop_ro("cpu_ns", &PyBatch::cpu_ns)
        .def_prop_ro("runnable_ns", &PyBatch::runnable_ns)
        .def_prop_ro("late_cpu", &PyBatch::late_cpu)
        .def_prop_ro("strings", &PyBatch::strings)
        .def_prop_ro("frame_kind", &PyBatch::frame_kind)
        .def_prop_ro("frame_function", &PyBatch::frame_function)
        .def_prop_ro("frame_file", &PyBatch::frame_file)
        .def_prop_ro("frame_line", &PyBatch::frame_line)
        .def_prop_ro("frame_first_line", &PyBatch::frame_first_line)
        .def_prop_ro("frame_module", &PyBatch::frame_module)
        .def_prop_ro("frame_build_id", &PyBatch::frame_build_id)
        .def_prop_ro("frame_address", &PyBatch::frame_address)
        .def_prop_ro("frame_inline_depth", &PyBatch::frame_inline_depth)
        .def_prop_ro("frame_name_source", &PyBatch::frame_name_source)
        .def_prop_ro("stack_parent", &PyBatch::stack_parent)
        .def_prop_ro("stack_frame", &PyBatch::stack_frame)
        .def_prop_ro("wait_kind", &PyBatch::wait_kind)
        .def_prop_ro("wait_type", &PyBatch::wait_type)
        .def_prop_ro("wait_name", &PyBatch::wait_name)
        .def_prop_ro("wait_holder", &PyBatch::wait_holder)
        .def_prop_ro("threads", &PyBatch::threads)
        .def_prop_ro("stats", &PyBatch::stats)
        .def_prop_ro("finished", &PyBatch::finished)
        .def_prop_ro("ends_tables", &PyBatch::ends_tables);
}

/// A class with an attribute for each named value. They are plain numbers, which Python combines
/// much faster than members of its enums.
template <class Names>
void define_numbers(nb::module_& module, const char* name, const char* doc, const Names& names) {
    nb::dict attributes;
    attributes["__doc__"] = doc;
    attributes["__module__"] = module.attr("__name__");
    for (const auto& [key, value] : names) attributes[key] = static_cast<int>(value);
    const auto type = nb::borrow(reinterpret_cast<PyObject*>(&PyType_Type));
    module.attr(name) = type(name, nb::make_tuple(), attributes);
}

void define_constants(nb::module_& module) {
    define_numbers(module, "SampleState", "Bits of Batch.state.", model::kSampleStateNames);
    define_numbers(module, "FrameKind", "Values of Batch.frame_kind.", model::kFrameKindNames);
    define_numbers(module, "NameSource", "Values of Batch.frame_name_source.",
                   model::kNameSourceNames);
    nb::list words;
    for (const char* word : model::kWaitWords) words.append(word);
    module.attr("WAIT_KINDS") = nb::tuple(words);
    module.attr("NO_INTERPRETER") = model::kNoInterpreter;
    nb::dict merges;
    model::for_each_count(
        [&](const char* name, auto, model::CountMerge merge) { merges[name] = merge_name(merge); });
    module.attr("STATS_MERGES") = merges;
}

}  // namespace

void define_sampler(nb::module_& module) {
    // Threads that an exiting interpreter or a fork leaves behind keep their samplers for good.
    nb::set_leak_warnings(false);
    define_batch(module);
    nb::class_<PySampler>(module, "Sampler")
        .def(nb::init<int, double, std::optional<bool>, bool, const nb::object&, bool, bool, double,
                      double, std::optional<std::uint64_t>, const nb::object&>(),
             nb::arg("pid"), nb::kw_only(), nb::arg("rate_hz"), nb::arg("stop").none() = false,
             nb::arg("exhaustive") = false, nb::arg("native") = nb::none(),
             nb::arg("tasks") = false, nb::arg("raise_priority") = true,
             nb::arg("max_cpu_share") = 1.0, nb::arg("max_pause_share") = 1.0,
             nb::arg("max_memory") = nb::none(), nb::arg("cancelled") = nb::none())
        .def("start", &PySampler::start)
        .def("stop", &PySampler::stop)
        .def("next_batch", &PySampler::next_batch, nb::arg("timeout_s"))
        .def("renew_tables", &PySampler::renew_tables)
        .def("set_max_cpu_share", &PySampler::set_max_cpu_share, nb::arg("share"))
        .def_prop_ro("python_version", &PySampler::python_version)
        .def_prop_ro("other_interpreters", &PySampler::other_interpreters)
        .def_prop_ro("end_reason", &PySampler::end_reason)
        .def_prop_ro("error", &PySampler::error);
    define_constants(module);
}

}  // namespace pystack::bindings
