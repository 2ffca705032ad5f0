#!/usr/bin/env bash
# A small model that ships in the package: base, upsampler and CLIP, packed into runs/MODEL.
# Killed at any moment, the same command goes on. What follows GLIDE_JAX goes to all trainings.
# Emoji goes on from the shapes in the package, and wants `glide-jax data build emoji_64` and emoji_256.
# shapes-few is distilled from the shapes in the package.
#
#   launch/train_boxed.sh shapes|emoji|shapes-few [GLIDE_JAX] [OPTION ...]   # by default glide-jax; SIZE=:smoke is seconds
#
# --print, anywhere, shows the commands and runs none.
set -euo pipefail
# shellcheck disable=SC2034  # launch/words.sh reads it
show="" words=()
# shellcheck disable=SC1091
. "$(dirname "$0")/words.sh"
take_print "$@"
set -- ${words[@]+"${words[@]}"}
model=${1:-} glide_jax=glide-jax size=${SIZE:-}
case $model in
shapes) # each base goes on from the one before
    names=(shapes_64 shapes_64:{pairs,order,scenes,relations,counts,polish} shapes_256 shapes_clip) ;;
emoji) names=(emoji_64:{tiny,more,polish,words,styled} emoji_256:tiny emoji_clip) ;;
shapes-few) names=() ;;
*) refuse "give shapes|emoji|shapes-few [GLIDE_JAX] [OPTION ...]." ;;
esac
shift
case ${1:--} in -*) ;; *) glide_jax=$1 && shift ;; esac
check_options "--device" "$@"
# On two CPU cores two devices of one core each are faster than one of two. Where other work holds
# one of them for long, XLA would by default take the other's wait for a hang and abort the run.
act export XLA_FLAGS="${XLA_FLAGS:---xla_force_host_platform_device_count=2 \
--xla_cpu_collective_call_warn_stuck_timeout_seconds=300 \
--xla_cpu_collective_call_terminate_timeout_seconds=3600}"
parts=() rest=()
if [ "$model" = shapes-few ]; then
    base=runs/$model-base${size/:/-} up=runs/$model-upsample${size/:/-}
    few=${size#:} && how=(--what distribution --size "${few:-shapes}")
    act "$glide_jax" distill --from shapes --workdir "$base" "${how[@]}" "$@"
    act "$glide_jax" distill --from "$base/model" --stage upsample --workdir "$up" "${how[@]}" "$@"
    parts=("$up/model") rest=(--rest-of glide_jax/boxed/shapes)
elif [ -n "$size" ]; then names=("${model}_64$size" "${model}_256$size" "${model}_clip$size"); fi
for name in ${names[@]+"${names[@]}"}; do
    act "$glide_jax" train --config "$name" --workdir "runs/${name/:/-}" "$@"
done
for name in ${names[@]+"${names[@]: -3}"}; do parts+=("runs/${name/:/-}/model"); done
card=()
if [ -f "glide_jax/boxed/$model/README.md" ]; then card=(--card "glide_jax/boxed/$model/README.md"); fi
act rm -rf "runs/$model${size/:/-}"
act "$glide_jax" pack "${parts[@]}" --out "runs/$model${size/:/-}" --name "$model" --dtype float16 ${rest[@]+"${rest[@]}"} ${card[@]+"${card[@]}"}
