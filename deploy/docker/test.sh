#!/bin/bash
# The life of four nodes as compose.yaml runs them, with processes in place of containers: the entry
# point, the script that admits and the health check are the same. `deploy/docker/test.sh QUIPU`.
set -euo pipefail
cd "$(dirname "$0")"
dir=$(mktemp -d)
mkdir "$dir/bin" "$dir/meet" "$dir/meet/asking"
ln -s "$(realpath "${1:?names no binary}")" "$dir/bin/quipu"
export PATH="$dir/bin:$PATH"
declare -A pids=()
# Of loopback alone, so that nothing else is in the way.
host=127.7.42.0

finish() {
    local code=$?
    ((${#pids[@]} == 0)) || kill -9 "${pids[@]}" 2>/dev/null || true
    wait
    if ((code)); then tail -n 20 "$dir"/*.log >&2; fi
    rm -rf "$dir"
    exit "$code"
}
trap finish EXIT

fail() {
    echo "$*" >&2
    exit 1
}

# Waits until a command succeeds, for at most a minute.
until_so() {
    local _
    for _ in {1..300}; do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.2
    done
    fail "in vain: $*"
}

start() {
    local n=$1
    QUIPU_STORE=$dir/node-$n QUIPU_NODE=node-$n QUIPU_FOUNDER=node-1 QUIPU_LEDGER=shop \
        QUIPU_PEER_FILE=$dir/meet/peer QUIPU_ASK_DIR=$dir/meet/asking \
        QUIPU_LISTEN=${host%0}$n:7420 QUIPU_ANNOUNCE=${host%0}$n:7420 \
        QUIPU_PASSPHRASE_FILE=${2:-} ./entrypoint.sh --log-format json >>"$dir/$n.log" 2>&1 &
    pids[$n]=$!
}

stop() {
    kill "-$1" "${pids[$2]}"
    # The shell says so when something is killed.
    wait "${pids[$2]}" 2>/dev/null || [[ $1 != TERM ]] || fail "node $2 did not end well"
    unset "pids[$2]"
}

at() { quipu --store "$dir/node-$1" "${@:2}"; }
healthy() { QUIPU_STORE=$dir/node-$1 ./healthy.sh; }
asks() { [[ -f $dir/meet/asking/node-$1 ]]; }
shows() { [[ $(at "$1" get "$2") == "$3" ]]; }
admit() { QUIPU_STORE=$dir/node-${by:-1} QUIPU_ASK_DIR=$dir/meet/asking ./admit.sh "$@"; }

echo 'a passphrase' >"$dir/passphrase"

# Newcomers that start first wait for a founder.
start 2 "$dir/passphrase"
start 3
! healthy 2 || fail "a node without a store is healthy"
start 1
until_so healthy 1
at 1 put before "they came" >/dev/null

# They ask, and are let in by nobody but an admin.
until_so asks 2
until_so asks 3
! healthy 2 || fail "a node that was not let in is healthy"
admit </dev/null >/dev/null 2>&1 || fail "admitting nobody failed"
asks 2 || fail "a node was admitted without an answer"
admit --yes >/dev/null
start 4
until_so asks 4
echo y | admit node-4 >/dev/null 2>&1
for n in 2 3 4; do
    until_so healthy "$n"
    until_so shows "$n" before "they came"
done
grep -q ENCRYPTED "$dir/node-2/identity.pem" || fail "the passphrase was not used"

# A second admin, for when the first is lost.
is_admin() { [[ $(at "$1" identity show) == *admin* ]]; }
key_of() { at "$1" identity show --json | sed 's/.*"key":"\([0-9a-f]*\)".*/\1/'; }
at 1 member grant "$(key_of 2)" admin >/dev/null
until_so is_admin 2

# What one writes, all get: they know each other, not the founder alone.
stop TERM 1
at 2 put while "the founder is away" >/dev/null
for n in 3 4; do until_so shows "$n" while "the founder is away"; done

# After a kill and after an orderly end, the same command goes on.
stop KILL 3
start 1
start 3
for n in 1 3; do until_so healthy "$n"; done
until_so shows 1 while "the founder is away"

# A founder whose store is gone founds no other ledger in its place. With another peer it comes back.
stop TERM 1
rm -rf "$dir/node-1"
start 1
if wait "${pids[1]}"; then fail "a founder without its store went on"; fi
[[ ! -e $dir/node-1 ]] || fail "a second ledger was founded"
echo "quic://$(key_of 2)@${host%0}2:7420" >"$dir/meet/peer"
start 1
until_so asks 1
by=2 admit --yes node-1 >/dev/null
until_so healthy 1
until_so shows 1 before "they came"

kill -TERM "${pids[@]}"
for n in 1 2 3 4; do
    wait "${pids[$n]}" || fail "node $n did not end well"
    unset "pids[$n]"
done
echo "four nodes: founded, admitted, in step, killed, restarted, replaced; no second ledger"
