// Hovering, tapping or keys on a t-SNE map show the image behind a point. Without JavaScript the picture stays.
"use strict";
// what is folded away is printed all the same
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const details of opened) details.open = true;
});
addEventListener("afterprint", () => { for (const details of opened) details.open = false; });
// in a notebook the page is a frame's srcdoc, whose links would lead to the notebook's address
if (location.protocol === "about:") addEventListener("click", event => {
  const link = event.target.closest("a");
  if (!link) return;
  event.preventDefault();
  document.getElementById(decodeURIComponent(link.hash.slice(1))).scrollIntoView();
});
// what scrolls sideways scrolls by keys too
const name = frame => frame.closest("figure").querySelector("figcaption").textContent;
for (const frame of document.querySelectorAll(".scroll, figure:not(.map) > .picture"))
  if (frame.scrollWidth > frame.clientWidth) {
    frame.tabIndex = 0;
    frame.setAttribute("role", "region");
    frame.setAttribute("aria-label", name(frame));
  }
const sheets = JSON.parse(document.getElementById("sheets").textContent);
for (const figure of document.querySelectorAll("figure.map")) {
  const map = JSON.parse(figure.querySelector("script").textContent);
  const picture = figure.querySelector(".picture");
  const sheet = new Image();
  sheet.src = sheets[map.sheet];
  const add = (tag, name, parent) => parent.appendChild(Object.assign(document.createElement(tag), {className: name}));
  const ring = add("div", "ring", picture), behind = add("div", "behind", picture);
  const canvas = add("canvas", "", behind), label = add("div", "", behind);
  canvas.width = canvas.height = map.size;
  const spoken = add("div", "unseen", figure);       // there before it says anything, as screen readers need it
  spoken.setAttribute("role", "status");
  behind.setAttribute("aria-hidden", "true");
  picture.tabIndex = 0;
  picture.setAttribute("role", "application");       // so that a screen reader hands on the keys
  picture.setAttribute("aria-label", "Map of " + map.spots.length + " points. Arrow keys go to the next point in their " +
    "direction, Page Down and Page Up through all points. " + name(picture));
  add("span", "hint", figure.querySelector("figcaption")).textContent =
    " Hover over a point, tap it, or use the arrow keys (Page Down: each in turn) to see its image.";
  let shown = -1;

  function show(point) {
    shown = point;
    ring.hidden = behind.hidden = point < 0;
    if (point < 0) return;
    const image = point % map.labels.length;          // a picture may hold the same map several times
    const draw = () => canvas.getContext("2d").drawImage(
      sheet, image % map.columns * map.size, Math.floor(image / map.columns) * map.size, map.size, map.size,
      0, 0, map.size, map.size);
    sheet.complete ? draw() : sheet.addEventListener("load", () => shown === point && draw());
    label.textContent = spoken.textContent = map.labels[image];
    const [x, y] = place(point);
    Object.assign(ring.style, {left: x + "px", top: y + "px"});
    const left = Math.min(Math.max(x - behind.offsetWidth / 2, 0), picture.clientWidth - behind.offsetWidth);
    const above = y - behind.offsetHeight - 14;
    Object.assign(behind.style, {left: left + "px", top: (above > -60 ? above : y + 14) + "px"});
  }

  const place = point => [map.spots[point][0] * picture.clientWidth, map.spots[point][1] * picture.clientHeight];

  function nearest(cost) {                            // the point of least cost, -1 where none costs less than infinity
    let best = -1, least = Infinity;
    for (let point = 0; point < map.spots.length; point++) {
      const value = cost(...place(point), point);
      if (value < least) [best, least] = [point, value];
    }
    return best;
  }

  function pointAt(event) {
    const frame = picture.getBoundingClientRect();
    const reach = event.pointerType === "mouse" ? 12 : 28;      // pixels; a finger is wider
    show(nearest((x, y) => {
      const distance = Math.hypot(x - event.clientX + frame.left, y - event.clientY + frame.top);
      return distance < reach ? distance : Infinity;
    }));
  }
  picture.addEventListener("pointermove", event => event.pointerType === "mouse" && pointAt(event));
  picture.addEventListener("pointerleave", event => event.pointerType === "mouse" && show(-1));
  picture.addEventListener("click", pointAt);
  picture.addEventListener("blur", () => show(-1));
  picture.addEventListener("keydown", event => {
    const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
    if (event.key === "Escape") show(-1);
    const turn = {PageDown: 1, PageUp: -1}[event.key], count = map.spots.length;
    if (turn) {
      event.preventDefault();
      show(shown < 0 ? (turn > 0 ? 0 : count - 1) : (shown + turn + count) % count);
    }
    if (!step) return;
    event.preventDefault();
    const [fromX, fromY] = shown < 0 ? [picture.clientWidth / 2, picture.clientHeight / 2] : place(shown);
    const next = nearest((x, y, point) => {
      const along = (x - fromX) * step[0] + (y - fromY) * step[1];
      const aside = Math.abs((x - fromX) * step[1]) + Math.abs((y - fromY) * step[0]);
      if (point === shown || along <= 0) return Infinity;
      return along + aside + (aside > along ? 1e6 : 0);       // straight ahead if there is a point, else anywhere on that side
    });
    if (next >= 0) show(next);
  });
  show(-1);
}
