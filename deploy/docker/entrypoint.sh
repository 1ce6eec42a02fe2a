#!/bin/sh
# Sees to it that this node has a store, then serves it. Arguments go to `quipu serve`.
#
# A node without a store copies the ledger from the peer that QUIPU_PEER_FILE names, which lets it in
# once an admin of the ledger has granted its key a role. While there is no such file, the node named
# QUIPU_FOUNDER founds the ledger and the others wait. So nothing here can found a ledger twice, or
# give anybody a role.
#
#   QUIPU_STORE            the store's directory
#   QUIPU_NODE             this node's name (the host's)
#   QUIPU_FOUNDER          the name of the node that founds the ledger
#   QUIPU_LEDGER           a name for the ledger
#   QUIPU_PEER_FILE        a file with quic://KEY@HOST:PORT; the founder writes it where it may
#   QUIPU_ASK_DIR          where a node leaves its key in a file of its name, for `admit.sh`; may be empty
#   QUIPU_LISTEN           the UDP address to listen on (0.0.0.0:7420)
#   QUIPU_ANNOUNCE         HOST:PORT where others reach this node (its name, port 7420)
#   QUIPU_PASSPHRASE_FILE  a file with the key's passphrase; may be empty
set -eu
export QUIPU_STORE="${QUIPU_STORE:?names no directory}"
peer_file=${QUIPU_PEER_FILE:?names no file}
node=${QUIPU_NODE:-$(uname -n)}
announce=${QUIPU_ANNOUNCE:-$node:7420}
# How long to wait between attempts, in seconds.
pause=2
# What is made here is nobody else's.
umask 077

say() { echo "$node: $*" >&2; }
fail() {
    say "$@"
    exit 1
}

with_key() {
    if [ -n "${QUIPU_PASSPHRASE_FILE:-}" ]; then
        quipu --passphrase-file "$QUIPU_PASSPHRASE_FILE" "$@"
    else
        quipu "$@"
    fi
}

# The first process of a container is sent signals that it does not ask for in vain.
trap 'exit 143' TERM INT

# Nobody serves the store yet: a socket is left from a daemon that was killed, and must not make
# anybody who looks for one open the store instead.
rm -f "$QUIPU_STORE/socket"

key() { quipu identity show --json | sed 's/.*"key":"\([0-9a-f]*\)".*/\1/'; }

has_store() {
    status=0
    said=$(quipu identity show 2>&1) || status=$?
    case $status in
        0) return 0 ;;
        10) return 1 ;;
        *) fail "$said" ;;
    esac
}

# Where to copy the ledger from; nothing while nobody says.
peer() { if [ -s "$peer_file" ]; then head -n 1 "$peer_file"; fi; }

# Copies the ledger, as soon as the peer lets this node in.
copy() {
    told=''
    while :; do
        status=0
        said=$(with_key clone "$(peer)" "$QUIPU_STORE" 2>&1 >/dev/null) || status=$?
        if [ "$said" != "$told" ]; then
            say "$said"
            told=$said
        fi
        if [ "$status" -eq 0 ]; then return; fi
        # Anything else than not being let in, or nobody being there, does not get better.
        if [ "$status" -ne 1 ]; then exit "$status"; fi
        ask "$said"
        sleep "$pause"
    done
}

# Leaves the key of a node that was not let in where an admin finds it.
ask() {
    asking=$(printf '%s\n' "$1" | sed -n "s/.*does not admit this replica's key, \([0-9a-f]\{64\}\).*/\1/p")
    if [ -n "$asking" ] && [ -n "${QUIPU_ASK_DIR:-}" ]; then
        echo "$asking" >"$QUIPU_ASK_DIR/$node.new"
        chmod 0644 "$QUIPU_ASK_DIR/$node.new"
        mv "$QUIPU_ASK_DIR/$node.new" "$QUIPU_ASK_DIR/$node"
    fi
}

if ! has_store; then
    while [ -z "$(peer)" ] && [ "$node" != "${QUIPU_FOUNDER:-}" ]; do
        [ -n "${waits:-}" ] || say "waiting for $peer_file to name a peer"
        waits=yes
        sleep "$pause"
    done
    case $(peer) in
        '')
            say "founding the ledger"
            with_key init "$QUIPU_STORE" --name "${QUIPU_LEDGER:-}" >&2
            ;;
        *"@$announce")
            fail "the store is gone, and others may have its ledger: have $peer_file name one of them"
            ;;
        *) copy ;;
    esac
fi

if [ "$node" = "${QUIPU_FOUNDER:-}" ] && [ -z "$(peer)" ]; then
    if (echo "quic://$(key)@$announce" >"$peer_file.new" && chmod 0644 "$peer_file.new") 2>/dev/null; then
        mv "$peer_file.new" "$peer_file"
    else
        say "others find this node by quic://$(key)@$announce: write that to their $peer_file"
    fi
fi

set -- serve --listen "${QUIPU_LISTEN:-0.0.0.0:7420}" --announce "$announce" "$@"
if [ -n "${QUIPU_PASSPHRASE_FILE:-}" ]; then set -- --passphrase-file "$QUIPU_PASSPHRASE_FILE" "$@"; fi
exec quipu "$@"
