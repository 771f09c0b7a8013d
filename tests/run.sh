#!/bin/sh
# Install what the tests need, then check and test everything. From anywhere: sh tests/run.sh
# The environment lies outside the tree and is used again by the next run.
set -u
cd "$(dirname "$0")/.." || exit 1

as_root_on_debian() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }
stop() { printf 'tests: %s\n' "$1" >&2; exit 1; }

python=
find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            return 0
        fi
    done
    return 1
}
find_python || { as_root_on_debian && apt-get -qq update && apt-get -qq install -y python3-venv; find_python; } ||
    stop 'no Python 3.11 or later with venv; install python3 and python3-venv, or set PYTHON'

venv=${XDG_CACHE_HOME:-${HOME:-${TMPDIR:-/tmp}}/.cache}/nbsession/tests-$(pwd | cksum | cut -d ' ' -f 1)
"$python" -m venv "$venv" || stop "no virtual environment could be made in $venv"
PATH=$venv/bin:$PATH
pip install -q --disable-pip-version-check -e '.[test]' || stop 'the packages could not be installed'

chromium() { command -v chromium || command -v chromium-browser || command -v google-chrome; }
install_chromium() {
    as_root_on_debian && apt-get -qq update &&
        apt-get -qq install -y --no-install-recommends chromium fonts-liberation && chromium >/dev/null ||
        playwright install chromium
}
chromium >/dev/null || install_chromium ||
    stop 'no Chromium for the browser tests; install chromium (Debian: apt-get install chromium)'

postgres() { command -v initdb || command -v postgres || ls /usr/lib/postgresql/*/bin/initdb; }
install_postgres() { as_root_on_debian && apt-get -qq update && apt-get -qq install -y --no-install-recommends postgresql; }
postgres >/dev/null 2>&1 || install_postgres ||
    stop 'no PostgreSQL for the tests of stores; install its server (Debian: apt-get install postgresql)'

redis() { command -v redis-server || command -v valkey-server; }
install_redis() { as_root_on_debian && apt-get -qq update && apt-get -qq install -y --no-install-recommends redis-server; }
redis >/dev/null || install_redis ||
    stop 'no Redis for the tests of stores; install its server (Debian: apt-get install redis-server)'

node() { command -v node && command -v npm; }
install_node() { as_root_on_debian && apt-get -qq update && apt-get -qq install -y --no-install-recommends nodejs npm; }
node >/dev/null || install_node ||
    stop 'no Node.js for the tests in Pyodide and of accessibility; install nodejs and npm (Debian: apt-get install nodejs npm)'
sh tests/support/pyodide/install.sh || stop 'Pyodide could not be installed'
sh tests/support/axe/install.sh || stop 'axe-core could not be installed'

PYTHONHASHSEED=${PYTHONHASHSEED:-0}
export PYTHONHASHSEED
failed=
check() {
    printf '+ %s\n' "$*"
    "$@" || failed="$failed $*;"
}
check ruff check .
check ruff format --check .
check mypy
check lint-imports --no-logo
# The tests with a browser run beside the others, and are told when those have ended. Status 5 is that there are none.
beside=$(mktemp) || stop 'no temporary file could be made'
python -m pytest -m browser "$@" >"$beside" 2>&1 &
browser=$!
trap 'kill "$browser" 2>/dev/null; rm -f "$beside"' EXIT
printf '+ python -m pytest -m "not browser" %s\n' "$*"
python -m pytest -m 'not browser' "$@"
others=$?
printf '+ python -m pytest -m browser %s\n' "$*"
wait "$browser"
browser_ended=$?
cat "$beside"
case $others,$browser_ended in 0,0 | 0,5 | 5,0) ;; *) failed="$failed python -m pytest;" ;; esac
[ -z "$failed" ] || stop "failed:$failed"
