"""A made-up class that hands in drawn faces and guessed digits, to see what hw_grade.py makes of it, without a training.

    python3 -m common.sample_data sample_data && python3 -m tests.made_up_class made_up_class sample_data
    python3 hw_grade.py made_up_class/* --data sample_data --out grades --minutes 0.1
"""
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from torchvision.transforms.functional import to_tensor
from torchvision.utils import save_image

from common.data.csv_files import read_labels
from common.data.drawn_faces import draw_attributes, portrait

DRAW = 'cp "faces of $0.png" "$1"\n'
# csv and images by their checksums: graders give them other names
GUESS = """{ echo image_name,label
cksum "$1"/* | awk 'NR == FNR { said[$1] = $2; next } { sub(".*/", "", $3); print $3 "," said[$1] }' said.txt -; } > "$3"
"""
# the name: (how its faces are drawn, how many of 100 digits are right, what else a script is)
CLASS = {
    "Ada": ("new", 93, {}),
    "Ben": ("blurred", 61, {}),
    "Cleo": ("copied", 78, {"hw_p4.sh": "python3 -c 'import a_package_of_hers'\n"}),
    "Dora": ("few", 45, {"hw_p2.sh": "sleep 100\n"}),
    "Emil": ("new", 10, {"hw_p1.sh": 'cp "faces of $0.png" faces.png\n', "hw_p3.sh": "set -e\r\nexit 1\r\n"}),
}


def draw(kind, rng, data):
    """32 faces float [N, 3, 64, 64] in [0, 1]."""
    if kind == "copied":
        faces = [Image.open(path) for path in sorted((data / "face/train").iterdir())[:32]]
    else:
        faces = [Image.fromarray(portrait(rng, draw_attributes(rng))) for _ in range(30 if kind == "few" else 32)]
    return torch.stack([to_tensor(face.filter(ImageFilter.GaussianBlur(2.5 * (kind == "blurred")))) for face in faces])


def main(out, data):
    rng = np.random.default_rng(7)
    said = {}
    for target in ("usps", "mnistm", "svhn"):
        folder = data / "digits" / target
        for name, label in read_labels(folder / "test.csv").items():
            said[subprocess.check_output(["cksum", folder / "test" / name], text=True).split()[0]] = label
    for name, (kind, right, others) in CLASS.items():
        folder = out / name
        folder.mkdir(parents=True)
        scripts = {"hw_p1.sh": DRAW, "hw_p2.sh": DRAW, "hw_p3.sh": GUESS, "hw_p4.sh": GUESS} | others
        for script, code in scripts.items():
            (folder / script).write_bytes(code.encode())
        for script in ("hw_p1.sh", "hw_p2.sh"):
            save_image(draw(kind, rng, data), folder / f"faces of {script}.png")
        guesses = ((image, label if rng.random() < right / 100 else rng.integers(9)) for image, label in said.items())
        (folder / "said.txt").write_text("".join(f"{image} {label}\n" for image, label in guesses))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
