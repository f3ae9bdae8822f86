#!/usr/bin/env bash
# Does the suite pass where nothing is as on a developer's machine: without a network, as nobody, in three
# time zones, and with every warning an error?
#
#   tests/environments.sh                  the quick part of the suite, in each of three places
#   tests/environments.sh --short          a minute of it, for CI
#   tests/environments.sh tests/test_x.py  what pytest is to run instead; "tests" is the whole suite
#
# Each place has a time zone of its own, so that three runs are enough for six questions.
# PYTHON names the interpreter (default: .venv/bin/python). No network and nobody need root, or a kernel
# that lets users make namespaces; where neither is there, that is an error, not a skip.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=$(realpath -s "${PYTHON:-.venv/bin/python}")
QUICK=(tests/pipeline/test_inputs.py tests/pipeline/test_limits.py tests/pipeline/test_text.py tests/pipeline/test_secrets.py
    tests/pipeline/test_releases.py tests/pipeline/test_fullprocess.py tests/pipeline/test_exit_codes.py tests/pipeline/test_cron.py
    tests/pipeline/test_delivery.py tests/unit/history/test_trends.py tests/unit/runtime/test_dependencies.py tests/api/test_apicalls.py
    tests/pipeline/test_whole_story.py)
SHORT=(tests/pipeline/test_whole_story.py tests/pipeline/test_exit_codes.py tests/pipeline/test_text.py)
if [ "${1:-}" = --short ]; then
    asked=("${SHORT[@]}")
elif [ $# -gt 0 ]; then
    asked=("$@")
else
    asked=("${QUICK[@]}")
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
run=(-m pytest -p no:cacheprovider -n auto --dist loadfile "${asked[@]}")
failed=()

try() { # NAME COMMAND...: run one environment, keep its output, say how it ended
    local name=$1
    shift
    if "$@" > "$work/log" 2>&1; then
        echo "$name: $(tail -n 1 "$work/log")"
    else
        cat "$work/log"
        echo "$name: FAILED"
        failed+=("$name")
    fi
}

# Rules written out, so that no list of zones need be installed: half an hour and summer time, a quarter
# of an hour, and a day ahead.
ZONES=('NST3:30NDT,M3.2.0,M11.1.0' '<+0545>-5:45' '<+14>-14')

# A network namespace of its own: nothing but loopback, which must be brought up first.
LOOPBACK='import fcntl, os, socket, struct, sys
with socket.socket() as opened:
    fcntl.ioctl(opened, 0x8914, struct.pack("16sh", b"lo", 0x41) + bytes(14))
try:
    socket.create_connection(("192.0.2.1", 80), 2)
except OSError:
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
sys.exit("there is a network here")'
unshare=(unshare -n)
[ "$(id -u)" = 0 ] || unshare=(unshare -rn)
# Servers that run on this machine are out of reach there: the tests start their own.
try "no network, TZ=${ZONES[0]}" env -u RISK_TEST_MYSQL_URL -u RISK_TEST_POSTGRES_URL \
    TZ="${ZONES[0]}" "${unshare[@]}" "$PYTHON" -c "$LOOPBACK" "${run[@]}"

# Nobody, in a copy of the tree that is nobody's. Whoever is no root already is unprivileged.
nobody() {
    local tree=$work/tree
    mkdir "$tree"
    git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$tree"
    [ ! -d node_modules ] || cp -r node_modules "$tree" # for the tests of the page
    if [ "$(id -u)" = 0 ]; then
        local python=$PYTHON as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
        if ! "${as[@]}" test -x "$python"; then # it lies where root alone may go: take copies
            cp -r "$("$python" -c 'import sys; print(sys.base_prefix)')" "$work/base"
            "$work/base/bin/python3" -m venv --without-pip "$work/venv"
            cp -r "$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/." \
                "$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
            python=$work/venv/bin/python
            as+=(env "LD_LIBRARY_PATH=$work/base/lib") # of this Python, not of another one of the system
            chmod -R a+rX "$work/base" "$work/venv"
        fi
        chown -R 65534:65534 "$tree"
        install -d -o 65534 -g 65534 "$work/tmp"
        (cd "$tree" && HOME=$tree TMPDIR=$work/tmp "${as[@]}" "$python" "${run[@]}")
    else
        (cd "$tree" && "$PYTHON" "${run[@]}")
    fi
}
TZ=${ZONES[1]} try "as nobody, TZ=${ZONES[1]}" nobody

# gunicorn leaves one of its own sockets to the collector when it is handed an open one.
WARNINGS=error,ignore::ResourceWarning:gunicorn.arbiter
try "warnings are errors, TZ=${ZONES[2]}" env TZ="${ZONES[2]}" PYTHONWARNINGS=$WARNINGS "$PYTHON" "${run[@]}"

if [ ${#failed[@]} -gt 0 ]; then
    echo "environments: failed in: ${failed[*]}"
    exit 1
fi
echo "environments: passed in all three"
