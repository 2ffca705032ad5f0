#!/usr/bin/env bash
# One run as several processes of this machine, as on a pod; all end when one does not succeed.
#
#   launch/local.sh [--print] glide-jax train --config shapes_64:smoke --workdir runs/two
#
#   --print, anywhere, shows the commands and runs none.
#   PROCESSES  how many; 2
#   PORT       a port that is free on this machine; 8476
#   LOGS       folder of process_0.log, process_1.log, ...; runs/logs
set -euo pipefail
processes=${PROCESSES:-2} port=${PORT:-8476} logs=${LOGS:-runs/logs}
show="" words=()
# shellcheck disable=SC1091
. "$(dirname "$0")/words.sh"
take_print "$@"
set -- ${words[@]+"${words[@]}"}
if [ $# = 0 ]; then sed -n '2,/^set/{s/^# \{0,1\}//p;}' "$0"; exit 2; fi
case $1 in -*) refuse "there is no option '$1'; a command comes first, such as glide-jax train." ;; esac

where=(--coordinator "127.0.0.1:$port" --num-processes "$processes")
if [ -n "$show" ]; then
    for ((i = 0; i < processes; i++)); do
        echo "$* ${where[*]} --process-id $i > $logs/process_$i.log 2>&1 &"
    done
    exit
fi

mkdir -p "$logs"
pids=() told=""
trap 'told=1; kill -TERM "${pids[@]}" || true' TERM INT # each saves, all stop at the same step
for ((i = 0; i < processes; i++)); do
    "$@" "${where[@]}" --process-id "$i" >"$logs/process_$i.log" 2>&1 &
    pids+=($!)
done
echo "logs: $logs/process_*.log"
worst=0
for ((left = processes; left > 0;)); do
    code=0
    wait -n || code=$?
    if [ -n "$told" ]; then told="" && continue; fi # that was no process, but the signal
    left=$((left - 1))
    if [ $code != 0 ] && [ $worst = 0 ]; then
        worst=$code
        sleep 5 # the others notice, and say so
        tail -n 2 "$logs"/process_*.log >&2
        kill -KILL "${pids[@]}" 2>/dev/null || true
    fi
done
exit $worst
