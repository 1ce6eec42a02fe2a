#!/bin/bash
# What two releases of a source tree take up: in a store, in git after `git gc`, and as plain
# copies. Prints a line of the table in docs/benchmarks.md. Takes two directories, or else the two
# latest releases of the largest package that cargo's registry has in two.
set -euo pipefail
quipu=$(realpath "${1:?path of the quipu binary}")
if (($# == 3)); then
    old=$(realpath "$2") new=$(realpath "$3")
else
    sources=$(compgen -G "${CARGO_HOME:-$HOME/.cargo}/registry/src/*/*" | sed -nE 's/^(.*\/[^/]*)(-[0-9]+\.[0-9]+\.[0-9]+.*)$/\1 \1\2/p' | sort -k1,1 -k2,2V) || true
    twice=$(cut -d ' ' -f 1 <<<"$sources" | uniq -d)
    if [[ -z $twice ]]; then
        echo "SKIPPED two versions of a tree: no package is there in two releases" >&2
        exit 0
    fi
    largest=$(while read -r name; do echo "$(du -s "$name"-[0-9]* | sort -n | tail -n 1 | cut -f 1) $name"; done <<<"$twice" | sort -n | tail -n 1 | cut -d ' ' -f 2)
    read -r old new < <(grep -F "$largest " <<<"$sources" | cut -d ' ' -f 2 | tail -n 2 | tr '\n' ' ') || true
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
bytes() { find "$@" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }'; }

"$quipu" init store --name versions >/dev/null 2>&1
git init -q repository
export GIT_AUTHOR_NAME=q GIT_AUTHOR_EMAIL=q@q GIT_COMMITTER_NAME=q GIT_COMMITTER_EMAIL=q@q
for version in "$old" "$new"; do
    "$quipu" --store store put --dir "$version" tree/ 2>/dev/null
    git -C repository rm -rqf --ignore-unmatch .
    cp -r "$version/." repository
    git -C repository add -Af
    git -C repository commit -qm version
done
"$quipu" --store store gc --grace 0s >/dev/null
git -C repository gc -q --prune=now
"$quipu" --store store get --dir tree/ out 2>/dev/null
diff -r "$new" out

store=$(bytes store) objects=$(bytes repository/.git/objects) copies=$(bytes "$old" "$new")
awk -v store="$store" -v git="$objects" -v copies="$copies" -v old="$(basename "$old")" -v new="$(basename "$new")" 'BEGIN {
    ratio = store / git
    printf "| %s and %s, against git | %.2f | ≤ 1.5 | %s | ", old, new, ratio, ratio <= 1.5 ? "met" : "NOT MET"
    printf "%.2f MB in the store, %.2f MB in git after `git gc`, %.2f MB as plain copies: %.0f %% saved |\n", store / 1e6, git / 1e6, copies / 1e6, 100 * (1 - store / copies)
}'
