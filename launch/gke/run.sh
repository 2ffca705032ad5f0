#!/usr/bin/env bash
# A run as a JobSet of Google Kubernetes Engine (jobset.yaml, filled in), restarted until it is done.
#
#   launch/gke/run.sh [--print] --config base_64
#
#   --print, anywhere, shows the manifest and applies nothing.
#   NAME       of the JobSet; glide
#   IMAGE      container with glide-jax[tpu,data,tensorboard] installed
#   CHIP       the node pool's cloud.google.com/gke-tpu-accelerator; tpu-v5-lite-podslice
#   TOPOLOGY   its cloud.google.com/gke-tpu-topology; 4x4
#   HOSTS      nodes in a slice; 4
#   CHIPS      chips in a node; 4
#   SLICES     number of slices; 1
#   CLAIM      persistent volume claim that all pods mount for writing at /runs; runs
#   RESTARTS   number of restarts after which the run is given up; 100
set -euo pipefail
export NAME=${NAME:-glide} CHIP=${CHIP:-tpu-v5-lite-podslice} TOPOLOGY=${TOPOLOGY:-4x4}
export HOSTS=${HOSTS:-4} CHIPS=${CHIPS:-4} SLICES=${SLICES:-1} CLAIM=${CLAIM:-runs}
export RESTARTS=${RESTARTS:-100} IMAGE=${IMAGE:-IMAGE}
show="" words=()
# shellcheck disable=SC1091
. "$(dirname "$0")/../words.sh"
take_print "$@"
set -- ${words[@]+"${words[@]}"}
if [ $# = 0 ]; then sed -n '2,/^set/{s/^# \{0,1\}//p;}' "$0"; exit 2; fi
check_train "$@" # in a pod a mistake would be started again RESTARTS times
if [ -z "$show" ] && [ "$IMAGE" = IMAGE ]; then refuse "set IMAGE to your container."; fi

manifest=$(<"$(dirname "$0")/jobset.yaml")
for name in NAME IMAGE CHIP TOPOLOGY HOSTS CHIPS SLICES CLAIM RESTARTS; do
    manifest=${manifest//"{$name}"/${!name}}
done
container_args=""
for word in train "$@" --workdir "/runs/$NAME"; do container_args+="${container_args:+, }\"$word\""; done
manifest=${manifest//"{WORDS}"/$container_args}
if [ -n "$show" ]; then echo "$manifest"; else kubectl apply -f - <<<"$manifest"; fi
