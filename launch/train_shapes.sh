#!/usr/bin/env bash
# The small model that ships in the package: base, upsampler and CLIP, packed into runs/shapes.
# Killed at any moment, the same command goes on. What follows GLIDE_JAX goes to all trainings.
#
#   launch/train_shapes.sh [GLIDE_JAX [OPTION ...]]      # by default glide-jax; SIZE=:smoke is seconds
set -euo pipefail
glide_jax=${1:-glide-jax} size=${SIZE:-}
shift || true
# On two CPU cores two devices of one core each are faster than one of two. Where other work holds
# one of them for long, XLA would by default take the other's wait for a hang and abort the run.
export XLA_FLAGS=${XLA_FLAGS:---xla_force_host_platform_device_count=2 \
--xla_cpu_collective_call_warn_stuck_timeout_seconds=300 \
--xla_cpu_collective_call_terminate_timeout_seconds=3600}
base=(shapes_64 shapes_64:{pairs,order,scenes,relations,counts}) # each goes on from the one before
if [ -n "$size" ]; then base=("shapes_64$size"); fi
names=("${base[@]}" "shapes_256$size" "shapes_clip$size")
for name in "${names[@]}"; do
    "$glide_jax" train --config "$name" --workdir "runs/${name/:/-}" "$@"
done
parts=()
for name in "${names[@]: -3}"; do parts+=("runs/${name/:/-}/model"); done
card=()
if [ -f docs/cards/shapes.md ]; then card=(--card docs/cards/shapes.md); fi
rm -rf "runs/shapes${size/:/-}"
"$glide_jax" pack "${parts[@]}" --out "runs/shapes${size/:/-}" --name shapes --dtype float16 "${card[@]}"
