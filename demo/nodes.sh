#!/bin/bash
# Three daemons that keep one record: they find each other, replicate live, are cut off from each other,
# go on writing on both sides, and end with one state. The cut is real where the system lets us: the third
# daemon then runs in a network namespace of its own.
source "$(dirname "$0")/daemons.sh"

state() { "$quipu" --store "$1" dump --json | sha256sum | cut -c 1-16; }
# until_one_state WHO…: waits until all of them show the same.
until_one_state() {
    for _ in $(seq 150); do
        [[ $(for who in "$@"; do state "$who"; done | sort -u | wc -l) != 1 ]] || return 0
        sleep 0.2
    done
    fail "$* differ after 30 s"
}

say "1. The harbour starts a ledger; the ship and the depot clone it, each with a key of its own."
quiet init harbour --name cargo
for who in ship depot; do quiet clone harbour "$who" --grant writer; done

say "2. Each serves its own store. Two are told of the harbour, and hear of each other from it."
harbour=127.0.0.1:$(free_port)
key=$("$quipu" --store harbour identity show --json | field key)
serve harbour -- --listen "$harbour"
for who in ship depot; do serve "$who" -- --listen 127.0.0.1:0 --join "quic://$key@$harbour"; done
for who in harbour ship depot; do run --store "$who" put "boot/$who" "is there"; done
until_one_state harbour ship depot
for _ in $(seq 50); do
    [[ $("$quipu" --store ship peers --json | grep -c '"state":"connected"') != 2 ]] || break
    sleep 0.1
done
run --store ship peers

say "3. The ship sails: it is cut off, and goes on writing. So does everybody else."
stop ship
if unshare -n true 2>/dev/null; then
    serve ship unshare -n -- --join "quic://$key@$harbour"
elif unshare -rn true 2>/dev/null; then
    serve ship unshare -rn -- --join "quic://$key@$harbour"
else
    echo "(no network namespaces here: the ship writes without a daemon)"
fi
for number in $(seq 1 20); do
    "$quipu" --store ship put "container/$number" "loaded at sea" >/dev/null
    "$quipu" --store ship inc containers >/dev/null
    "$quipu" --store depot put "container/$((number + 10))" "loaded in the depot" >/dev/null
    "$quipu" --store depot inc containers >/dev/null
done
until_one_state harbour depot
echo "harbour and depot: $(state harbour)   ship: $(state ship)"
[[ $(state ship) != $(state harbour) ]] || fail "the ship is not cut off"
run --store ship get containers
run --store harbour get containers

say "4. It comes back. Nobody has to do anything: the histories merge by themselves."
[[ -z ${pid[ship]:-} ]] || stop ship
serve ship -- --listen 127.0.0.1:0 --join "quic://$key@$harbour"
until_one_state harbour ship depot
echo "harbour: $(state harbour)   ship: $(state ship)   depot: $(state depot)"
run --store depot get containers
[[ $("$quipu" --store depot get containers) == 40 ]] || fail "an increment is lost"
echo "$("$quipu" --store depot conflicts --json | wc -l) containers were loaded twice; for one of them:"
run --store depot get container/15 --all

say "5. All three verify."
for who in harbour ship depot; do quiet --store "$who" verify; stop "$who"; done

say "done in $((SECONDS - start)) s"
