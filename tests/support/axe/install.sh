#!/bin/sh
# Install axe-core, which judges whether a page can be used by everybody, beside the running environment: sh tests/support/axe/install.sh
set -eu
place=$(python -c 'import sys; print(sys.prefix)')/axe
version=4.14.1
[ "$(cat "$place/installed" 2>/dev/null)" = "$version" ] && exit 0

rm -rf "$place"
npm install --prefix "$place" --fetch-timeout=60000 --fetch-retries=3 --silent --no-audit --no-fund "axe-core@$version"
printf %s "$version" >"$place/installed"
