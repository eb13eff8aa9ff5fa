// Draws what the box sees over its picture. Places are fractions of width and height, x right, y down.

const COLOURS = {
  person: "#3cdc5a", bicycle: "#28dce6", motorcycle: "#ff9628", car: "#3c96ff", bus: "#a05ae6", truck: "#ff5050",
  vehicle: "#78c8c8",
};
const LINE = "#ffd200", ZONE = "#3cbeff", MASK = "#ff6ad5", MOTION = "#ff2d2d", STILL = "#c8c8c8";
const LABELLED = 0.06; // of the picture's width: words over smaller boxes would hide them
const TAIL_POINTS = 60, TAILS = 60;

// Where each object has been, as far as this browser has seen it; bounded.
export class Tails {
  #paths = new Map();

  add(boxes) {
    for (const { id, box, class: name } of boxes) {
      const path = this.#paths.get(id) ?? [];
      this.#paths.delete(id);
      path.push([(box[0] + box[2]) / 2, box[3]]);
      path.colour = COLOURS[name];
      if (path.length > TAIL_POINTS) path.shift();
      this.#paths.set(id, path); // at the end: in the order of the last sighting
    }
    while (this.#paths.size > TAILS) this.#paths.delete(this.#paths.keys().next().value);
  }

  draw(pen, boxes) {
    for (const { id } of boxes) {
      const path = this.#paths.get(id);
      if (path) stroke(pen, path, path.colour, 2);
    }
  }
}

// layout: of /camera/<id>/layout. layers: set of names. says: words by key.
export function draw(canvas, view, layout, layers, tails, says) {
  if (canvas.width !== view.bitmap.width || canvas.height !== view.bitmap.height) {
    canvas.width = view.bitmap.width;
    canvas.height = view.bitmap.height;
  }
  const pen = canvas.getContext("2d");
  pen.drawImage(view.bitmap, 0, 0);
  if (layers.has("masks")) for (const mask of layout.mask) area(pen, mask.polygon, MASK, mask.id, mask.kind === "detection");
  if (layers.has("zones")) for (const zone of layout.zone) area(pen, zone.polygon, ZONE, zone.id, false);
  if (layers.has("motion")) for (const box of view.motion) rectangle(pen, box, MOTION, 1, true);
  if (layers.has("tracks")) tails.draw(pen, view.boxes);
  if (layers.has("boxes")) for (const one of view.boxes) object(pen, one, says);
  if (layers.has("lines")) for (const line of layout.line) drawLine(pen, line, view.counts[line.id], says);
}

// An arrow to the side that is "in": the right hand of somebody who stands at a and looks to b.
export function drawLine(pen, line, counts, says) {
  const [ax, ay] = pixel(pen, line.a), [bx, by] = pixel(pen, line.b);
  stroke(pen, [line.a, line.b], "#000", 6);
  stroke(pen, [line.a, line.b], LINE, 3);
  const length = Math.hypot(bx - ax, by - ay) || 1;
  const right = [-(by - ay) / length, (bx - ax) / length];
  const middle = [(ax + bx) / 2, (ay + by) / 2];
  for (const [key, hand] of [["in", 1], ["out", -1]]) {
    const tip = [middle[0] + right[0] * hand * 26, middle[1] + right[1] * hand * 26];
    arrow(pen, middle, tip, LINE);
    label(pen, `${says[key]} ${counts?.[key] ?? 0}`, tip[0] + right[0] * hand * 16, tip[1] + right[1] * hand * 12, LINE);
  }
  label(pen, line.id, ax + (bx - ax) * 0.12, ay + (by - ay) * 0.12, "#fff");
}

function object(pen, one, says) {
  const colour = one.moves ? COLOURS[one.class] : STILL;
  rectangle(pen, one.box, colour, one.moves ? 2 : 1, false);
  if (!one.moves || one.box[2] - one.box[0] < LABELLED) return;
  const [x, y] = pixel(pen, one.box);
  label(pen, `${says["class-" + one.class]} ${Math.round(one.score * 100)} %`, x, y - 8, colour, "left");
}

function area(pen, polygon, colour, name, hatched) {
  pen.beginPath();
  for (const point of polygon) pen.lineTo(...pixel(pen, point));
  pen.closePath();
  pen.globalAlpha = hatched ? 0.25 : 0.12;
  pen.fillStyle = colour;
  pen.fill();
  pen.globalAlpha = 1;
  pen.strokeStyle = colour;
  pen.lineWidth = 2;
  pen.setLineDash(hatched ? [6, 4] : []);
  pen.stroke();
  pen.setLineDash([]);
  const middle = [0, 1].map((axis) => polygon.reduce((sum, point) => sum + point[axis], 0) / polygon.length);
  label(pen, name, ...pixel(pen, middle), colour);
}

function rectangle(pen, box, colour, width, dashed) {
  const [left, top] = pixel(pen, box), [right, bottom] = pixel(pen, box.slice(2));
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.setLineDash(dashed ? [3, 3] : []);
  pen.strokeRect(left, top, right - left, bottom - top);
  pen.setLineDash([]);
}

function stroke(pen, points, colour, width) {
  pen.beginPath();
  for (const point of points) pen.lineTo(...pixel(pen, point));
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.lineCap = pen.lineJoin = "round";
  pen.stroke();
}

function arrow(pen, from, to, colour) {
  const angle = Math.atan2(to[1] - from[1], to[0] - from[0]);
  for (const [shade, width] of [["#000", 5], [colour, 2.5]]) {
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(...to);
    for (const turn of [2.6, -2.6]) {
      pen.moveTo(...to);
      pen.lineTo(to[0] + Math.cos(angle + turn) * 9, to[1] + Math.sin(angle + turn) * 9);
    }
    pen.strokeStyle = shade;
    pen.lineWidth = width;
    pen.stroke();
  }
}

function label(pen, text, x, y, colour, align = "center") {
  pen.font = "600 13px system-ui, sans-serif";
  const wide = pen.measureText(text).width + 8, high = 18;
  const left = Math.min(Math.max(align === "left" ? x : x - wide / 2, 0), pen.canvas.width - wide);
  const top = Math.min(Math.max(y - high / 2, 0), pen.canvas.height - high);
  pen.fillStyle = "rgba(0, 0, 0, 0.75)";
  pen.fillRect(left, top, wide, high);
  pen.fillStyle = colour;
  pen.textAlign = "left";
  pen.textBaseline = "middle";
  pen.fillText(text, left + 4, top + high / 2);
}

function pixel(pen, point) {
  return [point[0] * pen.canvas.width, point[1] * pen.canvas.height];
}
