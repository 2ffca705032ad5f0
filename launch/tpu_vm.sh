#!/usr/bin/env bash
# A run on all workers of a slice of Cloud TPU VMs. Run again after any stop, it goes on.
#
#   launch/tpu_vm.sh [--print] create | setup | run | tail | stop | delete
#
#   NAME      name of the slice; glide
#   ZONE      zone of the slice; us-central2-b
#   TYPE      type of accelerator, v5litepod-16 being four hosts of four chips; v4-32
#   VERSION   version of the TPU VM's software; tpu-ubuntu2204-base
#   SPOT      1 for a slice that may be taken away at any time; 0
#   SOURCE    what pip installs on each worker; the git address of your copy
#   MOUNT     command that mounts the shared folder of WORKDIR on a worker; nothing
#   WORKDIR   working directory, in a folder that all workers see (NFS or gcsfuse); /mnt/runs/glide
#   TRAIN     what follows `glide-jax train`; --config base_64
set -euo pipefail
name=${NAME:-glide} zone=${ZONE:-us-central2-b} type=${TYPE:-v4-32}
version=${VERSION:-tpu-ubuntu2204-base} spot=${SPOT:-0} source=${SOURCE:-} mount=${MOUNT:-true}
workdir=${WORKDIR:-/mnt/runs/glide} train=${TRAIN:---config base_64}
show=""
if [ "${1:-}" = --print ]; then show=1; shift; fi

act() { if [ -n "$show" ]; then printf '%q ' "$@" && echo; else "$@"; fi; }
tpu() { act gcloud compute tpus tpu-vm "$@" --zone "$zone"; }
everywhere() { tpu ssh "$name" --worker all --command "$1"; }

case "${1:-}" in
create)
    more=()
    if [ "$spot" = 1 ]; then more=(--spot); fi
    tpu create "$name" --accelerator-type "$type" --version "$version" "${more[@]}"
    ;;
setup)
    : "${source:?set SOURCE to what pip installs, such as git+https://HOST/YOU/glide_jax}"
    everywhere "$mount; python3 -m venv ~/glide && ~/glide/bin/pip install -q 'glide-jax[tpu,data] @ $source'"
    ;;
run) # in the background of each worker, so that a cut connection does not end it
    everywhere "mkdir -p ~/logs; nohup ~/glide/bin/glide-jax train $train --workdir $workdir \
--coordinator auto > ~/logs/train.log 2>&1 & echo \$! > ~/train.pid"
    ;;
tail) tpu ssh "$name" --worker 0 --command "tail -n 50 -F ~/logs/train.log" ;;
stop) tpu ssh "$name" --worker 0 --command "kill -TERM \$(cat ~/train.pid)" ;; # all save and stop
delete) tpu delete "$name" --quiet ;;
*)
    sed -n '2,/^set/{s/^# \{0,1\}//p;}' "$0"
    exit 2
    ;;
esac
