#!/usr/bin/env bash
# Trains the DCGAN from uniform and from Gaussian noise, then draws problem 2 of the report.
usage='bash p2_dcgan/run.sh [--data DIR] [--preset P] [--runs DIR] [--out DIR] [training flags]
Trains the DCGAN from uniform and from Gaussian noise, then draws problem 2 of the report.
  --data DIR     data in the course layout (default: hw3_data if it is there, else sample data is made)
  --preset P     report, tuned or sample (default: report; sample for sample data)
  --runs DIR     where run folders go (default: runs/PRESET)
  --out DIR      where the report goes (default: report)
Other flags (--limit N, --epochs N, --seed N, --device NAME …) go to every training command.'
. "$(dirname "${BASH_SOURCE[0]}")/../common/job.sh"

for noise in uniform gaussian; do
    train p2_dcgan "p2_dcgan_$noise" --noise "$noise"
done
draw p2_dcgan
