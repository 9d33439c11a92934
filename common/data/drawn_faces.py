"""The sample data's faces: small portraits, drawn so that they show the 13 attributes."""
import numpy as np
from PIL import Image, ImageDraw

from common.data.layout import FACE_SIZE

SKINS = ((250, 221, 198), (240, 200, 170), (226, 180, 142), (205, 152, 112), (170, 118, 82), (132, 88, 62))
HAIRS = {"Black_Hair": (34, 29, 33), "Blond_Hair": (232, 196, 112), "Brown_Hair": (112, 70, 42)}
OTHER_HAIRS = ((180, 82, 46), (172, 172, 178))      # red and gray: none of the three attributes
IRISES = ((84, 54, 36), (60, 100, 150), (70, 120, 80), (96, 80, 60))
LIPSTICKS = ((196, 30, 58), (170, 34, 92), (222, 62, 92))
EYE_SHADOWS = ((130, 84, 168), (70, 110, 180), (150, 80, 110))
CLOTHES = ((178, 62, 62), (58, 84, 132), (62, 118, 104), (226, 222, 214), (70, 66, 76), (204, 160, 72), (128, 92, 140))
DARK = (40, 30, 32)
ANGLES = np.linspace(0, 2 * np.pi, 40)
CIRCLE = np.cos(ANGLES), np.sin(ANGLES)


def draw_attributes(rng):
    """Draw the 13 attributes as a dict of bool, with the likelier combinations more often."""
    def chance(probability):
        return bool(rng.random() < probability)

    male, smiling = chance(0.42), chance(0.5)
    lipstick = chance(0.03 if male else 0.65)
    hair = rng.choice((*HAIRS, "other"), p=(0.32, 0.24, 0.28, 0.16))
    waves = rng.choice(("straight", "wavy", "neither"), p=(0.6, 0.25, 0.15) if male else (0.48, 0.52, 0))
    return {
        "Bangs": waves != "neither" and chance(0.15 if male else 0.35),
        "Big_Lips": chance(0.2 if male else 0.4),
        **{colour: bool(hair == colour) for colour in HAIRS},
        "Heavy_Makeup": chance(0.65 if lipstick and not male else 0.02),
        "High_Cheekbones": chance(0.75 if smiling else 0.2),
        "Male": male,
        "Mouth_Slightly_Open": chance(0.7 if smiling else 0.2),
        "Smiling": smiling,
        "Straight_Hair": bool(waves == "straight"),
        "Wavy_Hair": bool(waves == "wavy"),
        "Wearing_Lipstick": lipstick,
    }


class _Pen:
    """Fills shapes given in head units: (0, 0) is the middle of the head, y = 1 the chin; tilted as the head is."""

    def __init__(self, image, centre, unit, tilt):
        self.draw = ImageDraw.Draw(image, "RGBA")       # RGBA: a colour with an alpha value is blended in
        self.centre = np.array(centre)
        self.matrix = unit * np.array(((np.cos(tilt), np.sin(tilt)), (-np.sin(tilt), np.cos(tilt))))
        self.unit = unit

    def fill(self, points, colour):
        self.draw.polygon(self.place(points), fill=tuple(colour))

    def place(self, points):
        """The points [N, 2] in pixels, as a list x, y, x, y …, which is what drawing takes fastest."""
        return (points @ self.matrix + self.centre).ravel().tolist()

    def ellipse(self, x, y, width, height, colour, turn=0.0):
        """`width` and `height` are half axes; `turn` lowers the right end."""
        across, down = width * CIRCLE[0], height * CIRCLE[1]
        points = np.stack((x + across * np.cos(turn) - down * np.sin(turn),
                           y + across * np.sin(turn) + down * np.cos(turn)), 1)
        self.fill(points, colour)

    def line(self, points, width, colour):
        self.draw.line(self.place(points), fill=tuple(colour), width=max(1, round(width * self.unit)), joint="curve")


def portrait(rng, traits):
    """Draw one face that shows `traits` (a dict of bool): uint8 [64, 64, 3]."""
    fine = 4        # drawn four times as large, for smooth edges
    side = fine * FACE_SIZE
    image = Image.fromarray(_backdrop(rng, side))
    male = traits["Male"]
    bald_cut = not (traits["Straight_Hair"] or traits["Wavy_Hair"])
    skin = _vary(rng, SKINS[rng.integers(len(SKINS))])
    colour = next((HAIRS[name] for name in HAIRS if traits[name]), OTHER_HAIRS[rng.integers(len(OTHER_HAIRS))])
    hair = _vary(rng, colour)
    shade = _mix(skin, (90, 30, 20), 0.22)
    clothes = _vary(rng, CLOTHES[rng.integers(len(CLOTHES))])

    unit = side * rng.uniform(0.315, 0.35)
    centre = side * (np.array((0.5, 0.515)) + rng.uniform(-0.025, 0.025, 2))
    upright = _Pen(image, centre, unit, 0)
    pen = _Pen(image, centre, unit, rng.uniform(-0.12, 0.12))
    width = rng.uniform(0.70, 0.80) + 0.03 * male
    jaw = rng.uniform(2.5, 3.1) if male else rng.uniform(1.9, 2.3)
    head = _head_outline(width, jaw)
    length = rng.uniform(0.0, 0.25) if male else rng.uniform(0.75, 1.5)
    waves = rng.uniform(0.085, 0.12) if traits["Wavy_Hair"] else 0.0

    if not bald_cut:
        pen.fill(_back_hair(width, length, waves, male), _mix(hair, DARK, 0.22))
    neck = rng.uniform(0.44, 0.52) if male else rng.uniform(0.30, 0.36)
    upright.fill(np.array(((-neck, 0.5), (neck, 0.5), (neck + 0.06, 1.6), (-neck - 0.06, 1.6))), shade)
    shoulders = rng.uniform(1.45, 1.6) if male else rng.uniform(1.2, 1.35)
    upright.ellipse(0, 2.3, shoulders, 1.0, clothes)
    upright.ellipse(0, 1.3, neck + 0.06, 0.26 if male else 0.36, shade)

    if male or bald_cut:
        for ear in (-1, 1):
            pen.ellipse(ear * width, 0.05, 0.1, 0.18, shade)
    pen.fill(head, skin)
    if male and rng.random() < 0.35:
        _draw_beard(pen, head, (*_mix(hair, DARK, 0.3), int(rng.integers(90, 256))))
    _draw_cheeks(pen, traits, skin, shade)
    _draw_eyes(pen, rng, traits, hair)
    _draw_nose(pen, rng, shade)
    _draw_mouth(pen, rng, traits, skin)
    if bald_cut:
        pen.fill(_cap(width, 0.02, -0.5 - 0.12 * rng.random()), _mix(hair, skin, 0.15))
    else:
        _draw_front_hair(pen, rng, traits, width, length, waves, hair)
    return np.asarray(image.reduce(fine))


def _backdrop(rng, side):
    """A plain wall, lighter at the top or at the bottom: uint8 [side, side, 3]."""
    colour = rng.uniform(110, 225) + rng.uniform(-30, 30, 3)
    light = np.linspace(-1, 1, side)[:, None, None] * rng.uniform(-22, 22)
    return np.broadcast_to((colour + light).clip(0, 255), (side, side, 3)).round().astype(np.uint8)


def _vary(rng, colour):
    """A colour like `colour`, mainly in brightness: other channel ratios would turn skin and hair green."""
    varied = np.array(colour) * rng.uniform(0.92, 1.08) + rng.uniform(-4, 4, 3)
    return tuple(int(value) for value in varied.clip(0, 255))


def _mix(colour, other, part):
    """`colour` with `part` (0..1) of `other` in it."""
    return tuple(round(a * (1 - part) + b * part) for a, b in zip(colour, other, strict=True))


def _head_outline(width, jaw):
    """A superellipse whose lower half is the squarer the larger `jaw` is (2: an ellipse): float64 [64, 2]."""
    angles = np.linspace(0, 2 * np.pi, 64)
    x, y = np.cos(angles), np.sin(angles)
    power = np.where(y > 0, 2 / jaw, 2 / 2.2)
    return np.stack((width * np.sign(x) * abs(x) ** power, np.sign(y) * abs(y) ** power), 1)


def _arc(width, top, waves):
    """The upper outline of the hair, from the left to the right, with curls of height `waves`."""
    angles = np.linspace(np.pi, 2 * np.pi, 90)
    radius = 1 + waves * abs(np.sin(angles * 5))
    return np.stack((width * np.cos(angles) * radius, top * np.sin(angles) * radius), 1)


def _back_hair(width, length, waves, male):
    """The hair behind the head, down to y = `length`."""
    outer = width + (0.06 if male else 0.17)
    top = _arc(outer, 1.12 if male else 1.15, waves)
    down = np.linspace(0, length, 40)
    sides = np.stack((_hair_side(outer, down, waves), down), 1)
    return np.concatenate((top, sides, sides[::-1] * (-1, 1)))


def _hair_side(outer, down, waves):
    """How far from the middle the hair reaches at the heights `down`, which end at the tips: the tips turn inwards."""
    tips = np.linspace(0, 1, len(down)) ** 8
    return outer + 0.06 * down.clip(0) + waves * abs(np.sin(down * 6.5)) - 0.14 * tips


def _cap(width, margin, hairline):
    """Hair that lies on the skull above a straight `hairline`, with short sideburns."""
    top = _arc(width + margin, 1 + margin, 0)
    inner = np.array(((width * 0.93, 0.0), (width * 0.8, hairline + 0.08), (width * 0.55, hairline),
                      (-width * 0.55, hairline), (-width * 0.8, hairline + 0.08), (-width * 0.93, 0.0)))
    return np.concatenate((top, inner))


def _draw_front_hair(pen, rng, traits, width, length, waves, hair):
    """The hair before the forehead: a fringe to the brows, or a parting that leaves the forehead free."""
    male = traits["Male"]
    side = width + (0.06 if male else 0.17)
    top = 1.12 if male else 1.15
    outline = _arc(side, top, waves)
    flip = rng.choice((-1, 1))
    if traits["Bangs"]:
        x = np.linspace(0.86, -0.86, 80)
        edge = 0.05 * abs(np.sin(x * 12)) if traits["Wavy_Hair"] else 0.07 * (x * 4.5 % 1)
        inner = np.stack((x * width, -0.36 + 0.12 * x ** 2 - edge), 1)
    else:
        part = flip * rng.uniform(0.1, 0.4)
        peak = -0.72
        x = np.linspace(0.9, -0.9, 80)
        reach = np.where(x > part, (x - part) / (0.9 - part), (part - x) / (0.9 + part))
        inner = np.stack((x * width, peak + (0.42 if male else 0.55) * reach ** 1.7 - waves * abs(np.sin(x * 9))), 1)
    # long hair falls before the ears and over the shoulders
    low = 0.0 if male else length
    strand = np.linspace(inner[0, 1], low, 30)
    inside = width * (0.92 + 0.1 * (strand - inner[0, 1])) - waves * 0.8 * abs(np.sin(strand * 6.5))
    outside = _hair_side(side, strand, waves)
    inside = np.minimum(inside, outside)        # they would cross at the tips of short hair
    lock = np.concatenate((np.stack((outside, strand), 1), np.stack((inside, strand), 1)[::-1]))
    for mirrored in (1, -1):
        pen.fill(lock * (mirrored, 1), hair)
    pen.fill(np.concatenate((outline, inner)), hair)

    # light strands: the direction of the hair
    shine = (*_mix(hair, (255, 255, 255), 0.28), 150)
    for start in np.linspace(-0.55, 0.55, 6):
        y = np.linspace(-1.0 + 0.3 * start ** 2, -0.78 + 0.5 * start ** 2, 12)
        x = start * (width + 0.05) * (1.6 + 0.6 * y) + 0.5 * waves * np.sin(y * 22 + start * 9)
        pen.line(np.stack((x, y), 1), 0.02, shine)


def _draw_eyes(pen, rng, traits, hair):
    male, makeup = traits["Male"], traits["Heavy_Makeup"]
    apart, level = rng.uniform(0.31, 0.37), rng.uniform(-0.10, -0.03)
    wide, tall = rng.uniform(0.135, 0.16), rng.uniform(0.06, 0.075) if male else rng.uniform(0.075, 0.095)
    iris = IRISES[rng.integers(len(IRISES))]
    shadow = EYE_SHADOWS[rng.integers(len(EYE_SHADOWS))]
    brow_height, arch = level - rng.uniform(0.2, 0.25), rng.uniform(0.02, 0.06)
    brow_colour = _mix(hair, DARK, 0.45)
    for eye in (-1, 1):
        x = eye * apart
        if makeup:
            pen.ellipse(x + eye * 0.03, level - 0.06, wide + 0.07, tall + 0.06, (*shadow, 210), -eye * 0.15)
        pen.ellipse(x, level, wide, tall, (250, 248, 244))
        pen.ellipse(x, level, 0.075, min(tall, 0.08), iris)
        pen.ellipse(x, level, 0.038, 0.038, DARK)
        pen.ellipse(x + 0.03, level - 0.03, 0.018, 0.018, (255, 255, 255))
        across = np.linspace(-1, 1, 14)
        lid = np.stack((x + across * (wide + 0.02), level - tall * (1 - across ** 2) ** 0.5), 1)
        pen.line(lid, 0.07 if makeup else 0.035, DARK)
        if makeup:
            corner = np.array(((x + eye * wide, level), (x + eye * (wide + 0.1), level - 0.08)))
            pen.line(corner, 0.05, DARK)
        brow = np.stack((x + across * (wide + 0.04), brow_height - arch * (1 - (across * eye - 0.3) ** 2)), 1)
        pen.line(brow, 0.085 if male else 0.05, brow_colour)


def _draw_nose(pen, rng, shade):
    tip, wide = rng.uniform(0.26, 0.32), rng.uniform(0.08, 0.12)
    bridge = np.array(((0.05, 0.0), (wide, tip - 0.02), (0.0, tip + 0.03), (0.02, tip - 0.03)))
    pen.fill(bridge, (*shade, 150))
    pen.ellipse(0, tip + 0.02, wide, 0.035, shade)


def _draw_cheeks(pen, traits, skin, shade):
    for cheek in (-1, 1):
        if traits["Heavy_Makeup"]:
            pen.ellipse(cheek * 0.46, 0.29, 0.17, 0.11, (226, 70, 96, 110), -cheek * 0.35)
        if traits["High_Cheekbones"]:
            hollow = np.array(((0.70, 0.22), (0.66, 0.48), (0.36, 0.56), (0.46, 0.40))) * (cheek, 1)
            pen.fill(hollow, (*shade, 190))
            pen.ellipse(cheek * 0.5, 0.16, 0.15, 0.055, (*_mix(skin, (255, 255, 255), 0.4), 180), -cheek * 0.4)


def _draw_beard(pen, head, colour):
    """A full beard: the head's outline below the ears, its inner edge under the cheeks and over the lip."""
    outer = head[head[:, 1] > 0.1]
    x = np.linspace(outer[-1, 0], outer[0, 0], 30)
    reach = abs(x / x[0])
    inner = np.stack((x, 0.40 - 0.3 * reach ** 4), 1)
    pen.fill(np.concatenate((outer, inner)), colour)


def _draw_mouth(pen, rng, traits, skin):
    smiling, opened = traits["Smiling"], traits["Mouth_Slightly_Open"]
    half = rng.uniform(0.22, 0.27) + 0.08 * smiling
    height = rng.uniform(0.55, 0.6)
    lift = rng.uniform(0.11, 0.15) if smiling else rng.uniform(-0.03, 0.01)
    gap = rng.uniform(0.10, 0.14) if opened else 0.0
    upper, lower = (0.10, 0.14) if traits["Big_Lips"] else (0.045, 0.065)
    lips = _mix(skin, (168, 72, 72), 0.5)
    if traits["Wearing_Lipstick"]:
        lips = LIPSTICKS[rng.integers(len(LIPSTICKS))]

    x = np.linspace(-1, 1, 41)
    bow = 1 - x ** 2
    # the line where the lips meet; a smile lifts its ends
    middle = height + lift * (0.5 - x ** 2) - gap / 2 * bow
    dip = 0.35 * upper * np.exp(-(x / 0.2) ** 2)
    over = np.stack((x * half, middle - upper * bow ** 0.6 + dip), 1)
    under = np.stack((x * half, middle + gap * bow + lower * bow ** 0.7), 1)
    pen.fill(np.concatenate((over, under[::-1])), lips)
    if opened:
        inner = 0.9 * half * x
        roof = np.stack((inner, middle), 1)
        floor = np.stack((inner, middle + gap * bow), 1)
        teeth = np.stack((inner, middle + 0.5 * gap * bow), 1)
        pen.fill(np.concatenate((roof, floor[::-1])), (84, 24, 32))
        pen.fill(np.concatenate((roof, teeth[::-1])), (248, 246, 240))
    else:
        pen.line(np.stack((x * half, middle), 1), 0.03, _mix(lips, DARK, 0.55))
