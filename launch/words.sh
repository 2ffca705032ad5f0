#!/usr/bin/env bash
# Read by the launchers beside it, which check their words before anything starts or costs.

refuse() { # SENTENCE
    echo "$(basename "$0"): $1" >&2
    exit 2
}

# Gives `show` (1 if --print was anywhere among the words) and `words`, the others.
take_print() {
    show="" words=()
    local word
    for word in "$@"; do
        if [ "$word" = --print ]; then show=1; else words+=("$word"); fi
    done
}

act() { # COMMAND ...: runs it, or prints it
    if [ -n "$show" ]; then printf '%q ' "$@" && echo; else "$@"; fi
}

# KNOWN WORD ...: ends the script unless the words are fields of a config and the options KNOWN of
# `glide-jax train`, a text with spaces; each takes a value.
check_options() {
    local known=" $1 " word name value=""
    shift
    for word in "$@"; do
        if [ -n "$value" ]; then value="" && continue; fi
        name=${word%%=*}
        case $name in
        --config.?*) ;;
        -*) case $known in *" $name "*) ;; *) refuse "there is no option '$name' here; there are --print${known// /, }--config.SECTION.FIELD." ;; esac ;;
        *) refuse "'$word' follows no option; give each value after its option, such as --config.train.num_steps=100." ;;
        esac
        if [ "$name" = "$word" ]; then value=$name; fi
    done
    if [ -n "$value" ]; then refuse "$value has no value; write $value=VALUE."; fi
}

# WORD ...: the same for a script that gives --workdir and finds the hosts itself.
check_train() {
    check_options "--config --device --heartbeat-seconds --wait-seconds" "$@"
    case " $*" in *" --config"[\ =]*) ;; *) refuse "there is no --config; give one, such as --config base_64." ;; esac
}
