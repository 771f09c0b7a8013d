#!/bin/sh
# Install Pyodide, and what the package needs in it, beside the running environment: sh tests/support/pyodide/install.sh
# Node.js runs it. Versions belong together: Pyodide's, its Python's, and the platform that wheels are built for.
set -eu
place=$(python -c 'import sys; print(sys.prefix)')/pyodide
version=314.0.7
[ "$(cat "$place/installed" 2>/dev/null)" = "$version" ] && exit 0

rm -rf "$place"
npm install --prefix "$place" --fetch-timeout=60000 --fetch-retries=3 --silent --no-audit --no-fund "pyodide@$version"
# What shows things in a cell has parts that are compiled, and that no index has for this platform (nh3, MarkupSafe).
python -m pip install -q --disable-pip-version-check --target "$place/site" \
    --platform pyemscripten_2026_0_wasm32 --implementation cp --python-version 3.14 --abi cp314 --abi abi3 --abi none \
    --only-binary :all: 'pydantic>=2.12,<3' 'sqlalchemy>=2.0.30,<3' 'platformdirs>=4,<5' ipython
printf %s "$version" >"$place/installed"
