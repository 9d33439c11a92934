#!/usr/bin/env bash
# Trains ADDA on the three pairs, then draws problem 4 of the report.
usage='bash p4_adda/run.sh [--data DIR] [--preset P] [--runs DIR] [--out DIR] [training flags]
Trains ADDA on the three pairs, then draws problem 4 of the report.
  --data DIR     data in the course layout (default: hw3_data if it is there, else sample data is made)
  --preset P     report, tuned or sample (default: report; sample for sample data)
  --runs DIR     where run folders go (default: runs/PRESET)
  --out DIR      where the report goes (default: report)
Other flags (--limit N, --epochs N, --seed N, --device NAME …) go to every training command.'
. "$(dirname "${BASH_SOURCE[0]}")/../common/job.sh"

for pair in "usps mnistm" "mnistm svhn" "svhn usps"; do
    set -- $pair
    has_domains "$1" "$2" || continue
    train p4_adda "p4_$1-$2" --source "$1" --target "$2"
done
draw p4_adda
