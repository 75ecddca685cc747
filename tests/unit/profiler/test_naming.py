from __future__ import annotations

import pytest

from profiler_fakes import MS, BatchWriter, Frame, recording_of
from pystack_profiler.naming import process_name, recording_title, thread_title
from pystack_profiler.profile import Recording
from pystack_profiler.track import ThreadIdentity


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("python app.py --port 80", "app.py"),
        ("/usr/bin/python3.13 -u -X dev /srv/app.py", "app.py"),
        ("python -m http.server 80", "http.server"),
        ("python3 -c pass", "python3 -c"),
        ("python3", "python3"),
        ("/usr/sbin/uwsgi --ini x.ini", "uwsgi"),
        ("", "process"),
        ("python -c from_x --multiprocessing-fork", "multiprocessing worker"),
        ("python app.py --multiprocessing-fork", "app.py"),
        ("python -mhttp.server 80", "http.server"),
        ("python -uc a/b", "python -c"),
        ("python -Im http.server 80", "http.server"),
        ("python -uX dev app.py", "app.py"),
        ("python -Xdev -Wignore app.py", "app.py"),
        ("python --check-hash-based-pycs always app.py", "app.py"),
        ("python -- -app.py", "-app.py"),
        ("python - /etc/motd", "python"),
        ("python /srv/app/", "app"),
        ("python /", "/"),
        ("/srv/app --multiprocessing-fork tracker_fd=5", "multiprocessing worker"),
    ],
)
def test_a_process_is_called_after_what_runs_in_it(command: str, name: str) -> None:
    assert process_name(tuple(command.split())) == name


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("a/b/c 24177", "a/b/c 24177"),
        ("gunicorn: worker [shop/web]", "gunicorn: worker [shop/web]"),
        ("/opt/venv/bin/celery worker /tmp/x", "celery worker /tmp/x"),
        ("./run shop/web", "run shop/web"),
        ("x " * 500, ("x " * 40)[:79] + "…"),
        ("/usr/bin/uwsgi", "uwsgi"),
    ],
)
def test_a_title_is_not_a_path(title: str, name: str) -> None:
    assert process_name((title,)) == name


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("from multiprocessing.resource_tracker import main;main(5)", "resource tracker"),
        ("from multiprocessing.forkserver import main; main(1)", "multiprocessing forkserver"),
        ("print(1)", "python -c"),
    ],
)
def test_helpers_of_multiprocessing(code: str, name: str) -> None:
    assert process_name(("/usr/bin/python", "-s", "-c", code)) == name


def test_hostile_names_are_escaped() -> None:
    assert process_name(("python", "a\x1b[2J.py")) == "a\\x1b[2J.py"
    assert thread_title(ThreadIdentity(1, 2, 0, "x\ny")) == "x\\ny 2"
    assert "\x1b" not in recording_title(Recording(pid=1, command=("a\x1b",)))


def test_threads() -> None:
    assert thread_title(ThreadIdentity(7, 8, 0, "worker")) == "worker 8"
    assert thread_title(ThreadIdentity(7, 8, 2, "")) == "8 (interpreter 2)"
    assert thread_title(ThreadIdentity(7, 0, 0, "")) == "7"


def test_recordings() -> None:
    writers = [BatchWriter(), BatchWriter(), BatchWriter()]
    for writer in writers:
        writer.sample(writer.thread(1), MS, MS, [Frame("f")])
    title = "python app.py (pid 100, CPython 3.13.5"
    assert recording_title(recording_of(writers[0])) == f"{title})"
    assert recording_title(recording_of(*writers)) == f"{title}, 2 more processes)"
    assert len(recording_title(Recording(pid=1, command=("x" * 500,)))) < 100


def test_long_commands_lose_the_folders_of_program_and_script() -> None:
    program = "/opt/" + "environments/" * 6 + "bin/python3"
    for command, title in (
        ((program, "-u", "/srv/app/main.py", "/data/in"), "python3 -u main.py /data/in"),
        ((program, "-m", "app", "/data/in/"), "python3 -m app /data/in/"),
        (("/usr/bin/python3", "/srv/main.py"), "/usr/bin/python3 /srv/main.py"),
    ):
        assert recording_title(Recording(pid=1, command=command)) == f"{title} (pid 1)"
