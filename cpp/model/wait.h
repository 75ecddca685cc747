#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/text.h"

namespace pystack::model {

/// What a thread waits for. The words are those of the JSON output.
#define PYSTACK_WAIT_KINDS(X)                                                             \
    X(kGil, "gil")                                                                        \
    X(kLock, "lock")   /* _thread.lock or RLock */                                        \
    X(kMutex, "mutex") /* a pthread mutex */                                              \
    X(kNativeCondition, "pthread_condition")                                              \
    X(kCondition, "condition")    /* threading.Condition */                               \
    X(kEvent, "event")            /* threading.Event */                                   \
    X(kSemaphore, "semaphore")    /* threading.Semaphore */                               \
    X(kBarrier, "barrier")        /* threading.Barrier */                                 \
    X(kQueueItem, "queue_item")   /* an item of a Queue or SimpleQueue of queue */        \
    X(kQueueSpace, "queue_space") /* room in a queue.Queue */                             \
    X(kQueueTasks, "queue_tasks") /* until all items of a queue.Queue are done */         \
    X(kWork, "work")              /* an idle worker of a ThreadPoolExecutor */            \
    X(kThread, "thread")          /* the end of a thread */                               \
    X(kFuture, "future")          /* the result of a concurrent.futures.Future */         \
    X(kImportLock, "import_lock") /* another thread that imports the module */            \
    X(kFutex, "futex")            /* something in memory that nothing else is known of */ \
    X(kTimer, "timer")            /* until a time has passed */                           \
    X(kPoll, "poll")              /* any of a set of files */                             \
    X(kSocket, "socket")                                                                  \
    X(kPipe, "pipe")                                                                      \
    X(kTerminal, "terminal")                                                              \
    X(kFile, "file")                                                                      \
    X(kDescriptor, "descriptor") /* a file of a kind that is not known */                 \
    X(kProcess, "process")       /* the end of a child */                                 \
    X(kFileLock, "file_lock")                                                             \
    X(kSignal, "signal")                                                                  \
    X(kKernel, "kernel") /* in uninterruptible sleep */                                   \
    /* Of tasks, in recordings only: */                                                   \
    X(kTask, "task")           /* the end of a task */                                    \
    X(kTasks, "tasks")         /* of gather(), wait() or a TaskGroup */                   \
    X(kAwaitable, "awaitable") /* one that nothing else is known of */

enum class WaitKind : std::uint8_t {
#define PYSTACK_WAIT_KIND(name, word) name,
    PYSTACK_WAIT_KINDS(PYSTACK_WAIT_KIND)
#undef PYSTACK_WAIT_KIND
};

constexpr const char* wait_word(WaitKind kind) {
    switch (kind) {
#define PYSTACK_WAIT_KIND(name, word) \
    case WaitKind::name:              \
        return word;
        PYSTACK_WAIT_KINDS(PYSTACK_WAIT_KIND)
#undef PYSTACK_WAIT_KIND
    }
    return "";
}

/// The word of each kind, by its number, for Python, which has no other list of them.
inline constexpr std::array kWaitWords{
#define PYSTACK_WAIT_KIND(name, word) word,
    PYSTACK_WAIT_KINDS(PYSTACK_WAIT_KIND)
#undef PYSTACK_WAIT_KIND
};

/// How it is known who can end a wait.
enum class HolderProof : std::uint8_t {
    kOwner,      ///< Recorded in what is waited for.
    kWithBlock,  ///< The thread, or the task, is inside of a with block of the lock.
    kThread,     ///< It is the thread that is waited for.
    kWorker,     ///< It computes the value of the future.
    kPool,       ///< It is a worker of the pool that will compute it, and occupied.
    kLoop,       ///< Its event loop completes the future.
};

/// A thread of the same process that can end a wait.
struct Holder {
    std::optional<std::int32_t> tid;
    std::optional<std::uint64_t> python_thread_id;
    HolderProof proof = HolderProof::kOwner;
    Text file;  ///< kWithBlock: where the with block is now.
    std::optional<std::int32_t> line;
    /// kWithBlock: the model::Task that is inside, suspended, if it is not the thread itself: its
    /// event loop runs in the thread.
    std::optional<std::uint64_t> task{};
};

/// A process, for a human.
struct ProcessName {
    std::int32_t pid = 0;
    std::string command;
};

/// What another process waits for, and which processes can end that.
struct PeerWait {
    ProcessName process;
    WaitKind kind = WaitKind::kProcess;
    std::vector<std::int32_t> enders;  ///< Nobody else can.
};

/// What is not known is absent.
struct Wait {
    WaitKind kind = WaitKind::kFutex;
    std::string call;                      ///< The system call that the thread is blocked in.
    std::optional<std::uint64_t> address;  ///< Of the object, or what the call was given.
    std::string type;                      ///< Of the object: "_thread.RLock".
    std::string name;  ///< Where the object is kept, "Account.lock"; the module of an import lock.
    bool is_timed = false;                   ///< It ends by itself at some time.
    std::optional<std::int64_t> left_ns;     ///< Until then.
    std::optional<std::int64_t> timeout_ns;  ///< The whole time, from the beginning of the call.
    std::optional<std::int32_t> fd;
    std::optional<std::uint64_t> count;  ///< Of the files of a set.
    std::string target;                  ///< What `fd` is: a path, the addresses of a socket.
    std::optional<std::int32_t> pid;     ///< Of the child, or the owner of a lock.
    std::string command;                 ///< Of that process.
    /// In uninterruptible sleep: the kernel's function, and those that called it, innermost first.
    std::string kernel_function;
    std::vector<std::string> kernel_stack;
    /// The processes that have the other end of a pipe or a connected unix socket, as far as they
    /// can be seen; maybe the process itself.
    std::vector<ProcessName> other_ends;
    /// What the child, or the one other process that has the other end, waits for itself without a
    /// timeout: what only this process can end, as far as can be seen.
    std::optional<WaitKind> peer_wait;
    /// The processes of which one must go on before this thread can: each waits for others of them
    /// or for this thread, which is the only one of its process.
    std::vector<PeerWait> process_circle;
    /// Of a future: the processes of the pool that computes it, or will.
    std::vector<ProcessName> pool_processes;
    /// The holders are all workers that the pool may have.
    bool pool_is_full = false;
    std::vector<Holder> holders;
};

}  // namespace pystack::model
