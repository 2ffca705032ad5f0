#!/usr/bin/env bash
# The same run by xpk (https://github.com/AI-Hypercomputer/xpk), which makes the JobSet itself.
#
#   launch/gke/xpk.sh [--print] --config base_64
#
#   --print, anywhere, shows the command and runs nothing.
#   NAME      of the workload; glide
#   CLUSTER   made by `xpk cluster create`; glide
#   TYPE      type of TPU; v5litepod-16
#   SLICES    number of slices; 1
#   IMAGE     container with glide-jax[tpu,data,tensorboard] installed
#   STORAGE   storage that `xpk storage attach` attached, mounted at /runs; runs
#   RESTARTS  number of restarts after which the run is given up; 100
set -euo pipefail
name=${NAME:-glide}
show="" words=()
# shellcheck disable=SC1091
. "$(dirname "$0")/../words.sh"
take_print "$@"
set -- ${words[@]+"${words[@]}"}
if [ $# = 0 ]; then sed -n '2,/^set/{s/^# \{0,1\}//p;}' "$0"; exit 2; fi
check_train "$@"
if [ -z "$show" ] && [ -z "${IMAGE:-}" ]; then refuse "set IMAGE to your container."; fi
command=(
    xpk workload create --workload "$name" --cluster "${CLUSTER:-glide}"
    --tpu-type "${TYPE:-v5litepod-16}" --num-slices "${SLICES:-1}"
    --docker-image "${IMAGE:-IMAGE}" --storage "${STORAGE:-runs}"
    --max-restarts "${RESTARTS:-100}" --command "glide-jax train $* --workdir /runs/$name"
)
act "${command[@]}"
