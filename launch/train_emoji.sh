#!/usr/bin/env bash
# One piece of the emoji training, nine minutes at most; the same command again goes on from there.
#
#   glide-jax data build emoji_256 && glide-jax data pack emoji_256 runs/emoji_data
#   launch/train_emoji.sh 64 runs/emoji_data --device gpu
#   launch/train_emoji.sh 256 runs/emoji_data --device gpu
#
# 64:smoke and 256:smoke are the same in seconds on a CPU. What follows DATA goes to `glide-jax train`.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: $0 64|256[:smoke] DATA [OPTION ...]" >&2; exit 2; }
stage=${1%%:*} size=${1#"$stage"} data=$2
shift 2
timeout --signal=TERM "${SECONDS_A_PIECE:-530}" glide-jax train \
    --config "configs/emoji_$stage.py$size" --workdir "runs/emoji_$stage${size/:/-}" \
    --config.data.source=parquet --config.data.path="$data/train.parquet" "$@" ||
    [ $? = 124 ] # time was up, and the run was told to save and stop
