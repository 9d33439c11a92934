#!/usr/bin/env bash
# The whole report: trains what has no finished run yet, draws all figures, writes report/index.html.
usage='bash hw_report.sh [--data DIR] [--preset P] [--only p1 p2 p3 p4] [--tex] [other flags]
The whole report: trains what has no finished run yet, draws all figures, writes report/index.html.
  --only P…      some problems only, of p1 p2 p3 p4
  --tex          write report.tex too: tables and figures for LaTeX'
. "$(dirname "${BASH_SOURCE[0]}")/common/job.sh"

scripts=()
for problem in ${only:-p}; do       # p1 stands for the folder p1_vae, and p for all problems
    found=("$repository/$problem"*_*/run.sh)
    [ -f "${found[0]}" ] || fail "--only $problem: choose from p1, p2, p3, p4"
    scripts+=("${found[@]}")
done
for script in "${scripts[@]}"; do
    run bash "$script" --data "$data" --preset "$preset" --runs "$runs" --out "$out" \
        ${seeds:+--seeds $seeds} $quiet ${more[@]+"${more[@]}"}
done
"$PYTHON" -m common.report "$out" $tex $quiet
