// The page of one camera: picture, layers, meters, counts.

import { Tails, draw } from "./overlay.js";
import { watch } from "./view.js";

const SMOOTH = 0.4; // of the newest figure in what is shown
const TOO_DARK = 0.15, TOO_BRIGHT = 0.85, CLIPPED = 0.25;

const live = document.getElementById("live");
const says = JSON.parse(live.dataset.words);
const camera = live.dataset.camera;
const canvas = document.getElementById("picture");
const state = document.getElementById("state");
const layers = new Set();
const tails = new Tails();
let layout = { line: [], zone: [], mask: [] };
let sharp = 0, sharpest = 0;
let watching = null;

for (const box of document.querySelectorAll(".layers input")) {
  const follow = () => (box.checked ? layers.add(box.name) : layers.delete(box.name));
  box.addEventListener("change", follow);
  follow();
}
document.getElementById("sharp-again").addEventListener("click", () => (sharp = sharpest = 0));

function show(id, text) {
  const element = document.getElementById(id);
  if (element.textContent !== text) element.textContent = text;
}

function onView(view) {
  tails.add(view.boxes);
  draw(canvas, view, layout, layers, tails, says);
  view.bitmap.close();
  canvas.dataset.number = view.n;
  say("");
  meters(view);
  count(view.counts);
}

function meters(view) {
  sharp = sharp ? sharp + SMOOTH * (view.detail - sharp) : view.detail;
  sharpest = Math.max(sharpest, sharp);
  const percent = sharpest ? Math.round((100 * sharp) / sharpest) : 0;
  document.getElementById("sharp").value = percent;
  show("sharp-value", `${percent} %`);
  const { mean, dark, bright } = view.light;
  const isDark = mean < TOO_DARK || dark > CLIPPED, isBright = mean > TOO_BRIGHT || bright > CLIPPED;
  show("light", `${Math.round(mean * 100)} %, ${says[isDark ? "light-dark" : isBright ? "light-bright" : "light-fine"]}`);
  const clipped = document.getElementById("clipped").dataset.clipped;
  show("clipped", clipped.replace("{dark}", Math.round(dark * 100)).replace("{bright}", Math.round(bright * 100)));
  show("fps", view.fps.toFixed(1));
  show("looks", view.looks.toFixed(1));
  show("latency", `${view.age_ms} ms`);
  show("size", view.size.join(" × "));
}

function count(counts) {
  for (const line of layout.line) {
    const cells = document.querySelectorAll(`#count-table tr[data-line="${CSS.escape(line.id)}"] td`);
    ["in", "out"].forEach((direction, n) => {
      const text = String(counts[line.id]?.[direction] ?? 0);
      if (cells[n] && cells[n].textContent !== text) cells[n].textContent = text;
    });
  }
}

function say(key) {
  const text = key ? says[key] : "";
  if (state.textContent !== text) state.textContent = text;
}

function begin() {
  watching?.abort();
  watching = new AbortController();
  watch(camera, { onView, onTrouble: say, signal: watching.signal });
}

// A page that nobody sees costs the box nothing.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    watching?.abort();
    say("live-paused");
  } else begin();
});

async function start() {
  const answer = await fetch(`/camera/${encodeURIComponent(camera)}/layout`);
  if (answer.ok) layout = await answer.json();
  const rows = document.querySelector("#count-table tbody");
  for (const line of layout.line) {
    const row = rows.insertRow();
    row.dataset.line = line.id;
    const name = document.createElement("th");
    name.scope = "row";
    name.textContent = line.id;
    row.append(name, document.createElement("td"), document.createElement("td"));
  }
  document.getElementById("no-counts").hidden = layout.line.length > 0;
  document.getElementById("count-table").hidden = layout.line.length === 0;
  if (!document.hidden) begin();
}

start();
