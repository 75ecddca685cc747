#!/bin/sh
# Installs pystack in a new environment, without a compiler, and uses it. Run by places.py, as
#
#     sh trial.sh PYTHON FOLDER [OTHER_PYTHON]
#
# where FOLDER has the wheels and an empty folder `work`. Each command must find what the target does. Targets are
# run by PYTHON, then by OTHER_PYTHON.
set -eu
python=$1 wheels=$2 other=${3-}
cd "$wheels/work"

$python - <<'END' >started
import time
print(time.monotonic())
END
$python -m venv environment
environment/bin/pip --isolated install --quiet --disable-pip-version-check --no-index --find-links "$wheels" pystack-profiler
pystack=$PWD/environment/bin/pystack

cat >target.py <<'END'
import time
def innermost():
    print("ready", flush=True)
    time.sleep(600)
innermost()
END
mkfifo ready
# shellcheck disable=SC3045  # The shells of Debian and Alpine have it.
ulimit -c unlimited
target=
trap '[ -z "$target" ] || kill $target 2>/dev/null || true' EXIT

start() {
    "$1" target.py >ready &
    target=$!
    read -r _ <ready
}

expect() {
    words=$1
    shift
    "$@" >output 2>&1 || { echo "failed: $*" && cat output && exit 1; }
    grep -q "$words" output || { echo "no '$words' in the output of: $*" && cat output && exit 1; }
}

use_on_target() {
    expect 'in innermost' "$pystack" dump $target
    expect 'time.sleep' "$pystack" dump --native $target
    expect 'innermost' "$pystack" dump --json --locals $target
    expect 'samples' "$pystack" record -d 1 -o flame.html $target
    grep -q innermost flame.html
    expect 'samples' "$pystack" record -d 1 --native -o native.json $target
    grep -q innermost native.json

    kill -ABRT $target
    wait $target 2>/dev/null || true
    if [ "$(cat /proc/sys/kernel/core_pattern)" = core ]; then
        core=$(echo core*)
        expect 'in innermost' "$pystack" core "$core"
        expect 'SIGABRT' "$pystack" core --native "$core"
        rm "$core"
    else
        echo "no core: /proc/sys/kernel/core_pattern is not 'core'"
    fi
}

start "$python"
expect 'in innermost' "$pystack" dump $target
$python - <<'END'
import time
print(f"installed and dumped in {time.monotonic() - float(open('started').read()):.1f} s")
END
expect 'This machine' "$pystack" doctor
test -s environment/share/man/man1/pystack-dump.1
test -s environment/share/bash-completion/completions/pystack
test -x environment/bin/pystack-ptrace
use_on_target
if [ -n "$other" ]; then
    start "$other"
    use_on_target
    echo "read targets of $other as well"
fi
