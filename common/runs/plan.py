"""What makes up the report: one table of runs, and whether a run folder holds what is asked for.

RUNS and COLLAPSE are all that says which runs there are, what defines each and where it lies. hw_report.py trains them, and
the problems' figures.py draw them.
"""
from typing import NamedTuple

from common.adaptation import AUGMENTATION, MODES, PAIRS
from common.cli import YES_NO, UsageError
from common.training.settings import PLACE, settings_gone, with_neutral

PACKAGES = {"p1": "p1_vae", "p2": "p2_dcgan", "p3": "p3_dann", "p4": "p4_adda"}
NOISES = ("uniform", "gaussian")
KL_WEIGHTS = (0.02, 0.05, 0.1, 0.25, 1.0)       # of the figure of rate against distortion
SEVERAL_SEEDS = ("p2", "p3", "p4")      # the problems of which --seeds trains several


class ReportRun(NamedTuple):
    selector: str           # what --only calls it
    folder: str             # its name below the folder of runs; those of other seeds than the first end in _seed1, _seed2 …
    defining: dict          # the settings that make it this run; all others are the same for all runs of the problem

    @property
    def problem(self):
        return self.selector.split(":")[0]


RUNS = (
    ReportRun("p1", "p1_vae", {}),
    *(ReportRun(f"p1:kl{weight:g}", f"p1_vae_kl{weight:g}", {"kl_weight": weight}) for weight in KL_WEIGHTS),
    *(ReportRun(f"p2:{noise}", f"p2_dcgan_{noise}", {"noise": noise}) for noise in NOISES),
    *(ReportRun(f"p3:{s}-{t}:{mode}", f"p3_{s}-{t}_{mode}", {"source": s, "target": t, "mode": mode})
      for s, t in PAIRS for mode in MODES),
    *(ReportRun(f"p4:{s}-{t}", f"p4_{s}-{t}", {"source": s, "target": t}) for s, t in PAIRS),
)
# ADDA that adapts as the report's did, for the page to show beside the same pair's run: in preset sample, as the runs of
# preset report are it themselves, and one of tuned takes long
COLLAPSE = ReportRun("p4:collapse", "p4_collapse", {
    "source": "usps", "target": "mnistm", "encoder_lr": 5e-3, "discriminator_lr": 5e-3, "beta1": 0.9, "conditional": False,
    "adversarial_weight": 1.0, "pseudo_weight": 0.0})
KNOWN = (*RUNS, COLLAPSE)       # what --only may name and figures may read; RUNS are those of every preset
DEFINING = {name for run in RUNS for name in run.defining}


def is_usual(run, settings):
    """Whether the report by a preset, which has these `settings` of the problem, has that run, asked for or not.

    The run p1 has one of the KL weights already; preset sample, which is for minutes, has only the paper's besides, and alone
    has COLLAPSE.
    """
    if run is COLLAPSE:
        return settings["preset"] == "sample"
    weight = run.defining.get("kl_weight")
    return weight is None or weight != settings["kl_weight"] and (weight == 1 or settings["preset"] != "sample")


def same_trainings(selector, settings):
    """The selectors of the runs that are the same training as that of `selector` with these settings, besides it.

    DANN's upper bound learns the labels of a domain as the lower bound of another pair does, unless images are changed: a
    source's are changed into what a target's may be.
    """
    if not selector.endswith(":target") or any(settings.get(row.name) != row.neutral for row in AUGMENTATION):
        return []
    domain = selector.split(":")[1].split("-")[1]
    return [f"p3:{source}-{target}:source" for source, target in PAIRS if source == domain]


def select(words):
    """The runs of the table that the selectors `words` name, each a whole selector or the beginning of some.

    Raises UsageError for a word that names none.
    """
    matches = lambda run, word: run.selector.split(":")[:word.count(":") + 1] == word.split(":")
    for word in words:
        if not any(matches(run, word) for run in KNOWN):
            raise UsageError(f"--only {word}: there is no such run; choose from {', '.join(PACKAGES)}, or, more "
                            f"specifically, from {', '.join(run.selector for run in KNOWN if ':' in run.selector)}")
    return [run for run in KNOWN if any(matches(run, word) for word in words)]


def differences(config, settings, data, neutral):
    """In what a run, by the content of its config.json, is another than one of these `settings` on this `data`.

    `data`: digests of splits, as of common.data.layout.digests; `neutral`: the values that settings which an older run did not
    know have for it, see `with_neutral`. Returns sentences' parts like "limit = 60, not all", none if it is the same; where a
    run was trained, and on what device, does not count.
    """
    theirs, digests = with_neutral(config["settings"], neutral, settings), config.get("data_digests", {})
    facts = [(name, theirs.get(name, None if value is None else "unknown"), value) for name, value in settings.items()
             if name not in PLACE]
    facts += [(f"data of {split}", digests.get(split, "unknown"), digest) for split, digest in data.items()]
    gone = [f"{name.replace('_', ' ')} = {_show(value)}, a setting that is gone"
            for name, value in settings_gone(theirs, {*settings, *PLACE}).items()]
    return [f"{name.replace('_', ' ')} = {_show(one)}, not {_show(other)}" for name, one, other in facts if one != other] + gone


def _show(value):
    return "all" if value is None else YES_NO.get(str(value), str(value))
