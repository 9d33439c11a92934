#!/usr/bin/env bash
# Trains the VAE where no finished run is there yet, then draws problem 1 of the report.
usage='bash p1_vae/run.sh [--data DIR] [--preset P] [--runs DIR] [--out DIR] [training flags]
Trains the VAE where no finished run is there yet, then draws problem 1 of the report.
  --data DIR     data in the course layout (default: hw3_data if it is there, else sample data is made)
  --preset P     report, tuned or sample (default: report; sample for sample data)
  --runs DIR     where run folders go (default: runs/PRESET)
  --out DIR      where the report goes (default: report)
Other flags (--limit N, --epochs N, --seed N, --device NAME …) go to every training command.'
. "$(dirname "${BASH_SOURCE[0]}")/../common/job.sh"

train p1_vae p1_vae
draw p1_vae
