#!/bin/bash
# Trees of files on real input: the sources of all packages in this workspace's Cargo.lock, from
# cargo's registry. They are stored, updated to later releases, and restored as they are and as they
# were; then a release is withdrawn, erased and collected. Restored trees are compared byte by byte.
source "$(dirname "$0")/begin.sh"
lock=$(realpath "$(dirname "$0")/../Cargo.lock")
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
cd "$work"
same() { diff -r "$1" "$2" && echo "$2 is $1, byte by byte"; }

# name, version and directory of each package whose sources are at hand, older releases first.
releases() {
    awk '/^name = /{ name = $3 } /^version = /{ print name, $3 }' "$lock" | tr -d '"' | sort -k1,1 -k2,2V |
        while read -r name version; do
            for dir in "$registry"/*/"$name-$version"; do
                [[ ! -d $dir ]] || echo "$name $version $dir"
            done
        done
}

releases >releases
if [[ ! -s releases ]]; then
    echo "SKIPPED the demo of trees: no sources of dependencies in $registry"
    exit 0
fi
# Linked where the registry is on the same file system: nothing is going to write to them.
copy() { cp -rl "$1" "$2" 2>/dev/null || { rm -rf "$2" && cp -r "$1" "$2"; }; }
mkdir before after
while read -r name _ dir; do
    [[ -e before/$name ]] || copy "$dir" "before/$name"
    rm -rf "after/$name"
    copy "$dir" "after/$name"
done <releases
updated=$(cut -d ' ' -f 1 releases | uniq -d)
[[ -n $updated ]] || fail "no package is there in two releases"
# One is kept for the last part: what it takes up must be nobody else's.
withdrawn=$(cd after && du -s $updated | sort -n | tail -n 1 | cut -f 2)
updated=$(grep -vx "$withdrawn" <<<"$updated")
mv "before/$withdrawn" old
mv "after/$withdrawn" new

say "1. The sources of $(find before -mindepth 1 -maxdepth 1 | wc -l) packages become registers: $(find before -type f | wc -l) files, $(du -sm before | cut -f 1) MB."
"$quipu" init store --name sources >/dev/null
export QUIPU_STORE=$work/store
run put --dir before sources/
run du sources/
then=$("$quipu" clock)

say "2. $(wc -l <<<"$updated") packages are updated: $(tr '\n' ' ' <<<"$updated")"
run put --dir after sources/
run du sources/
echo "$(du -sm store | cut -f 1) MB on the disk for both"

say "3. The tree comes back as it is, and as it was."
run get --dir sources/ now
same after now
run get --dir sources/ then --at "$then"
same before then

say "4. A release of $withdrawn is replaced by a later one, and withdrawn."
"$quipu" put --dir old "$withdrawn/" --json | field event >events
run du "$withdrawn/"
run put --dir new "$withdrawn/"
while read -r event; do "$quipu" redact "$event" >/dev/null; done <events
echo "erased; what the later release has in common with it is stored again, and the rest collected:"
run put --dir new "$withdrawn/"
run gc
run get --dir "$withdrawn/" later
same new later
run verify
say "Done in $((SECONDS - start)) s."
