#!/bin/sh
# Test all but the notebook and its pages with the newest, or with the lowest, dependencies that pyproject.toml allows:
# sh tests/bounds.sh lowest
# In an environment of its own, made anew; stores need the servers of PostgreSQL and Redis, as ever.
set -eu
cd "$(dirname "$0")/.."
case ${1:-} in
newest) resolution=highest ;;
lowest) resolution=lowest-direct ;;
*) echo 'usage: sh tests/bounds.sh newest|lowest' >&2; exit 2 ;;
esac
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/tools"
"$place/tools/bin/pip" install -q --disable-pip-version-check uv
uv=$place/tools/bin/uv
"$uv" venv -q --python "${PYTHON:-python3}" "$place/environment"
python=$place/environment/bin/python
"$uv" pip compile -q --python "$python" --resolution "$resolution" pyproject.toml -o "$place/pins.txt" \
    --extra cluster --extra mcp --extra openai --extra otel --extra postgres --extra redis --extra server --extra traces
"$uv" pip install -q --python "$python" -r "$place/pins.txt"
"$uv" pip install -q --python "$python" --no-deps .
# What tests are written with is taken as new as it comes.
"$uv" pip install -q --python "$python" -c "$place/pins.txt" distributed hypothesis ipyparallel jupyter-server-proxy \
    matplotlib mcp-server-time opentelemetry-sdk pandas pillow pip psutil pytest pytest-asyncio pytest-playwright \
    pytest-timeout schemathesis scipy
cat "$place/pins.txt"
PYTHONHASHSEED=0 "$python" -m pytest -q tests --ignore tests/notebook --ignore-glob 'tests/test_*.py'
