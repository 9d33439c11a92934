"""The report's page in a real browser, at the widths of a desktop, a tablet and a phone, light and dark."""
import contextlib
import html
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

AXE = next((path for path in (Path(folder) / "axe-core" / "axe.min.js" for folder in (
    REPOSITORY / "node_modules", "/usr/local/lib/node_modules", "/usr/lib/node_modules")) if path.is_file()), None)
WIDTHS = (1440, 768, 390)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs a browser: apt-get install chromium chromium-driver")


class Browser:
    """A headless Chromium behind chromedriver's protocol (https://www.w3.org/TR/webdriver2/)."""

    def __init__(self, port, profile):
        self.address = f"http://127.0.0.1:{port}"
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
                 "--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}")
        self.address += "/session/" + self.call("/session", capabilities={"alwaysMatch": {
            "goog:chromeOptions": {"args": flags, "binary": CHROMIUM}, "goog:loggingPrefs": {"browser": "ALL"}}})["sessionId"]

    def call(self, path, **body):
        request = urllib.request.Request(self.address + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["value"]

    def devtools(self, command, **parameters):
        return self.call("/goog/cdp/execute", cmd=command, params=parameters)

    def run(self, script, *values):
        return self.call("/execute/sync", script=script, args=values)

    def show(self, page, width, dark=False):
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
        self.devtools("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"}])
        # chromedriver may answer before the page has replaced the last one, a blank one so that they differ, or is read whole
        self.call("/url", url="about:blank")
        self.call("/url", url=page.as_uri())
        for _ in range(300):
            if self.run("return location.href === arguments[0] && document.readyState === 'complete'", page.as_uri()):
                return
            time.sleep(0.1)
        raise TimeoutError(f"{page} was not loaded after 30 seconds")

    def point(self, x, y, kind="mouse"):
        steps = [{"type": "pointerMove", "x": round(x), "y": round(y)}]
        if kind == "touch":
            steps += [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        self.call("/actions", actions=[{"type": "pointer", "id": kind, "parameters": {"pointerType": kind}, "actions": steps}])

    def press(self, key):
        self.call("/actions", actions=[{"type": "key", "id": "keys", "actions": [
            {"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]}])

    def errors(self):
        return [line["message"] for line in self.call("/se/log", type="browser") if line["level"] == "SEVERE"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=5):
                break
            time.sleep(0.1)
        browser = Browser(port, tmp_path_factory.mktemp("profile"))
        yield browser
        urllib.request.urlopen(urllib.request.Request(browser.address, method="DELETE"), timeout=30).close()
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def page(small_report):
    return small_report[0] / "report" / "index.html"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_overflows_or_fails(browser, page, width, dark):
    browser.show(page, width, dark)
    assert browser.errors() == []
    assert browser.run("return document.documentElement.scrollWidth") <= width
    outside = browser.run("""
        const scrolls = element =>
          element && (getComputedStyle(element).overflowX === "auto" || scrolls(element.parentElement));
        return [...document.body.querySelectorAll("*")].filter(element => !scrolls(element.parentElement)
          && element.getBoundingClientRect().right > innerWidth + 1).map(element => element.outerHTML.slice(0, 80))""")
    assert outside == []
    assert browser.run("return [...document.images].every(image => image.complete && image.naturalWidth > 0)")
    paper, ink = browser.run("const style = getComputedStyle(document.body); return [style.backgroundColor, style.color]")
    lightness = [sum(map(int, colour[4:-1].split(","))) for colour in (paper, ink)]
    assert (lightness[0] < lightness[1]) == dark and abs(lightness[0] - lightness[1]) > 500, (paper, ink)


def test_each_link_leads_to_its_place(browser, page):
    browser.show(page, 1440)
    links = browser.run("""
        return [...document.querySelectorAll("a")].map(link => {
          link.click();
          const target = document.getElementById(decodeURIComponent(link.hash.slice(1)));
          return [link.getAttribute("href"), target ? target.getBoundingClientRect().top : null];
        })""")
    assert len(links) > 20
    assert [link for link, top in links if top is None or not -1 <= top < 900] == []


@pytest.mark.skipif(AXE is None, reason="needs axe-core: npm install --no-save axe-core")
@pytest.mark.parametrize("width, dark", [(1440, False), (390, True)], ids=["light", "dark"])
def test_nothing_is_against_the_rules_of_accessibility(browser, page, width, dark):
    """Contrast, names, roles and order, by https://github.com/dequelabs/axe-core, with all that folds away unfolded."""
    browser.show(page, width, dark)
    browser.run("for (const details of document.querySelectorAll('details')) details.open = true")
    browser.devtools("Runtime.evaluate", expression=AXE.read_text(encoding="utf-8"))
    found = json.loads(browser.devtools("Runtime.evaluate", awaitPromise=True, expression="""
        axe.run().then(found => JSON.stringify({passed: found.passes.map(rule => rule.id), wrong: found.violations.map(
          rule => [rule.id, rule.nodes.map(node => node.html.slice(0, 80))])}))""")["result"]["value"])
    assert found["wrong"] == [] and {"color-contrast", "image-alt", "aria-input-field-name"} & set(found["passed"])


def test_the_contents_stay_in_sight_on_a_wide_screen(browser, page):
    for width, stays in ((1440, True), (768, False)):
        browser.show(page, width)
        browser.run("document.getElementById('p4_adda').scrollIntoView()")
        box = browser.run("const box = document.querySelector('nav').getBoundingClientRect(); return [box.top, box.right, "
                          "document.querySelector('main').getBoundingClientRect().left]")
        assert (box[0] == 0 and box[1] <= box[2]) == stays, (width, box)


def test_the_page_works_in_a_frame_of_a_notebook(browser, page, tmp_path):
    outer = tmp_path / "outer.html"
    outer.write_text(f'<meta charset=utf-8><iframe srcdoc="{html.escape(page.read_text())}" width=100% height=800></iframe>')
    browser.show(outer, 1440)
    top = browser.run("""
        const inner = document.querySelector("iframe").contentWindow;
        inner.document.querySelector('nav a[href="#p3_dann"]').click();
        return [inner.document.getElementById("p3_dann").getBoundingClientRect().top, inner.location.href]""")
    assert -1 <= top[0] < 800 and top[1] == "about:srcdoc" and browser.errors() == []


# the point of a map that is farthest from all others, so that nothing else can be meant: [its place, its label]
LONELY = """
    const figure = document.querySelectorAll("figure.map")[arguments[0]];
    figure.scrollIntoView({block: "center"});
    const map = JSON.parse(figure.querySelector("script").textContent);
    const frame = figure.querySelector(".picture").getBoundingClientRect();
    const places = map.spots.map(([x, y]) => [frame.left + x * frame.width, frame.top + y * frame.height]);
    const room = places.map(([x, y], i) => Math.min(...places.map(([u, v], j) => i === j ? 1e9 : Math.hypot(x - u, y - v))));
    const best = room.indexOf(Math.max(...room));
    return [...places[best], map.labels[best]]"""
SHOWN = """
    const figure = document.querySelectorAll("figure.map")[arguments[0]], behind = figure.querySelector(".behind");
    const canvas = behind.querySelector("canvas"), box = behind.getBoundingClientRect();
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return behind.hidden ? null : [behind.textContent, new Set(pixels).size > 8, box.left >= 0 && box.right <= innerWidth]"""


@pytest.mark.parametrize("width, kind", [(1440, "mouse"), (768, "mouse"), (390, "touch")])
def test_a_point_shows_the_image_behind_it(browser, page, width, kind):
    browser.show(page, width)
    for number in (0, 4):       # a map of faces, and one of digits
        x, y, label = browser.run(LONELY, number)
        assert browser.run(SHOWN, number) is None
        browser.point(x, y, kind)
        assert browser.run(SHOWN, number) == [label, True, True]
    browser.point(2, 2, kind)
    if kind == "mouse":
        assert browser.run(SHOWN, 4) is None, "it goes when the mouse leaves"
    assert browser.errors() == []


def test_arrow_keys_walk_over_a_map(browser, page):
    browser.show(page, 1440)
    browser.run("document.querySelector('figure.map .picture').focus()")
    places = []
    for _ in range(2):
        browser.press("\ue014")         # arrow right
        assert browser.run(SHOWN, 0)[1]
        places.append(browser.run("return parseFloat(document.querySelector('.ring').style.left)"))
    assert places[0] < places[1]
    browser.press("\ue00c")             # escape
    assert browser.run(SHOWN, 0) is None
    labels = browser.run("return JSON.parse(document.querySelector('figure.map script').textContent).labels")
    for key, label in (("\ue00f", labels[0]), ("\ue00f", labels[1]), ("\ue00e", labels[0]), ("\ue00e", labels[-1])):
        browser.press(key)              # page down, page up: each point in turn, and none is left out
        assert browser.run(SHOWN, 0)[0] == label
        assert browser.run("return document.querySelector('figure.map [role=status]').textContent") == label, "it is read out"
