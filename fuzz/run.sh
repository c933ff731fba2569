#!/bin/sh
# Fuzz every target for some minutes each, and print what was done:  fuzz/run.sh MINUTES [TARGET ..]
# Needs a nightly Rust, `cargo install cargo-fuzz --locked`, and the development environment for the seeds.
# Inputs that were found go to target/fuzzing/corpus and are begun with the next time; findings to target/fuzzing/artifacts.
set -eu
cd "$(dirname "$0")"
minutes=$1
shift
work=$PWD/../target/fuzzing
export CARGO_TARGET_DIR="$work" RAYON_NUM_THREADS=1 TMPDIR="${FUZZ_TMPDIR:-/dev/shm}"
[ $# -gt 0 ] || set -- $(cargo +nightly fuzz list --fuzz-dir .)
python seeds.py "$work/seeds"
status=0
printf '| target | minutes | executions | edges | inputs | peak MB | findings |\n| --- | --- | --- | --- | --- | --- | --- |\n'
for target in "$@"; do
    mkdir -p "$work/corpus/$target" "$work/artifacts/$target"
    log=$work/$target.log
    : >"$log"
    began=$(date +%s)
    end=$((began + $(awk "BEGIN { print int(60 * $minutes) }")))
    findings=0
    executions=0
    peak=0
    # A finding ends the process; the rest of the time goes on.
    while left=$((end - $(date +%s))) && [ "$left" -gt 0 ]; do
        ended=0
        nice -n 19 cargo +nightly fuzz run --fuzz-dir . "$target" \
            "$work/corpus/$target" "$work/seeds/$target" -- -max_total_time="$left" \
            -max_len=16384 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
            -artifact_prefix="$work/artifacts/$target/" >"$log.now" 2>&1 || ended=$?
        cat "$log.now" >>"$log"
        now=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log.now")
        executions=$((executions + ${now:-0}))
        now=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log.now")
        [ "${now:-0}" -le "$peak" ] || peak=$now
        [ "$ended" -ne 0 ] || break
        findings=$((findings + 1))
        status=1
        grep -q 'Test unit written' "$log.now" || { tail -n 20 "$log.now" >&2; break; }
    done
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | sort -n | tail -n 1)
    printf '| %s | %s | %s | %s | %s | %s | %s |\n' "$target" "$((($(date +%s) - began) / 60))" "$executions" \
        "${edges:--}" "$(ls "$work/corpus/$target" | wc -l)" "$peak" "$findings"
done
exit $status
