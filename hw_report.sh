#!/usr/bin/env bash
# The whole report: trains what has no finished run yet, draws all figures, writes report/index.html.
usage='bash hw_report.sh [--data DIR] [--preset P] [--runs DIR] [--out DIR] [--only p1 p2 p3 p4] [training flags]
The whole report: trains what has no finished run yet, draws all figures, writes report/index.html.
  --data DIR     data in the course layout (default: hw3_data if it is there, else sample data is made)
  --preset P     report, tuned or sample (default: report; sample for sample data)
  --runs DIR     where run folders go (default: runs/PRESET)
  --out DIR      where the report goes (default: report)
Other flags (--limit N, --epochs N, --seed N, --device NAME …) go to every training command.'
. "$(dirname "${BASH_SOURCE[0]}")/common/job.sh"

for problem in ${only:-p1 p2 p3 p4}; do
    case $problem in
        p1) folder=p1_vae;; p2) folder=p2_dcgan;; p3) folder=p3_dann;; p4) folder=p4_adda;;
        *) fail "--only $problem: choose from p1, p2, p3, p4";;
    esac
    bash "$repository/$folder/run.sh" --data "$data" --preset "$preset" --runs "$runs" --out "$out" ${more[@]+"${more[@]}"}
done
"$PYTHON" -m common.report "$out"
