#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/pace.h"
#include "base/work_limits.h"
#include "cpython/frames/code_reader.h"
#include "cpython/frames/stack_reader.h"
#include "cpython/runtime/cached_interpreters.h"
#include "cpython/runtime/runtime_locator.h"
#include "sampling/code_validator.h"
#include "sampling/frame_interner.h"
#include "sampling/sampler_options.h"
#include "sampling/task_names.h"
#include "target/target.h"

namespace pystack::sampling {

/// What reads the program that the target runs. All but the tables are made anew when it executes
/// another one: references are good until use() or renew_codes().
class ProgramReaders {
  public:
    /// `target` must outlive it.
    ProgramReaders(const target::Target& target, const SamplerOptions& options);

    /// From now on the target runs this one.
    void use(cpython::Runtime runtime);

    /// Code objects are kept after they died. A target that makes new ones for ever must not fill
    /// our memory with them: when there are many, all are forgotten, and true is returned. What
    /// points to one must be dropped then.
    bool renew_codes(std::uint64_t now_ns);

    /// Begins empty tables with all of their bytes. What points to rows must be dropped then.
    void renew_tables();

    /// Looks for asyncio, which programs import when they like, less and less often. True when it
    /// was found just now: from then on thread states are read up to the running task, so that no
    /// ReadPlan is of use any more.
    bool find_tasks(std::uint64_t now_ns);

    /// Looks for other interpreters in the process (`cpython::other_runtimes`), which programs load
    /// when they like, less and less often.
    void find_others(std::uint64_t now_ns);

    const target::Target& target() const { return target_; }
    const cpython::Runtime& runtime() const { return runtime_; }
    bool stops() const { return stops_; }  ///< Threads stand still while they are read.
    cpython::StackReader& stacks() const { return *stacks_; }
    cpython::CodeReader& codes() const { return *codes_; }
    cpython::CachedInterpreters& interpreters() const { return *interpreters_; }
    FrameInterner& interner() const { return *interner_; }
    CodeValidator& code_validator() const { return *code_validator_; }
    /// Null until asyncio was found.
    TaskNames* tasks() const { return tasks_.get(); }

    const std::vector<std::string>& others() const { return others_; }

    /// What the interpreters, as they were read last, say of the GIL: model::SampleState bits.
    std::uint8_t gil_bits(const cpython::ThreadState& state) const;

    /// Of what is dropped by renew_tables() only; part of the recording's.
    const std::shared_ptr<WorkLimits>& table_limits() const { return table_limits_; }

  private:
    void use_new_codes();

    const target::Target& target_;
    const std::shared_ptr<WorkLimits> limits_;
    const std::size_t max_depth_;
    const bool stops_;
    std::shared_ptr<WorkLimits> table_limits_;
    cpython::Runtime runtime_;
    std::unique_ptr<cpython::StackReader> stacks_;
    std::unique_ptr<cpython::CodeReader> codes_;
    std::unique_ptr<cpython::CachedInterpreters> interpreters_;
    std::unique_ptr<FrameInterner> interner_;
    std::unique_ptr<CodeValidator> code_validator_;
    std::unique_ptr<TaskNames> tasks_;
    std::uint64_t renew_codes_at_ns_ = 0;
    // When to look for asyncio again, and how long to wait after that.
    std::uint64_t find_tasks_at_ns_ = 0;
    std::uint64_t find_tasks_pause_ns_ = 0;
    Pace find_tasks_pace_;
    std::vector<std::string> others_;
    std::uint64_t find_others_pause_ns_ = 0;
    std::uint64_t find_others_at_ns_ = 0;
    Pace find_others_pace_;
};

}  // namespace pystack::sampling
