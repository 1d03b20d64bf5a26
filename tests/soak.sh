# shellcheck shell=bash
#
# soak.sh - random tests with new seeds until the time is over. Sourced by run.sh, for its functions.
#
# Each round prints what it ran with which seed, so that a failure can be run again: docs/TESTING.md says how.
# A failure does not end the run: the others go on, and the last line counts.

soak_round() { # SEED
    local seed=$1
    run "soak/powercut --seed $seed" 1800 "$BUILD/tests/sim/powercut" --seed "$seed" --ops 400 --stride 3
    run "soak/faults --seed $seed" 1800 "$BUILD/tests/sim/faults" --seed "$seed" --stride 3
    run "soak/everything --seed $seed" 1800 "$BUILD/tests/sim/everything" --seed "$seed" --reads 3000000
    run "soak/race --seed $seed" 1800 "$BUILD/tests/sim/race" --seed "$seed" --reads 2000000
    run "soak/kill9 SEED=$seed" 1800 env SEED="$seed" tests/mount/kill9.sh "$BUILD" 20
    run "soak/fsfuzz SEED=$seed" 1800 env SEED="$seed" tests/mount/fsfuzz/fsfuzz.sh "$BUILD"
    run "soak/fuzz" 1800 tests/sim/fuzz/run.sh 20
}

soak_end=$(awk -v now="$(date +%s)" -v hours="$HOURS" 'BEGIN {printf "%d", now + hours * 3600}')
soak_rounds=0
while [ "$(date +%s)" -lt "$soak_end" ]; do
    soak_rounds=$((soak_rounds + 1))
    soak_round $((RANDOM * 32768 + RANDOM + 1))
done
wait_all
echo "$soak_rounds rounds"
