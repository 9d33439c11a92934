"""The weights in p*/weights/, shown: the first section of the page, with the words of hw_shipped.md; README.md's picture.

    python3 hw_shipped.py docs/results.png              # the picture, from the weights, the json beside each, docs/tsne.csv
    python3 hw_shipped.py docs/results.png --data DIR   # the same, and docs/tsne.csv anew
"""
import csv
import statistics

# before the packages below: it says which are missing
from common.cli import CommandParser, UserError, any_path, duration, path_to_write, percent, run_command, say

# isort: split
import numpy as np
import torch

import p1_vae.inference
import p2_dcgan.inference
import p3_dann.inference
import p4_adda.inference
from common.adaptation import NAMES, OTHERS, PAIRS, accuracy, pair_name, reported
from common.data.csv_files import write_csv
from common.data.layout import has_dataset, is_sample_data, load_digits, load_faces
from common.files import REPOSITORY, read_json, write_json, written_whole
from common.metrics.faces import show_interval, sliced_wasserstein, spread
from common.report.section import Section
from common.report.words import Words
from common.training.augment import to_bytes
from common.training.weights import load_file, load_weights
from p1_vae.train import evaluate

COMMAND = ("bash hw_p1.sh vae.png; bash hw_p2.sh gan.png; bash hw_p4.sh hw3_data/digits/mnistm/test mnistm pred.csv; "
           "python3 hw_eval.py pred.csv hw3_data/digits/mnistm/test.csv")
METHODS = {"p3_dann": ("DANN", "dann", p3_dann.inference.load_network),
           "p4_adda": ("ADDA", "adda", p4_adda.inference.load_network)}
OTHERS_MSE, REPORT_MSE = 0.0128, 0.0928         # of the VAE: the best other answer's, the mean of the report's ten images
NEEDED = {"p1_vae": ("test_mse", "test_images"), "p3_dann": ("target_accuracy",), "p4_adda": ("target_accuracy",)}
TSNE = REPOSITORY / "docs" / "tsne.csv"
TSNE_PAIR = ("usps", "mnistm")
words = Words(__file__, "hw_shipped.md")


def shipped(problem):
    """The weights in a problem's folder that were trained on real data, as a json beside them says: {file name without .pt:
    (path, content of the json)}."""
    found = {}
    for path in sorted((REPOSITORY / problem / "weights").glob("*.pt")):
        beside = path.with_suffix(".json")
        if beside.is_file() and not load_file(path, "meta")["meta"].get("sample_data"):
            found[path.stem] = path, read_json(beside, *NEEDED.get(problem, ()), data=str, command=str, epochs=int,
                                               train_seconds=(int, float))
    return found


def shipped_digits():
    """Those of DANN and ADDA that are of a pair of the report's: {problem: {(source, target): (path, content of the json)}}."""
    return {problem: {pair: files["-".join(pair)] for pair in PAIRS if "-".join(pair) in files}
            for problem, files in ((problem, shipped(problem)) for problem in METHODS)}


def draw_shipped(out, data, limit=None, device="cpu"):
    """Write OUT/shipped.json, and its figures, which common/report/page.py puts first.

    Where the folder `data` holds real images, the models are measured on its test images too, the first `limit` of each.
    Raises UserError if weights or images are damaged.
    """
    section = Section(out, "shipped", words.title, prefix="shipped")
    real = not is_sample_data(data)
    models, measured = [], {}
    faces = _faces(section, models, data if real and has_dataset(data, "face") else None, limit)
    digits = shipped_digits()
    for problem, (name, _, load) in METHODS.items():
        for pair, (path, about) in digits[problem].items():
            models.append((f"{name}, {pair_name(pair)}", about))
            if real and has_dataset(data, pair[1]):
                network, _ = load(path, torch.device(device))
                measured[problem, pair] = accuracy(network, load_digits(data, pair[1], "test", limit), torch.device(device))
    if any(digits.values()):
        _accuracies(section, digits, measured, limit)
    if not models:
        return
    section.results = {"faces": faces} | {f"{'-'.join(pair)}_{METHODS[problem][1]}": value
                                          for (problem, pair), value in measured.items()}
    section.blocks.append({
        "kind": "table", "fold": words("trained"), "words": True, "header": ["", "data", "command", "training"],
        "rows": [[name, about["data"], f"{about['command']} --seed {about.get('seed', 0)}",
                  f"{about['epochs']} epochs, {duration(about['train_seconds'])}, {about.get('hardware', 'unknown hardware')}, "
                  f"revision {about.get('git_revision', 'unknown')}"] for name, about in models],
        "caption": words("trained_table")})
    write_json(out / "shipped.json", {"title": words.title, "notice": words("notice"), "blocks": section.blocks,
                                      "results": section.results, "command": COMMAND})


def _faces(section, models, data, limit):
    """32 faces of each model; returns what was measured on the faces of the folder `data`, if there is one."""
    from common.report.plots import draw_grid  # slow to import, with matplotlib

    swd, results = "samples_swd_mean_and_95_percent", {}
    test, train = (load_faces(data, split, limit).images for split in ("test", "train")) if data else (None, None)
    for problem, name, sample in (("p1_vae", "VAE", p1_vae.inference.sample_weights),
                                  ("p2_dcgan", "DCGAN", p2_dcgan.inference.sample_weights)):
        for path, about in list(shipped(problem).values())[:1]:
            models.append((name, about))
            if name == "VAE":
                caption = words("vae", images=about["test_images"], mse=about["test_mse"], reported=REPORT_MSE,
                                other=OTHERS_MSE)
            else:
                caption = words("dcgan")
            if swd in about:
                own, floor = show_interval(about[swd]), about.get("real_test_faces_swd_mean_and_95_percent")
                caption += " " + (words("swd_and_floor", swd=own, floor=show_interval(floor)) if floor else
                                  words("swd", swd=own))
            draw_grid(section.figure(problem.split("_")[1], caption, half=True), sample(path))
            if data:
                results[name] = {"swd": sliced_wasserstein(to_bytes(sample(path, len(spread(test)))), train)}
                if name == "VAE":
                    vae = p1_vae.inference.VAE()
                    load_weights(path, vae=vae)
                    results[name] |= evaluate(vae, test)
    if results:
        section.text(words("faces_here", images=len(test), models="; ".join(
            f"{name}, " + ", ".join([*([words("mse_here", mse=row["test_mse"])] if "test_mse" in row else []),
                                     *([words("swd_here", swd=show_interval(row["swd"]["mean"]))] if row["swd"] else [])])
            for name, row in results.items())))
    return results


def _accuracies(section, digits, measured, limit):
    """Charts and table of DANN and ADDA beside the report and the best other answer."""
    charts, rows = [], []
    means = {problem: {pair: _mean(about) for pair, (_, about) in files.items()} for problem, files in digits.items()}
    for pair in PAIRS:
        charts.append({"title": pair_name(pair), "rows": [
            *([name, kind, means[problem].get(pair), reported(pair, kind)] for problem, (name, kind, _) in METHODS.items()),
            ["best other", "bound", OTHERS.get(pair), None]]})
    section.blocks.append({
        "kind": "charts", "charts": charts, "here": "shipped", "text": words("charts")})
    for problem, (name, kind, _) in METHODS.items():
        abouts = {pair: about for pair, (_, about) in digits[problem].items()}
        cells = lambda value, abouts=abouts: [value(abouts[pair]) if pair in abouts else None for pair in PAIRS]
        rows.append([f"{name}, shipped", *cells(lambda about: percent(about["target_accuracy"]))])
        if any(len(about.get("seeds", {})) > 1 for about in abouts.values()):
            rows.append([f"{name}, mean ± sd (seeds)", *cells(_over_seeds)])
        if any((problem, pair) in measured for pair in PAIRS):
            rows.append([f"{name}, shipped, on the test images here",
                         *(percent(measured.get((problem, pair))) for pair in PAIRS)])
        if any("source_only_accuracy" in about for about in abouts.values()):
            rows.append([f"{name}, before adaptation", *cells(lambda about: percent(about.get("source_only_accuracy")))])
        rows.append([f"{name}, the report", *(percent(reported(pair, kind)) for pair in PAIRS)])
    rows.append(["best other answer, any method", *(percent(OTHERS.get(pair)) for pair in PAIRS)])
    lacking = [words("absent_digits", method=METHODS[problem][0], pair=pair_name(pair),
                     digits=", ".join(map(str, about["target_absent_digits"])))
               for problem, files in digits.items() for pair, (_, about) in files.items() if about.get("target_absent_digits")]
    here = [words("first_images", limit=limit)] if measured and limit else []
    section.table(["%", *map(pair_name, PAIRS)], rows, " ".join([words("accuracies"), *lacking, *here, words("dash")]))
    best = {pair: max(known) for pair in OTHERS if (known := [row[pair] for row in means.values() if row.get(pair)])}
    if best:
        section.text(words("against_best", differences="; ".join(
            f"{pair_name(pair)} {100 * (mean - OTHERS[pair]):+.1f}" for pair, mean in best.items())))


def _mean(about):
    """Its accuracy, 0 to 1, over its seeds; None if its test images lacked digits, which compares with no other."""
    if about.get("target_absent_digits"):
        return None
    return statistics.mean(about.get("seeds", {}).values() or [about["target_accuracy"]])


def _over_seeds(about):
    values = list(about.get("seeds", {}).values())
    if len(values) < 2:
        return None
    return f"{percent(statistics.mean(values))} ± {100 * statistics.stdev(values):.2f} ({len(values)})"


def write_points(data):
    """docs/tsne.csv: t-SNE of the features that the shipped ADDA has of real digits, as x, y, digit and domain."""
    from common.report.maps import choose_digits, measure_map
    from p4_adda.model import LeNetEncoder2, prepare

    if is_sample_data(data):
        raise UserError(f"{data} is sample data, which the weights were not trained for; give real digits")
    encoders = {role: LeNetEncoder2() for role in ("source", "target")}
    path = REPOSITORY / "p4_adda" / "weights" / f"{'-'.join(TSNE_PAIR)}.pt"
    meta = load_weights(path, source_encoder=encoders["source"], target_encoder=encoders["target"])
    settings = meta | {"data": data, "limit": None}
    digits = [(digit, settings[role]) for role in encoders for digit in choose_digits(settings, role)[1]]
    points = measure_map(settings, prepare, encoders)["points"]
    with written_whole(TSNE) as part:
        write_csv(part, ("x", "y", "digit", "domain"), [
            (f"{x:.2f}", f"{y:.2f}", *of) for (x, y), of in zip(points, digits)])


def draw_picture(path):
    """README's picture, a png: faces of the shipped models, their accuracies, docs/tsne.csv."""
    from common.report.plots import DIGIT_COLOURS, DIGIT_MARKERS, DOMAIN_COLOURS, draw_overview

    try:
        with open(TSNE, newline="", encoding="utf-8") as file:
            rows = [(float(row["x"]), float(row["y"]), int(row["digit"]), TSNE_PAIR.index(row["domain"]))
                    for row in csv.DictReader(file)]
        points = np.array(rows)[:, :2]
    except (LookupError, TypeError, ValueError, csv.Error):
        raise UserError(f"{TSNE} is damaged; restore it, or give --data to make it again") from None
    digits, title = shipped_digits(), f"ADDA's features, {pair_name(TSNE_PAIR)}"
    ours = lambda problem, pair: _mean(digits[problem][pair][1]) if pair in digits[problem] else None
    bars = {pair_name(pair): [
        *((f"{name}, report", reported(pair, kind), "#c3c9d1") for name, kind, _ in METHODS.values()),
        ("best other", OTHERS.get(pair), "#8b95a3"),
        *((f"{name}, ours", ours(problem, pair), colour)
          for (problem, (name, *_)), colour in zip(METHODS.items(), ("#0072b2", "#c85400")))] for pair in PAIRS}
    draw_overview(path, {"VAE: 32 samples": p1_vae.inference.sample_weights(p1_vae.inference.SHIPPED),
                         "DCGAN: 32 samples": p2_dcgan.inference.sample_weights(p2_dcgan.inference.SHIPPED)}, bars,
                  points, [
                      (f"{title}, by digit", [digit for _, _, digit, _ in rows], range(10), DIGIT_COLOURS, DIGIT_MARKERS, 22,
                       "o"),
                      (f"{title}, by domain", [domain for *_, domain in rows],
                       [NAMES[domain] for domain in TSNE_PAIR], DOMAIN_COLOURS)])


def main():
    parser = CommandParser(prog="python3 hw_shipped.py", description="Draw README's picture of the weights that come with the "
                                                                     "code.")
    parser.add_argument("picture", type=path_to_write, metavar="PICTURE.png", help="image to write")
    parser.add_argument("--data", type=any_path, metavar="DIR",
                        help="real data in the course layout: map its digits into docs/tsne.csv again")
    args = parser.parse_args()
    if args.picture.suffix != ".png":
        raise UserError(f"{args.picture} does not end in .png")
    with written_whole(args.picture) as part:       # first, so that a wrong path shows before the work
        if args.data:
            write_points(args.data)
        draw_picture(part)
    say(f"{args.picture}: drawn")


if __name__ == "__main__":
    run_command(main)
