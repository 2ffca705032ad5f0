#!/usr/bin/env bash
# A machine with a GPU, JAX and no network: what it lacks is carried, and a plan runs in its budget.
#
#   launch/bare_gpu.sh [--print] carry                    fetch wheels into CARRIED, on a machine with a network
#   launch/bare_gpu.sh [--print] check                    unpack them and name the device
#   launch/bare_gpu.sh [--print] bench [OPTIONS]          check, then time everything; OPTIONS of `glide-jax bench`
#   launch/bare_gpu.sh [--print] profile [OPTIONS]        check, then seconds by kind of operation
#   launch/bare_gpu.sh [--print] ways [OPTIONS]           check, then attention, norms and options of XLA in turn
#   launch/bare_gpu.sh [--print] train --config CONFIG    check, then train until the budget ends; goes on
#
#   --print, anywhere, shows the commands and runs none.
#   BUDGET     seconds in all; a part that would begin too late waits for the next run; 570
#   CARRIED    folder of wheels; .bare
#   RESULTS    folder of results, one of each part; a part that is done is passed over; runs/bare
#   REFERENCE  a checkout of the PyTorch code, to be timed in turn; none
#   PYTHON     the interpreter; python3
#   TARGET     `carry`: version of that machine's Python; 3.12
set -euo pipefail
budget=${BUDGET:-570} carried=${CARRIED:-.bare} results=${RESULTS:-runs/bare} python=${PYTHON:-python3}
show="" words=()
# shellcheck disable=SC1091
. "$(dirname "$0")/words.sh"
take_print "$@"
set -- ${words[@]+"${words[@]}"}
if [ $# = 0 ]; then sed -n '2,/^set/{s/^# \{0,1\}//p;}' "$0"; exit 2; fi
plan=$1 && shift
case $plan in
carry | check) if [ $# != 0 ]; then refuse "'$1' is left over; $plan takes no options."; fi ;;
bench | profile | ways) case ${1:--} in -*) ;; *) refuse "'$1' follows no option; give options of glide-jax bench, such as --rounds 3." ;; esac ;;
train) check_train "$@" ;;
*) refuse "there is no plan '$plan'; give one of carry, check, bench, profile, ways, train." ;;
esac
case $budget in '' | *[!0-9]*) refuse "BUDGET is '$budget'; it must be a whole number of seconds." ;; esac

# What an image with JAX, Flax, Optax, Orbax and PyTorch is known to lack, or to have too old.
lacking=(ftfy wcwidth ml_collections jaxtyping wadler_lindig "sentencepiece>=0.2.3" safetensors regex)
if [ "$plan" = carry ]; then
    for what in "${lacking[@]}"; do
        act "$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version "${TARGET:-3.12}" \
            --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 --platform any --dest "$carried" "$what"
    done
    exit
fi

here=$(cd "$(dirname "$0")/.." && pwd) began=$SECONDS
export PYTHONPATH="$carried/site:$here${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
export GLIDE_JAX_CACHE="${GLIDE_JAX_CACHE:-$results/cache}"
check() {
    if [ -z "$show" ] && [ ! -d "$carried" ]; then refuse "there is no folder '$carried'; launch/bare_gpu.sh carry makes it, where there is a network."; fi
    for wheel in "$carried"/*.whl; do
        if [ ! -e "$wheel" ]; then continue; fi
        act "$python" -m zipfile -e "$wheel" "$carried/site"
    done
    act "$python" -m glide_jax doctor || true # it names what is missing; a plan may not need it
}

left() { echo $((budget - (SECONDS - began))); }

# part NAME LEAST COMMAND ...: a part of the plan, if LEAST seconds are left and it is not done.
part() {
    local name=$1 least=$2 folder="$results/$1" code=0 from=$SECONDS
    shift 2
    if [ -n "$show" ]; then act "$@" && return; fi
    if [ -e "$folder/done" ]; then echo "$name: is done" && return; fi
    if [ "$(left)" -lt "$least" ]; then echo "$name: waits, $(left) seconds are left" && return; fi
    mkdir -p "$folder"
    echo "$name: begins, $(left) seconds are left"
    # It is stopped in time to save: its rows are written one by one.
    timeout --signal=TERM --kill-after=15 "$(($(left) - 10))" "$@" >"$folder/log.txt" 2>&1 || code=$?
    if [ $code = 0 ]; then touch "$folder/done"; else tail -n 3 "$folder/log.txt"; fi
    echo "| $name | $code | $((SECONDS - from)) |" | tee -a "$results/parts.md"
}

measure() { # NAME LEAST OPTIONS ...
    local name=$1 least=$2
    shift 2
    part "$name" "$least" "$python" -m glide_jax bench --out "$results/$name" "$@" "${options[@]}"
}

options=(--device gpu ${REFERENCE:+--reference "$REFERENCE"} "$@")
check
case $plan in
bench)
    # In the order of what is missed most when the time ends.
    measure base-bf16 60 --stages base --dtype bfloat16 --what limits,text,evaluation --batch-sizes 1,8,64
    measure upsample-bf16 60 --stages upsample --dtype bfloat16 --what text,evaluation --batch-sizes 1,8
    measure pictures 60 --dtype bfloat16 --what image --presets reference,fast --batch-sizes 8
    measure gradient-64 45 --stages base --dtype bfloat16 --what gradient --batch-sizes 64
    measure gradient-256 45 --stages base --dtype bfloat16 --what gradient --batch-sizes 256
    measure upsample-64 45 --stages upsample --dtype bfloat16 --what evaluation --batch-sizes 64
    measure more-bf16 45 --dtype bfloat16 --what evaluation --batch-sizes 2,16
    measure base-f32 45 --stages base --what limits,evaluation --batch-sizes 1,8,64
    measure upsample-f32 45 --stages upsample --what evaluation --batch-sizes 1,8
    ;;
profile)
    options=(--device gpu "$@") # the reference has no part in it
    measure profile-base 45 --stages base --dtype bfloat16 --what operations --batch-sizes 8 --rounds 3
    measure profile-upsample 45 --stages upsample --dtype bfloat16 --what operations --batch-sizes 2 --rounds 3
    ;;
ways)
    options=(--device gpu "$@")
    measure ways-base 60 --stages base --dtype bfloat16 --what ways --batch-sizes 8
    measure ways-upsample 60 --stages upsample --dtype bfloat16 --what ways --batch-sizes 2
    ;;
train)
    # A signal saves; the same command goes on.
    part train 30 "$python" -m glide_jax train --workdir "$results/train" "$@"
    ;;
esac
if [ "$plan" != check ] && [ -z "$show" ]; then
    find "$results" -name bench.md -exec cat {} + >"$results/all.md" || true
    echo "$results/all.md"
fi
