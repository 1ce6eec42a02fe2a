# What demos with daemons begin with: starting and ending them in a folder that goes with the demo.
source "$(dirname "${BASH_SOURCE[0]}")/begin.sh"
cd "$work"

declare -A pid
stop() { kill "${pid[$1]}"; wait "${pid[$1]}"; unset "pid[$1]"; }
end() { for who in "${!pid[@]}"; do kill -9 "${pid[$who]}" 2>/dev/null || true; done; rm -rf "$work"; }
trap end EXIT
# serve WHO [WRAPPER…] -- OPTIONS…
serve() {
    local who=$1 wrapper=()
    shift
    while [[ $1 != -- ]]; do wrapper+=("$1"); shift; done
    shift
    printf '%s$ quipu --store %s serve %s &%s\n' "$dim" "$who" "$*" "$plain"
    "${wrapper[@]}" "$quipu" --store "$who" serve "$@" >"$who.out" 2>"$who.log" &
    pid[$who]=$!
    for _ in $(seq 100); do
        ! grep -q ready "$who.out" || return 0
        sleep 0.1
    done
    fail "$who is not ready: $(tail -n 3 "$who.log")"
}
# until_there WHO KEY [OPTIONS…]: waits until it can be read there.
until_there() {
    for _ in $(seq 300); do
        ! "$quipu" --store "$1" get "${@:2}" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    fail "$2 has not come to $1"
}
free_port() { python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
