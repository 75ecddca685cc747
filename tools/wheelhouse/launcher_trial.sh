#!/bin/sh
# Gives the launcher its capability and uses it as a user who owns nothing. Run by places.py, after trial.sh in the
# same root, where all folders above belong to root:
#
#     sh launcher_trial.sh PYTHON FOLDER
set -eu
python=$1
cd "$2/work"
launcher=$PWD/environment/bin/pystack-ptrace
pystack=$PWD/environment/bin/pystack
nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"

fail() {
    echo "launcher: $1"
    cat output
    exit 1
}

# shellcheck disable=SC2086  # The words of $nobody are words.
as_nobody() { $nobody "$@" >output 2>&1; }

$python target.py >ready &
target=$!
trap 'kill $target 2>/dev/null || true' EXIT
read -r _ <ready

as_nobody "$launcher" dump $target && fail "works without the capability"
grep -q setcap output || fail "does not say how to grant the capability"
# What `setcap cap_sys_ptrace=ep` writes; setcap is in a package that is not everywhere.
$python - "$launcher" <<'END'
import os, struct, sys
os.setxattr(sys.argv[1], "security.capability", struct.pack("<5I", 0x02000001, 1 << 19, 0, 0, 0))
END
as_nobody "$pystack" dump $target && fail "the plain command reads a process of root"
as_nobody "$launcher" dump $target || fail "dump failed"
grep -q 'in innermost' output || fail "no stack"

# What it starts has no capability.
as_nobody "$launcher" record -o /dev/null -f json -- "$python" -c "print([l for l in open('/proc/self/status') if l[:3] == 'Cap'])" ||
    true
grep -q 'CapPrm:\\t0000000000000000' output || fail "a command that it starts has capabilities"
grep -q 'CapAmb:\\t0000000000000000' output || fail "a command that it starts has capabilities"

# Nothing of the caller's is run.
mkdir -m 777 theirs
cat >theirs/sitecustomize.py <<'END'
print("code of the caller")
END
cp theirs/sitecustomize.py theirs/pystack.py
for variable in PYTHONPATH=$PWD/theirs PYTHONHOME=$PWD/theirs LD_PRELOAD=$PWD/theirs/none.so PYTHONSTARTUP=$PWD/theirs/pystack.py; do
    as_nobody env "$variable" "$launcher" dump $target || fail "does not run with $variable"
    # The dynamic linker complains of a library that it cannot load.
    ! grep -q 'code of the caller\|none.so' output || fail "runs code from $variable"
done

# A hard link, and an environment that somebody else can change.
ln "$launcher" theirs/pystack-ptrace
cp /bin/sh theirs/python
as_nobody "$PWD/theirs/pystack-ptrace" --version && fail "runs what is beside a hard link"
grep -q 'can be changed by others' output || fail "does not say why"
chown 65534 environment/bin
as_nobody "$launcher" --version && fail "runs an interpreter that its caller can replace"
chown 0 environment/bin
echo "launcher: all as it should be"
