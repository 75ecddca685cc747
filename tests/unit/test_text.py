from typing import Any

from pystack.model import Snapshot
from pystack.render.source import SourceFile, SourceReader
from pystack.render.text import render_text
from pystack.render.text_options import TextOptions
from raw_snapshots import raw_frame, raw_gap, raw_native_frame, raw_snapshot, raw_thread


class FakeSources(SourceReader):
    """Source files out of a mapping; those named in `changed` are newer than the process."""

    def __init__(self, files: dict[str, str], changed: tuple[str, ...] = ()) -> None:
        super().__init__((), 0)
        for path, text in files.items():
            self._files[path] = SourceFile(text.encode(), changed=path in changed)


def render(*threads: dict[str, Any], sources: Any = None, **fields: Any) -> str:
    options = TextOptions(**{key: fields.pop(key) for key in TextOptions._fields if key in fields})
    snapshot = Snapshot.from_raw(raw_snapshot(*threads, **fields))
    return "\n".join(render_text(snapshot, options, sources))


def header(**fields: Any) -> str:
    return render(**fields).partition("\n\n")[0]


def head(*threads: dict[str, Any], **fields: Any) -> str:
    """The head of the first thread."""
    return render(*threads, **fields).split("\n\n")[1].partition("\n")[0]


def test_the_text_of_the_design() -> None:
    sources = FakeSources(
        {
            "/srv/app.py": "\n" * 40 + "        rows.sort(key=rank)[0]\n" + "\n" * 46 + "    go(a)",
            "/srv/rank.py": "\n" * 8 + "    return score(row) / row.weight\n",
        }
    )
    worker = raw_frame("_worker", 90, file="/lib/thread.py")
    text = render(
        raw_thread(
            4711,
            name="MainThread",
            is_main=True,
            gil="holds",
            run_state="R",
            frames=[
                raw_frame("main", 88, column=4, end_column=9),
                raw_frame("handle", 41, qualname="Server.handle", column=8, end_column=27),
                raw_frame("rank", 9, file="/srv/rank.py", column=11, end_column=34),
            ],
        ),
        raw_thread(4712, name="pool-0", gil="waits", frames=[worker]),
        raw_thread(4713, name="pool-1", gil="waits", frames=[worker]),
        sources=sources,
    )
    assert (
        text
        == """\
Process 4711: CPython 3.13.5, python app.py --port 8000, 3 threads, stopped for 0.4 ms

Thread 4711 "MainThread" [holds the GIL] (most recent call last):
  File "/srv/app.py", line 88, in main
    go(a)
  File "/srv/app.py", line 41, in Server.handle
    rows.sort(key=rank)[0]
    ^^^^^^^^^^^^^^^^^^^
  File "/srv/rank.py", line 9, in rank
    return score(row) / row.weight
           ^^^^^^^^^^^^^^^^^^^^^^^

Threads 4712, 4713 "pool-0", "pool-1" [waiting for the GIL, held by 4711 "MainThread"] \
(2 threads, most recent call last):
  File "/lib/thread.py", line 90, in _worker"""
    )


def test_header_variants() -> None:
    assert header(version="3.14.0", free_threaded=True, debug=True).startswith(
        "Process 4711: CPython 3.14.0 (free-threaded, debug), python app.py"
    )
    assert header(namespace_pid=7).startswith("Process 4711 (7 in its namespace): ")
    assert "1 thread, read without stopping it" in header(stopped=False, stop_ns=None)
    assert header(command=None).split(", ")[1] == "/usr/bin/python3.13"
    assert header(command=None, executable=None).split(", ")[1] == "command unknown"
    assert header(command=["python", "-c", "a\nb"]).split(", ")[1] == r"python -c 'a\nb'"
    long = header(command=["python", *["argument"] * 99])
    assert long.endswith(" ar..., 1 thread, stopped for 0.4 ms")
    assert "..." not in header(command=["python", *["argument"] * 99], full=True)


def test_durations() -> None:
    for ns, text in {
        40_000: "40 us",
        420_000: "0.4 ms",
        9_940_000: "9.9 ms",
        25_000_000: "25 ms",
        2_500_000_000: "2.5 s",
    }.items():
        assert header(stop_ns=ns).endswith(f"stopped for {text}")


def test_notes_on_the_process() -> None:
    stopped = header(was_stopped=True)
    assert stopped.endswith(
        "\nThe process was already stopped (for example by SIGSTOP) and stays stopped."
    )
    interpreters = [
        {"id": 0, "gc_collecting": True, "finalizing": False},
        {"id": 1, "gc_collecting": False, "finalizing": True},
    ]
    lines = header(interpreters=interpreters).splitlines()
    assert "1 thread, 2 interpreters, stopped" in lines[0]
    assert lines[1:] == [
        "Interpreter 0 is collecting garbage.",
        "Interpreter 1 is shutting down; threads may be missing.",
    ]
    assert render(problems=["a \x1b problem"]).endswith("\n\nWarning: a \\x1b problem")


def test_states() -> None:
    def states(**fields: Any) -> str:
        return head(raw_thread(1, name=None, kernel_name=None, **fields))

    assert states(gil=None) == "Thread 1 [sleeping] (most recent call last):"
    assert states(run_state=None) == "Thread 1 (most recent call last):"
    assert "[running]" in states(run_state="R")
    assert "[in uninterruptible sleep]" in states(run_state="D")
    assert "[state ?]" in states(run_state="?")
    assert "[dropping the GIL, running]" in states(gil="dropping", run_state="R")
    assert "[holds the GIL, sleeping]" in states(gil="holds")
    assert "[waiting for the GIL]" in states(gil="waits")
    assert "[holds the GIL, collecting garbage, raising E\\x1b, handling KeyError]" in states(
        gil="holds", run_state="R", gc_collecting=True, raising="E\x1b", handling="KeyError"
    )
    stopped = head(raw_thread(1, run_state="T"), was_stopped=True)
    assert stopped == 'Thread 1 "thread-1" (most recent call last):'


def test_interpreters_are_named_where_there_are_several() -> None:
    interpreters = [{"id": i, "gc_collecting": None, "finalizing": None} for i in (0, 1)]
    text = render(
        raw_thread(1, gil="holds", run_state="R"),
        raw_thread(2, interpreter_id=1, gil="waits"),
        interpreters=interpreters,
    )
    assert "[interpreter 0, holds the GIL]" in text
    # The holder of another interpreter's GIL is not who it waits for.
    assert "[interpreter 1, waiting for the GIL]" in text


def test_kernel_names_where_they_say_more() -> None:
    main = raw_thread(1, name="MainThread", is_main=True, kernel_name="gunicorn: maste")
    assert head(main).startswith('Thread 1 "MainThread" (kernel name "gunicorn: maste") [')
    worker = raw_thread(2, kernel_name="gunicorn: maste")
    assert 'Thread 2 "thread-2" [' in render(main, worker)  # as the main thread's
    for name, kernel_name in [
        ("pool-0", "python"),  # of the program
        ("pool-0", "python3.13"),
        ("a-very-long-thread-name", "a-very-long-thr"),
        ("pool-0", None),
    ]:
        thread = raw_thread(1, name=name, kernel_name=kernel_name)
        assert head(thread).startswith(f'Thread 1 "{name}" [')
    assert head(raw_thread(1, name=None, kernel_name="grpc")).startswith('Thread 1 "grpc" [')
    assert head(raw_thread(1, namespace_tid=9)).startswith("Thread 1 (9 in its namespace) ")
    assert head(raw_thread(None)).startswith("Thread without an OS thread ")


def test_groups_can_be_long_or_unwanted() -> None:
    threads = [raw_thread(tid) for tid in range(1, 21)]
    first = head(*threads)
    assert first.startswith("Threads 1, 2, 3, 4, 5, 6, 7, 8, 12 more ")
    assert first.endswith("(20 threads, most recent call last):")
    assert '"thread-8" [sleeping]' in first
    assert head(*threads, full=True).startswith("Threads 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ")
    assert render(*threads, group=False).count("\nThread ") == 20


def test_stacks_without_frames_and_cut_stacks() -> None:
    def stack(**fields: Any) -> str:
        return render(raw_thread(**fields)).split("\n\n")[1].partition("\n")[2]

    assert stack(frames=[]) == "  (no Python frames)"
    assert stack(frames=[], stack_end="no_python") == (
        "  (no Python frames: the thread is not running Python code)"
    )
    cut = stack(stack_end="torn", stack_problem="could not be proved consistent after 9 attempts")
    assert cut == (
        "  [stack truncated here: could not be proved consistent after 9 attempts]\n"
        '  File "/srv/app.py", line 3, in work'
    )
    for end in ("unreadable", "depth_limit", "torn"):
        assert stack(stack_end=end).startswith("  [stack truncated here: ")


def test_recursion_is_folded() -> None:
    frames = [raw_frame("main", 1), *[raw_frame("f", 2)] * 100_000]
    lines = render(raw_thread(frames=frames)).splitlines()
    assert lines[-4:] == [
        *['  File "/srv/app.py", line 2, in f'] * 3,
        "  [Previous line repeated 99997 more times]",
    ]
    rounds = [raw_frame("f", 2), raw_frame("g", 3)] * 4
    assert render(raw_thread(frames=rounds)).endswith(
        'in f\n  File "/srv/app.py", line 3, in g\n  [Previous 2 frames repeated 3 more times]'
    )
    assert render(raw_thread(frames=rounds), full=True).count("in f") == 4
    once = render(raw_thread(frames=[raw_frame("f", 2)] * 4))
    assert once.endswith("[Previous line repeated 1 more time]")


def test_expressions_among_wide_characters() -> None:
    text = "    値 = 計算('é', x)"
    column = len("    値 = ".encode())
    end = len("    値 = 計算('é', x)".encode())
    frame = raw_frame(line=1, column=column, end_column=end)
    lines = render(raw_thread(frames=[frame]), sources=FakeSources({"/srv/app.py": text}))
    assert lines.splitlines()[-2:] == ["    値 = 計算('é', x)", "         ^^^^^^^^^^^^"]


def test_expressions_of_several_lines() -> None:
    frame = raw_frame(line=1, column=4, end_line=3, end_column=1)
    sources = FakeSources({"/srv/app.py": "x = f(\n  a\n)"})
    assert render(raw_thread(frames=[frame]), sources=sources).splitlines()[-2:] == [
        "    x = f(",
        "        ^^",
    ]


def test_changed_source_is_shown_with_a_warning_and_without_mark() -> None:
    frame = raw_frame(line=1, column=4, end_column=7)
    sources = FakeSources({"/srv/app.py": "x = f() + 1"}, changed=("/srv/app.py",))
    text = render(raw_thread(frames=[frame, raw_frame("g", 1)]), sources=sources)
    assert text.count("source changed since the process started") == 1
    assert "^" not in text
    assert text.count("x = f() + 1") == 2
    # Also where the new one is too short to have the line.
    text = render(raw_thread(frames=[raw_frame(line=9)]), sources=sources)
    assert text.count("source changed since the process started") == 1


def test_lines_that_are_not_there() -> None:
    sources = FakeSources({"/srv/app.py": "x"})
    assert render(raw_thread(frames=[raw_frame(line=9)]), sources=sources).endswith("in work")
    text = render(raw_thread(frames=[raw_frame(line=None)]), sources=sources)
    assert text.endswith('File "/srv/app.py", line ?, in work')


def native(**fields: Any) -> str:
    return render(raw_thread(frames=[raw_native_frame(**fields)])).rpartition("\n")[2]


def test_native_frames() -> None:
    assert native() == "  C compute, src/compute.c:7 (libcompute.so.1)"
    assert native(python_name="c.compute") == "  C c.compute, src/compute.c:7 (libcompute.so.1)"
    assert native(is_inlined=True) == "  C compute (inlined), src/compute.c:7 (libcompute.so.1)"
    assert native(file=None, line=None) == "  C compute (libcompute.so.1)"
    assert native(line=None) == "  C compute, src/compute.c (libcompute.so.1)"
    assert native(file="./build/../a.c", line=1) == "  C compute, a.c:1 (libcompute.so.1)"
    assert native(is_guess=True).endswith(" (libcompute.so.1) [guessed]")
    nameless = {"file": None, "line": None, "name_source": "none"}
    assert native(function="libfoo.so+0x12", **nameless) == "  C libfoo.so+0x12"
    assert native(function="0x7f12", module=None, **nameless) == "  C 0x7f12"


def test_signatures() -> None:
    frame = raw_native_frame("apply", signature="void ns::apply<int>(int, char const*)")
    assert "  C apply, " in render(raw_thread(frames=[frame]))
    text = render(raw_thread(frames=[frame]), signatures=True)
    assert "  C void ns::apply<int>(int, char const*), src" in text


def test_plumbing_is_hidden() -> None:
    frames = [raw_native_frame("main", is_plumbing=True), raw_frame(), raw_native_frame("f")]
    assert "main" not in render(raw_thread(frames=frames), plumbing=False)
    assert "  C main, " in render(raw_thread(frames=frames), plumbing=True)


def test_gaps() -> None:
    text = render(raw_thread(frames=[raw_gap("the stack was cut"), raw_frame()]))
    assert "\n  [native frames are missing here: the stack was cut]\n  File " in text


def test_threads_that_python_does_not_know() -> None:
    unknown = {"name": None, "kernel_name": "worker", "stack_end": "no_python", "gil": None}
    unknown |= {"python_thread_id": None, "interpreter_id": None}
    text = render(raw_thread(7, frames=[raw_native_frame("loop")], **unknown))
    assert 'Thread 7 "worker" [not a Python thread, sleeping] (most' in text
    assert text.endswith(":\n  C loop, src/compute.c:7 (libcompute.so.1)")
    only_start = [raw_native_frame("clone3", is_plumbing=True)]
    text = render(raw_thread(7, frames=only_start, **unknown))
    assert text.endswith("\n  (only the frames that every thread starts with)")


def test_frames_of_another_interpreter_say_so() -> None:
    text = render(raw_thread(frames=[raw_frame(interpreter_id=2)]))
    assert text.endswith("line 3, in work (interpreter 2)")


def test_everything_of_the_target_is_escaped() -> None:
    evil = "\x1b[2J\u202e"
    text = render(
        raw_thread(
            name=evil,
            kernel_name=evil,
            raising=evil,
            handling=evil,
            stack_end="torn",
            stack_problem=evil,
            frames=[
                raw_frame(evil, 1, file=evil),
                raw_native_frame(evil, file=evil, module=evil),
                raw_gap(evil),
            ],
        ),
        raw_thread(2, name=None, kernel_name=evil, stack_end="no_python", stack_problem=evil),
        sources=FakeSources({evil: f"x = '{evil}'"}),
        executable=evil,
        command=[evil],
        version=evil,
        problems=[evil],
    )
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.count("\\x1b[2J\\u202e") >= 15


def test_colour_adds_only_colour() -> None:
    import re

    frame = raw_frame(line=1, column=4, end_column=7)
    sources = FakeSources({"/srv/app.py": "x = f() + 1"})
    thread = raw_thread(gil="holds", raising="E", stack_end="torn", frames=[frame])
    plain = render(thread, sources=sources)
    coloured = render(thread, sources=sources, color=True)
    assert "x = \x1b[1;31mf()\x1b[0m + 1" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain
