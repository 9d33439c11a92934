# Sourced by p*/run.sh and hw_report.sh with the user's arguments: sets data, preset, runs, out; what else was given
# (--limit, --epochs, --seed, --device …) is kept in `more` and goes to every training command. `pairs` are the domain pairs
# of common/uda.py, as "source target".
. "$(dirname "${BASH_SOURCE[0]}")/python.sh"
set -euo pipefail

fail() { echo "error: $1" >&2; exit 2; }

pairs=("usps mnistm" "mnistm svhn" "svhn usps")
flags='  --data DIR     data in the course layout (default: hw3_data; without it, sample data is made)
  --preset P     report, tuned or sample (default: report; sample for sample data)
  --runs DIR     where run folders go (default: runs/PRESET)
  --out DIR      where the report goes (default: report)
  --seeds N      p2, p3 and p4: N runs each, seeds 0 to N-1; tables show mean ± standard deviation
  --quiet        print nothing but errors
Other flags (--limit N, --epochs N, --seed N, --device NAME, --tensorboard …) go to all trainings.'
data='' preset='' runs='' out=report only='' seeds='' quiet='' tex='' more=()
while [ $# -gt 0 ]; do
    case $1 in
        -h|--help) printf '%s\n' "$usage" "$flags"; exit 0;;
        -q|--quiet) quiet=--quiet; shift;;
        --tex) tex=--tex; shift;;
        --data|--preset|--runs|--out|--seeds)
            [ $# -ge 2 ] || fail "$1 needs a value; see --help"
            printf -v "${1#--}" %s "$2"; shift 2;;
        --only)
            shift
            while [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; do only="$only $1"; shift; done;;
        *) more+=("$1"); shift;;
    esac
done
case $seeds in *[!0-9]*|0*) fail "--seeds $seeds is not a number from 1 up";; esac
case " ${more[*]-} " in *" --seed "*|*" --seed="*) [ -z "$seeds" ] || fail "--seeds $seeds chooses the seeds; leave --seed out";; esac
case $preset in ''|report|tuned|sample) ;; *) fail "--preset $preset: choose report, tuned or sample";; esac

set_up "$repository/requirements.txt" $modules

if [ -z "$data" ] && [ -d hw3_data ]; then
    data=hw3_data
elif [ -z "$data" ]; then
    data=sample_data preset=${preset:-sample}
    "$PYTHON" -m common.sample_data "$data" $quiet
fi
[ -d "$data" ] || fail "--data $data is not a folder; bash hw_download.sh makes one"
preset=${preset:-report} runs=${runs:-runs/${preset:-report}}

# Commands run in the background, because bash hears a signal only after a foreground command has ended
command=''
trap '[ -z "$command" ] || { kill -TERM "$command"; wait "$command"; }; exit 130' INT TERM

run() {  # run COMMAND…: runs it; Ctrl-C and SIGTERM reach it
    "$@" & command=$!
    wait "$command"
    command=''
}

train() {  # train PACKAGE RUN_NAME FLAG…: trains unless that run is finished, goes on with it if it was stopped
    run "$PYTHON" -m "$1.train" --data "$data" --preset "$preset" --run "$runs/$2" --resume $quiet "${@:3}" \
        ${more[@]+"${more[@]}"}
}

train_seeds() {  # train_seeds PACKAGE RUN_NAME FLAG…: as train, for each seed with --seeds
    [ -n "$seeds" ] || { train "$@"; return; }
    local seed
    for ((seed = 0; seed < seeds; seed++)); do
        train "$1" "$2$([ $seed = 0 ] || echo "_seed$seed")" --seed $seed "${@:3}"
    done
}

draw() {  # draw PACKAGE
    run "$PYTHON" -m "$1.figures" --runs "$runs" --out "$out" $quiet
}

has_domains() {  # has_domains DOMAIN…: whether the data has them; says so where it does not
    for domain in "$@"; do
        if [ ! -e "$data/digits/$domain/train.csv" ]; then
            [ -n "$quiet" ] || echo "Leaving out $1 → $2: $data/digits/$domain is not there"
            return 1
        fi
    done
}
