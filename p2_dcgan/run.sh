#!/usr/bin/env bash
# Trains the DCGAN from uniform and from Gaussian noise, then draws problem 2 of the report.
usage='bash p2_dcgan/run.sh [--data DIR] [--preset P] [--runs DIR] [--out DIR] [training flags]
Trains the DCGAN from uniform and from Gaussian noise, then draws problem 2 of the report.'
. "$(dirname "${BASH_SOURCE[0]}")/../common/job.sh"

for noise in uniform gaussian; do
    train_seeds p2_dcgan "p2_dcgan_$noise" --noise "$noise"
done
draw p2_dcgan
