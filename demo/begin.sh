# What the demos begin with: a scratch folder that is removed at the end, and ways to show a command.
# Read by them with `source`; $1 is the path of the quipu binary.
set -euo pipefail
quipu=$(realpath "${1:?path of the quipu binary}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
start=$SECONDS

bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'
if [[ ! -t 1 || -n ${NO_COLOR:-} ]]; then bold='' dim='' plain=''; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
run() { printf '%s$ quipu %s%s\n' "$dim" "$*" "$plain"; "$quipu" "$@"; }
quiet() { printf '%s$ quipu %s%s\n' "$dim" "$*" "$plain"; "$quipu" "$@" >/dev/null; }
fail() { echo "the demo went wrong: $*" >&2; exit 1; }
# The first text of this name in a line of JSON.
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
