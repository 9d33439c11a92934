#!/usr/bin/env bash
# Trains DANN and its two bounds on the three pairs, then draws problem 3 of the report.
usage='bash p3_dann/run.sh [--data DIR] [--preset P] [--runs DIR] [--out DIR] [training flags]
Trains DANN and its two bounds on the three pairs, then draws problem 3 of the report.'
. "$(dirname "${BASH_SOURCE[0]}")/../common/job.sh"

for pair in "${pairs[@]}"; do
    set -- $pair
    has_domains "$1" "$2" || continue
    for mode in source dann target; do
        train_seeds p3_dann "p3_$1-$2_$mode" --source "$1" --target "$2" --mode "$mode"
    done
done
draw p3_dann
