#!/usr/bin/env bash
# Trains the VAE, and others with more and less weight on the KL divergence, then draws problem 1 of the report.
usage='bash p1_vae/run.sh [--data DIR] [--preset P] [--runs DIR] [--out DIR] [training flags]
Trains the VAE where no finished run is there yet, and others with more and less weight on the KL divergence (none with
preset sample but 1.0, and none at all if --kl-weight is given), then draws problem 1 of the report.'
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
