"""The report's page in a real browser, at the widths of a desktop, a tablet and a phone, light and dark."""
import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.request

import pytest

WIDTHS = (1280, 768, 390)
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
    browser.show(page, 1280)
    links = browser.run("""
        return [...document.querySelectorAll("a")].map(link => {
          link.click();
          const target = document.getElementById(decodeURIComponent(link.hash.slice(1)));
          return [link.getAttribute("href"), target ? target.getBoundingClientRect().top : null];
        })""")
    assert len(links) > 20
    assert [link for link, top in links if top is None or not -1 <= top < 900] == []


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


@pytest.mark.parametrize("width, kind", [(1280, "mouse"), (768, "mouse"), (390, "touch")])
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
    browser.show(page, 1280)
    browser.run("document.querySelector('figure.map .picture').focus()")
    places = []
    for _ in range(2):
        browser.press("\ue014")         # arrow right
        assert browser.run(SHOWN, 0)[1]
        places.append(browser.run("return parseFloat(document.querySelector('.ring').style.left)"))
    assert places[0] < places[1]
    browser.press("\ue00c")             # escape
    assert browser.run(SHOWN, 0) is None
