#!/bin/bash
# The main job on real input: the packages of this workspace's Cargo.lock, recorded by three
# replicas that diverge, conflict, merge in different orders to one state, travel back, fork and
# recover, and verify. Everything happens in a scratch folder that is removed at the end.
source "$(dirname "$0")/begin.sh"
lock=$(realpath "$(dirname "$0")/../Cargo.lock")
cd "$work"

# One operation a line: each package's version, source and dependencies.
packages() {
    awk -v part="$1" '
        function flush() {
            if (name == "" || n++ % 3 != part) { name = ""; return }
            printf "{\"op\":\"put\",\"key\":\"crate/%s/%s\",\"value\":\"%s\"}\n", name, version, checksum == "" ? "workspace" : checksum
            printf "{\"op\":\"add\",\"key\":\"names\",\"member\":\"%s\"}\n", name
            printf "{\"op\":\"inc\",\"key\":\"packages\",\"by\":1}\n"
            for (i = 0; i < deps; i++) printf "{\"op\":\"add\",\"key\":\"uses/%s\",\"member\":\"%s\"}\n", name, dep[i]
            name = ""
        }
        /^\[\[package\]\]/ { flush(); deps = 0; checksum = ""; listing = 0 }
        /^name = /     { gsub(/"/, "", $3); name = $3 }
        /^version = /  { gsub(/"/, "", $3); version = $3 }
        /^checksum = / { gsub(/"/, "", $3); checksum = $3 }
        /^\]/          { listing = 0 }
        listing        { gsub(/[",]/, "", $1); dep[deps++] = $1 }
        /^dependencies = \[/ { listing = 1 }
        END { flush() }' "$lock"
}

say "1. Alice starts a ledger; Bob and Carol clone it, each with a key of their own."
quiet init alice --name lockfile
for who in bob carol; do quiet clone alice "$who" --grant writer; done
for who in bob carol; do quiet --store "$who" merge alice; done
for who in alice bob carol; do
    for whose in alice bob carol; do
        key=$("$quipu" --store "$whose" identity show --json | field key | head -n 1)
        "$quipu" --store "$who" author name "$key" "$whose" >/dev/null
    done
done

say "2. Apart from each other, each records a third of the packages in Cargo.lock, signed."
part=0
for who in alice bob carol; do
    packages $part >"$who.ndjson"
    quiet --store "$who" put --batch "$who.ndjson" --group 50
    part=$((part + 1))
done
echo "$(cat ./*.ndjson | wc -l) operations on $(grep -c '^\[\[package\]\]' "$lock") packages"

say "3. Bob and Carol also disagree about one thing."
quiet --store bob put policy/duplicates "one version of each"
quiet --store carol put policy/duplicates "whatever resolves"

say "4. They merge in different orders, with nobody in charge."
run --store alice merge bob
quiet --store alice merge carol
quiet --store carol merge bob
quiet --store carol merge alice
quiet --store bob export bob.car
quiet --store bob merge carol
for who in alice bob carol; do "$quipu" --store "$who" dump --json >"$who.json"; done
cmp alice.json bob.json && cmp bob.json carol.json || fail "the states differ"
echo "one state on three replicas: $(field state_root <alice.json)"
echo "packages recorded: $("$quipu" --store alice get packages)"

say "5. The disagreement is kept until somebody settles it."
run --store alice conflicts
run --store alice get policy/duplicates --all
before=$("$quipu" --store alice status --json | sed 's/.*"heads":\[\([^]]*\)\].*/\1/; s/"//g; s/,/+/g')
quiet --store alice resolve policy/duplicates "one version of each"
run --store alice get policy/duplicates
echo

say "6. The past stays readable: the same register before it was settled, and what has changed since."
run --store alice get policy/duplicates --at "$before" --all
run --store alice diff "$before"

say "7. Carol's disk is restored from an old copy, and her key forks by accident."
cp -r carol carol-backup
quiet --store carol put carol/laptop "writing on"
quiet --store carol-backup put carol/laptop "restored, writing too"
run --store alice merge carol
run --store alice merge carol-backup
run --store alice status
echo "both branches are kept, and the fork is proved by its two events; Carol goes on with a new key:"
new=$("$quipu" --store carol-backup identity rotate --json | field new)
quiet --store alice member grant "$new" writer
quiet --store carol-backup merge alice
quiet --store carol-backup resolve carol/laptop "restored, with a key of its own"
quiet --store alice merge carol-backup
run --store alice get carol/laptop
echo

say "8. Everything is checked again from the raw events up, and by a stranger from a file."
quiet --store alice export all.car
quiet clone all.car stranger
for who in alice bob stranger; do run --store "$who" verify; done
"$quipu" --store alice dump --json >alice.json
"$quipu" --store stranger dump --json >stranger.json
cmp alice.json stranger.json || fail "the stranger reads something else"
echo "the stranger reads the same state from the file"
say "Done in $((SECONDS - start)) s."
