#!/usr/bin/env bash
# A run on all workers of a slice of Cloud TPU VMs. Run again after any stop, it goes on.
#
#   launch/tpu_vm.sh [--print] create | setup | run | tail | stop | delete
#
#   --print, anywhere, shows the command and runs nothing.
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
show="" words=()
# shellcheck disable=SC1091
. "$(dirname "$0")/words.sh"
take_print "$@"
set -- ${words[@]+"${words[@]}"}

tpu() { act gcloud compute tpus tpu-vm "$@" --zone "$zone"; }
everywhere() { tpu ssh "$name" --worker all --command "$1"; }

if [ $# = 0 ]; then sed -n '2,/^set/{s/^# \{0,1\}//p;}' "$0"; exit 2; fi
if [ $# != 1 ]; then refuse "'$*' are $# words; give one of create, setup, run, tail, stop, delete."; fi
case $1 in
create)
    more=()
    if [ "$spot" = 1 ]; then more=(--spot); fi
    tpu create "$name" --accelerator-type "$type" --version "$version" ${more[@]+"${more[@]}"}
    ;;
setup)
    if [ -z "$source" ] && [ -z "$show" ]; then
        refuse "set SOURCE to what pip installs, such as git+https://HOST/YOU/glide_jax."
    fi
    # Ubuntu 22.04 has Python 3.10, which is too old; uv brings one.
    everywhere "$mount; test -x ~/glide/bin/pip || \
if python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'; \
then python3 -m venv ~/glide; \
else curl -LsSf https://astral.sh/uv/install.sh | sh && ~/.local/bin/uv venv -q --seed --python 3.12 ~/glide; fi && \
~/glide/bin/pip install -q 'glide-jax[tpu,data,tensorboard] @ ${source:-SOURCE}'"
    ;;
run) # in the background of each worker, so that a cut connection does not end it
    everywhere "mkdir -p ~/logs; nohup ~/glide/bin/glide-jax train $train --workdir $workdir \
--coordinator auto > ~/logs/train.log 2>&1 & echo \$! > ~/train.pid"
    ;;
tail) tpu ssh "$name" --worker 0 --command "tail -n 50 -F ~/logs/train.log" ;;
stop) tpu ssh "$name" --worker 0 --command "kill -TERM \$(cat ~/train.pid)" ;; # all save and stop
delete) tpu delete "$name" --quiet ;;
*) refuse "there is no word '$1'; give one of create, setup, run, tail, stop, delete." ;;
esac
