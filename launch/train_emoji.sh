#!/usr/bin/env bash
# One piece of the emoji training, nine minutes at most; the same command again goes on from there.
#
#   glide-jax data build emoji_256 && glide-jax data pack emoji_256 runs/emoji_data
#   launch/train_emoji.sh 64 runs/emoji_data --device gpu
#   launch/train_emoji.sh 256 runs/emoji_data --device gpu
#
# 64:smoke and 256:smoke are the same in seconds on a CPU. What follows DATA goes to `glide-jax train`.
# --print, anywhere, shows the command and runs nothing.
set -euo pipefail
# shellcheck disable=SC2034  # launch/words.sh reads it
show="" words=()
# shellcheck disable=SC1091
. "$(dirname "$0")/words.sh"
take_print "$@"
set -- ${words[@]+"${words[@]}"}
if [ $# -lt 2 ]; then refuse "give 64|256[:smoke] DATA [OPTION ...]."; fi
case $1 in 64 | 256 | 64:smoke | 256:smoke) ;; *) refuse "there is no '$1'; give 64 or 256, perhaps with :smoke." ;; esac
case $2 in -*) refuse "'$2' stands where the folder DATA belongs; give 64|256[:smoke] DATA [OPTION ...]." ;; esac
stage=${1%%:*} size=${1#"${1%%:*}"} data=$2
shift 2
check_options "--device" "$@"
act timeout --signal=TERM "${SECONDS_A_PIECE:-530}" glide-jax train \
    --config "configs/emoji_$stage.py$size" --workdir "runs/emoji_$stage${size/:/-}" \
    --config.data.source=parquet --config.data.path="$data/train.parquet" "$@" ||
    [ $? = 124 ] # time was up, and the run was told to save and stop
