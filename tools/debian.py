"""Packages, sources and roots of Debian, from the mirror that this machine's apt uses."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tools.steps import StepError, Steps, output

HOST_PACKAGES_FOR_ROOT = ("debootstrap", "debian-archive-keyring")

# Which of the host's apt settings a root needs to reach the same mirror in the same way.
APT_SETTINGS = (
    "http::",
    "https::",
    "Check-Date",
    "Check-Valid-Until",
    "ForceIPv",
    "Languages",
    "Retries",
)

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
CERTIFICATES = Path("etc/ssl/certs/ca-certificates.crt")


def install_on_host(steps: Steps, packages: tuple[str, ...]) -> None:
    def installed(package: str) -> bool:
        query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
        done = subprocess.run(
            query, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        return done.stdout == "installed"

    missing = [package for package in packages if not installed(package)]
    if missing:
        steps.say(f"installing on this machine: {' '.join(missing)}")
        steps.run("apt-get", "install", "--yes", "--no-install-recommends", *missing)


def debian_mirror() -> str:
    """The mirror that this machine's apt uses for Debian, so that no address is needed here."""
    fields = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"
    targets = output("apt-get", "indextargets", "--format", fields, "Created-By: Packages")
    for line in targets.splitlines():
        origin, label, address = line.split("|", 2)
        if origin == label == "Debian":
            return address
    raise StepError(
        "apt on this machine knows no Debian mirror (is this Debian, and did apt-get update work?)"
    )


def in_root(root: Path, *command: str) -> list[str]:
    return [
        "sh",
        "-c",
        'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"',
        str(root),
        *command,
    ]


def copy_host_settings(root: Path) -> None:
    for name in (Path("etc/resolv.conf"), Path("etc/hosts"), CERTIFICATES):
        if (Path("/") / name).exists():
            shutil.copyfile(Path("/") / name, root / name)
    wanted = tuple(f"Acquire::{name}" for name in APT_SETTINGS)
    settings = output("apt-config", "dump").splitlines(keepends=True)
    kept = "".join(line for line in settings if line.startswith(wanted))
    (root / "etc/apt/apt.conf.d/99host").write_text(kept)


def download_source(
    steps: Steps, work: Path, package: str, suites: tuple[str, ...]
) -> tuple[str, Path]:
    """The suite that has the source package, and the folder of its files, below `work`.

    apt gets sources of its own; those of the machine stay as they are.
    """
    mirror = debian_mirror()
    for suite in suites:
        place = work / f"apt-{suite}"
        for name in ("lists/partial", "cache/archives/partial", "download"):
            (place / name).mkdir(parents=True)
        sources = place / "suite.list"
        sources.write_text(f"deb-src [signed-by={KEYRING}] {mirror} {suite} main\n")
        options = {
            "Dir::Etc::SourceList": sources,
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": place / "lists",
            "Dir::Cache": place / "cache",
            # apt's own user may not write into a folder of root.
            "APT::Sandbox::User": "root",
        }
        apt_get = ["apt-get", *(f"--option={key}={value}" for key, value in options.items())]
        try:
            steps.run(*apt_get, "update")
            steps.run(*apt_get, "source", "--download-only", package, cwd=place / "download")
        except StepError:
            steps.say(f"no source of {package} to be had from {suite}")
            continue
        return suite, place / "download"
    raise StepError(f"no source of {package} in {', '.join(suites)}")


def upstream_archive(folder: Path) -> Path:
    """The upstream part of a source package. Its signature (.asc) can lie beside it."""
    files = folder.glob("*.orig.tar.*")
    return next(file for file in files if file.suffix != ".asc")


def make_root(steps: Steps, root: Path, suite: str, packages: tuple[str, ...]) -> None:
    """A minimal Debian in an empty folder."""
    install_on_host(steps, HOST_PACKAGES_FOR_ROOT)
    steps.say(f"debootstrap of {suite}")
    options = ("--variant=minbase", f"--include={','.join(packages)}")
    steps.run("debootstrap", *options, suite, root, debian_mirror())
    copy_host_settings(root)
