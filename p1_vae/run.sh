#!/usr/bin/env bash
# Trains the VAE where no finished run is there yet, then draws problem 1 of the report.
usage='bash p1_vae/run.sh [--data DIR] [--preset P] [--runs DIR] [--out DIR] [training flags]
Trains the VAE where no finished run is there yet, then draws problem 1 of the report.'
. "$(dirname "${BASH_SOURCE[0]}")/../common/job.sh"

train p1_vae p1_vae
draw p1_vae
