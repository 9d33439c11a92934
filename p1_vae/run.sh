#!/usr/bin/env bash
# Trains the VAE, then with other weights of the KL divergence, and draws problem 1 of the report.
usage='bash p1_vae/run.sh [--data DIR] [--preset P] [--runs DIR] [--out DIR] [training flags]
Trains the VAE where no finished run is there yet, then draws problem 1 of the report. The figure
of rate against distortion needs others: with KL weights from 0.02 to 1 (preset sample: 1 alone;
with --kl-weight: none).'
. "$(dirname "${BASH_SOURCE[0]}")/../common/job.sh"

train p1_vae p1_vae
weights='0.02 0.05 0.1 0.25 1.0'
[ "$preset" != sample ] || weights='1.0'
case " ${more[*]-} " in *" --kl-weight"*) weights='';; esac
for weight in $weights; do
    # the first run has one of them already
    grep -q "\"kl_weight\": $weight," "$runs/p1_vae/config.json" || train p1_vae "p1_vae_kl${weight%.0}" --kl-weight "$weight"
done
draw p1_vae
