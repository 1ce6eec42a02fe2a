#!/bin/bash
# Four validators certify what was written, while everybody goes on writing. A proof of one fact goes into a
# file, and a stranger who has nothing but the genesis id checks it.
source "$(dirname "$0")/daemons.sh"

say "1. Four companies keep one record; each validates."
quiet init port --name customs
genesis=$("$quipu" --store port status --json | field ledger)
for who in carrier bank insurer; do
    quiet clone port "$who" --grant writer
    quiet --store port member grant "$("$quipu" --store "$who" identity show --json | field key)" validator
done
run --store port validators

say "2. Each serves its own store, and writes. Nobody waits for a certificate."
port=127.0.0.1:$(free_port)
key=$("$quipu" --store port identity show --json | field key)
serve port -- --listen "$port"
for who in carrier bank insurer; do serve "$who" -- --listen 127.0.0.1:0 --join "quic://$key@$port"; done
for number in $(seq 1 20); do "$quipu" --store carrier put "crate/$number" "unloaded at berth 7" >/dev/null; done
run --store bank put letter/4711 paid

say "3. The insurer wants to know when the payment cannot be taken back: it waits until a quorum has certified."
run --store insurer put policy/4711 "covered" --wait final --timeout 60s
until_there insurer letter/4711 --final
run --store insurer get letter/4711 --final; echo
run --store insurer checkpoint list

say "4. Without a quorum nothing is certified, and writing goes on."
until_there port letter/4711 --final
for who in bank insurer; do stop "$who"; done
run --store carrier put crate/21 "unloaded at berth 9"
until_there port crate/21
run --store port get crate/21; echo
run --store port status
for who in port carrier; do quiet --store "$who" verify; done

say "5. What was certified can be proven all the same, in a small file."
run --store port prove key letter/4711 -o letter.proof
echo "$(stat -c %s letter.proof) bytes"

say "6. A stranger has the file and the genesis id: no store, no network, no trust in anybody above."
mkdir stranger && mv letter.proof stranger && cd stranger
run check letter.proof --genesis "$genesis"
middle=$(($(stat -c %s letter.proof) / 2))
byte=$(od -An -tu1 -j "$middle" -N 1 letter.proof)
printf "\\x$(printf %02x $((byte ^ 255)))" | dd of=letter.proof bs=1 seek="$middle" conv=notrunc status=none
echo "the same with one byte changed:"
"$quipu" check letter.proof --genesis "$genesis" 2>&1 && fail "a changed proof is accepted"

for who in port carrier; do stop "$who"; done
say "done in $((SECONDS - start)) s"
