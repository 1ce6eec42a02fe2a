#!/bin/sh
# Makes the nodes that ask for it writers of the ledger: those whose keys are in QUIPU_ASK_DIR, or those
# of them that are named. Runs where an admin's store is. Whoever can write to that directory asks, so
# look at what it prints before you answer.
set -eu
ask_dir=${QUIPU_ASK_DIR:?names no directory}

if [ "${1:-}" = --yes ]; then
    sure=yes
    shift
else
    sure=''
fi
if [ $# -eq 0 ]; then
    for file in "$ask_dir"/*; do
        case $file in
            *.new | "$ask_dir/*") ;;
            *) set -- "$@" "${file##*/}" ;;
        esac
    done
fi
if [ $# -eq 0 ]; then
    echo "nobody asks" >&2
    exit 0
fi

for node; do
    key=$(head -c 65 "$ask_dir/$node")
    if ! printf '%s\n' "$key" | grep -qxE '[0-9a-f]{64}'; then
        echo "$node: its file holds no key" >&2
        exit 1
    fi
    if [ -z "$sure" ]; then
        printf 'make %s, key %s, a writer? [y/N] ' "$node" "$key" >&2
        read -r answer || answer=''
        case $answer in y | Y | yes) ;; *) continue ;; esac
    fi
    quipu member grant "$key" writer
    rm -f "$ask_dir/$node"
done
