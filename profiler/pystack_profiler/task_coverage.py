"""How much of the time the samples of tasks speak for. Tasks are sampled together, so the row with most samples tells."""

from __future__ import annotations

from .profile import Profile, Recording


def samples_of_tasks(profile: Profile) -> int:
    """The number of instants at which tasks were sampled, of a recording in the mode "tasks"."""
    return max((sum(run.samples for run in track.runs()) for track in profile.tracks), default=0)


def covered_ns(profile: Profile) -> int:
    """The time of the recording that samples of its tasks speak for; time without any task does not count."""
    return max(
        (
            sum(run.weight_ns for run in track.runs() if run.samples)
            for track in profile.task_tracks
        ),
        default=0,
    )


def task_coverage(recording: Recording) -> float:
    """The share of the time of the processes that had tasks; 0 without tasks."""
    with_tasks = [profile for profile in recording.profiles if profile.task_tracks]
    whole_ns = sum(profile.end_ns - profile.start_ns for profile in with_tasks)
    return min(1.0, sum(map(covered_ns, with_tasks)) / whole_ns) if whole_ns else 0.0
