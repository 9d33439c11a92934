#!/usr/bin/env bash
# Trains ADDA on the three pairs, then draws problem 4 of the report.
usage='bash p4_adda/run.sh [--data DIR] [--preset P] [--runs DIR] [--out DIR] [training flags]
Trains ADDA on the three pairs, then draws problem 4 of the report.'
. "$(dirname "${BASH_SOURCE[0]}")/../common/job.sh"

for pair in "${pairs[@]}"; do
    set -- $pair
    has_domains "$1" "$2" || continue
    train_seeds p4_adda "p4_$1-$2" --source "$1" --target "$2"
done
draw p4_adda
