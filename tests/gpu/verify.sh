#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Proves Hunze on a machine with a GPU, from a folder that was built elsewhere (make gpu-folder).  Installs nothing, needs no network.
#
#   sh verify.sh [--small] [OUT]     OUT gets records.jsonl, logs/, fixtures/ and all of it as results.tar.gz; without it, results/ beside this script
#
# Each step is a process of its own with its own time limit, so a fault ends one step only, and its line stands in records.jsonl as soon
# as it is over: what was measured stays when the machine is taken away.  Order: device, fixtures, tests, benchmarks, other libraries,
# sanitizer.  All steps together get HUNZE_VERIFY_BUDGET seconds (480): one that begins late gets what is left of them.
# HUNZE_VERIFY_ONLY=WORD leaves out those whose KIND-NAME does not have it, for a second run.
# --small: sizes for a machine whose GPU is emulated.
# A program's exit status 77 means that what it needs is not here.  Its lines "RESULT {…}" become part of its record.
# Python is python3, or PYTHON; it finds the package in this folder.
# Exit status: 0 if nothing failed, 1 if something did, 2 if there is no device.
here=$(cd "$(dirname "$0")" && pwd)
small=
if [ "$1" = --small ]; then
    small=--small
    shift
fi
out=${1:-$here/results}
mkdir -p "$out/logs" "$out/fixtures" || exit 2
records=$out/records.jsonl
: >"$records" || exit 2
failed=0 passed=0 others=
end=$(($(date +%s) + ${HUNZE_VERIFY_BUDGET:-480}))

# Text from standard input as the inside of a JSON string.
json_text() {
    LC_ALL=C tr -cd '\040-\176' | cut -c1-400 | sed 's/\\/\\\\/g; s/"/\\"/g'
}

# step KIND NAME SECONDS COMMAND…
step() {
    kind=$1 name=$2 limit=${HUNZE_VERIFY_SECONDS:-$3}
    shift 3
    case $kind-$name in
    device-device | *"$HUNZE_VERIFY_ONLY"*) ;;
    *) return ;;
    esac
    log=$out/logs/$kind-$name.txt
    left=$((end - $(date +%s)))
    [ "$left" -ge "$limit" ] || limit=$left
    begin=$(date +%s%N)
    if [ "$left" -gt 0 ]; then
        timeout -k 5 "$limit" "$@" >"$log" 2>&1 </dev/null
        code=$?
    else
        echo "not begun: the time of all steps is over" >"$log"
        code=76
    fi
    milliseconds=$((($(date +%s%N) - begin) / 1000000))
    case $code in
    0) status=passed ;;
    76) status='no time left' ;;
    77) status='not here' ;;
    124 | 137) status='timed out' ;;
    *) status=failed ;;
    esac
    # The sanitizer may be forbidden on a shared machine: then it says nothing of errors.
    if [ "$kind" = sanitizer ] && [ "$status" = failed ] && ! grep -q 'ERROR SUMMARY' "$log"; then
        status='refused here'
    fi
    case $status in
    passed) passed=$((passed + 1)) ;;
    *) others="$others; $name: $status" ;;
    esac
    case $status in failed | 'timed out') failed=1 ;; esac
    printf '{"step": "%s", "kind": "%s", "status": "%s", "exit": %d, "milliseconds": %d, "last": "%s", "results": [%s]}\n' \
        "$name" "$kind" "$status" "$code" "$milliseconds" "$(tail -n 1 "$log" | json_text)" \
        "$(sed -n 's/^RESULT \({.*}\)$/\1/p' "$log" | paste -sd, -)" >>"$records"
    echo "$kind $name: $status, $((milliseconds / 1000)).$((milliseconds % 1000 / 100)) s"
    tar -czf "$out/results.tar.gz" -C "$out" records.jsonl logs fixtures 2>/dev/null
}

printf '{"step": "begin", "kind": "begin", "date": "%s", "small": %s, "about": %s}\n' \
    "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$([ -n "$small" ] && echo true || echo false)" "$(cat "$here/about.json")" >>"$records"

step device device 60 "$here/bin/gpu_device"
if ! grep -q '"kind": "device", "status": "passed"' "$records"; then
    echo "no device that Hunze can use: $(tail -n 1 "$out/logs/device-device.txt")"
    exit 2
fi
# Runs a program that this machine may not have.
if_here='command -v "$0" >/dev/null || { echo "no $0"; exit 77; }; exec "$0" "$@"'
step machine smi 20 sh -c "$if_here" nvidia-smi --format=csv \
    --query-gpu=driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit,temperature.gpu,ecc.mode.current
step fixture fixtures 60 "$here/bin/gpu_fixtures" "$here/bin" "$out/fixtures" "$here/fixtures"
[ -n "$small" ] || export HUNZE_TEST_SCALE=16 # so many tiles that a device takes the large ones
for test in "$here"/tests/*; do
    [ -e "$test" ] || continue # there are none
    step test "$(basename "$test")" 60 "$test"
done
for part in others warpgroups; do
    step bench $part 100 "$here/bin/gpu_bench" $small "$here/bin" $part
done

export PYTHONPATH="$here/python${PYTHONPATH:+:$PYTHONPATH}" PYTHONDONTWRITEBYTECODE=1
export XLA_PYTHON_CLIENT_PREALLOCATE=false # else JAX takes most of the memory
# python_step NAME SCRIPT ARGUMENTS…: nothing if the folder lacks it
python_step() {
    name=$1 script=$here/scripts/$2.py
    shift 2
    [ ! -e "$script" ] || step python "$name" 100 sh -c "$if_here" "${PYTHON:-python3}" "$script" $small "$@"
}
python_step peers peers others
python_step peers-half peers half
python_step offload offload
python_step interop interop
step sanitizer memcheck 60 sh -c "$if_here" compute-sanitizer --error-exitcode 9 "$here/bin/gpu_bench" --small "$here/bin"

printf '{"step": "end", "kind": "end", "date": "%s", "failed": %d}\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" $failed >>"$records"
tar -czf "$out/results.tar.gz" -C "$out" records.jsonl logs fixtures
echo "$passed steps passed$others"
exit $failed
