"""What a thread waits for: a part of the result of a dump (`pystack.model`)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple

    from pystack._core import RawWait
    from pystack.literals import HolderProof as HolderProof
    from pystack.literals import WaitKind as WaitKind
else:
    from pystack.named_tuple import NamedTuple

    def __getattr__(name: str) -> object:
        """The types of words, for those who ask."""
        # Import statements ask for `__path__`.
        if name not in ("HolderProof", "WaitKind"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from pystack import literals

        return getattr(literals, name)


class Holder(NamedTuple):
    """A thread of the same process that can end a wait."""

    tid: int | None
    python_thread_id: int | None
    #: "owner": recorded in what is waited for. "with_block": the thread, or the task, is inside of a with block
    #: of the lock. "thread": it is the thread whose end is waited for. "worker": it computes the result
    #: of the future. "pool": it is a worker of the thread pool in whose queue the future is; one of
    #: them will compute it. "event_loop": the event loop that runs in it completes the future.
    proof: HolderProof
    #: For "with_block": the line that the block executes.
    file: str | None
    line: int | None
    #: `Task.id` of the suspended task that is inside of the with block, if it is not the thread itself: the
    #: event loop of the task runs in the thread.
    task: int | None = None


class ProcessName(NamedTuple):
    """Another process."""

    pid: int
    command: str | None


class PeerWait(NamedTuple):
    """What another process waits for, without a timeout: it has one thread."""

    pid: int
    command: str | None
    #: "pipe" or "socket": the other end of one. "process": the end of a child.
    kind: WaitKind
    #: The pids of the processes that can end it; nobody else can.
    enders: tuple[int, ...]


class Wait(NamedTuple):
    """What a thread waits for. None means that it is unknown, or that this kind does not have it."""

    kind: WaitKind
    #: The system call that the thread is blocked in.
    call: str | None
    #: The address of the object, or of the futex.
    address: int | None
    #: The class of the object, with its module: "_thread.RLock".
    type: str | None
    #: Where the object is kept: "Account.lock", by the class of the instance, or the name of a
    #: variable. The name of the thread, or of the module of an import lock.
    name: str | None
    #: Whether the wait ends by itself after some time.
    is_timed: bool
    #: How long it lasts from the moment of the reading, or from its beginning.
    left_ns: int | None
    timeout_ns: int | None
    fd: int | None
    #: The number of files of which any is waited for.
    file_count: int | None
    #: What `fd` is: a path, or the addresses and the state of a socket.
    target: str | None
    #: The child, or the owner of a file lock.
    pid: int | None
    command: str | None
    #: In uninterruptible sleep: the function of the kernel. And, as root, the functions on the
    #: kernel's stack, the innermost first.
    kernel_function: str | None
    kernel_stack: tuple[str, ...]
    #: The processes that have the other end of a pipe or a connected unix socket, as far as they
    #: can be seen from here: at most 8, maybe the process itself.
    other_ends: tuple[ProcessName, ...]
    #: Of a future: the processes of the pool that computes it, or will. Which of them does is unknown.
    pool_processes: tuple[ProcessName, ...]
    #: What the child, or the one other process that has the other end, waits for itself: what only
    #: this process can end.
    peer_wait: WaitKind | None
    #: The other processes of which one must go on before this thread can: each waits for others of
    #: them, or for this process, in which nothing else runs.
    process_circle: tuple[PeerWait, ...]
    #: Who can end the wait, as far as it is proved.
    holders: tuple[Holder, ...]

    @classmethod
    def from_raw(cls, raw: RawWait) -> Wait:
        """Converts from the mapping of the C++ core."""
        fields: dict[str, Any] = dict(raw)
        fields["kernel_stack"] = tuple(raw["kernel_stack"])
        for field in ("other_ends", "pool_processes"):
            fields[field] = tuple([ProcessName(**process) for process in fields[field]])
        fields["process_circle"] = tuple(
            [
                PeerWait(peer["pid"], peer["command"], peer["kind"], tuple(peer["enders"]))
                for peer in raw["process_circle"]
            ]
        )
        fields["holders"] = tuple([Holder(**holder) for holder in raw["holders"]])
        return cls(**fields)

    def to_json_dict(self) -> dict[str, Any]:
        """The object in the JSON output."""
        return {
            **self._asdict(),
            "kernel_stack": list(self.kernel_stack),
            "other_ends": [process._asdict() for process in self.other_ends],
            "pool_processes": [process._asdict() for process in self.pool_processes],
            "process_circle": [
                {**peer._asdict(), "enders": list(peer.enders)} for peer in self.process_circle
            ],
            "holders": [holder._asdict() for holder in self.holders],
        }
