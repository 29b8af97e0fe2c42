// The sheet for a segmentation: every pixel has the number of a brush, and every brush the name of what it stands for.

import * as api from "./api.js";
import { make } from "./dom.js";
import { t } from "./language.js";
import { asHit } from "./links.js";
import { pointsOf, Sheet } from "./sheet.js";

const SIDE = 112; // pixels of the map, each way
const LOOKED_AT = 40; // items whose names are offered
const MAX_BRUSHES = 24;
const REST = 0; // the number of what is not painted; brushes count from 1

export class Painting extends Sheet {
  constructor({ brushes, rest, other, ...given }) {
    super(given);
    Object.assign(this, { brushes, rest });
    this.names = [];
    this.brush = 1;
    rest.onchange = () => this.change(() => {});
    other.onsubmit = (event) => {
      event.preventDefault();
      const name = other.elements.name.value.trim();
      if (name) this.choose(this.numberOf(name));
      other.reset();
    };
    this.repaint();
  }

  // The brushes that go with a collection: the names that its own segmentations have.
  async offer(collection) {
    if (this.collection === collection) return;
    this.collection = collection;
    const offered = await namesIn(collection);
    if (this.collection !== collection) return; // another one was chosen meanwhile
    this.names = [...new Set([...this.names, ...offered])];
    if (!this.rest.value) this.rest.dataset.wanted ??= offered[0] ?? "";
    this.showBrushes();
  }

  numberOf(name) {
    if (!this.names.includes(name)) this.names.push(name);
    this.showBrushes();
    return this.names.indexOf(name) + 1;
  }

  choose(number) {
    this.brush = number;
    [...this.brushes.children].forEach((brush, place) => brush.setAttribute("aria-pressed", String(place + 1 === number)));
  }

  showBrushes() {
    const brush = (name, place) => {
      const dot = make("i", { "aria-hidden": "true" });
      dot.style.backgroundColor = colourOf(place + 1);
      const pressed = String(place + 1 === this.brush);
      return make("button", { type: "button", class: "brush", "aria-pressed": pressed, onclick: () => this.choose(place + 1) }, dot, name);
    };
    this.brushes.replaceChildren(...this.names.map(brush));
    const chosen = this.rest.dataset.wanted ?? this.rest.value;
    const option = (name) => make("option", { value: name, selected: name === chosen }, name || t("painting.nothing"));
    this.rest.replaceChildren(...["", ...this.names].map(option));
    delete this.rest.dataset.wanted;
  }

  // Strokes of a link, with the names that their numbers stand for there.
  restore({ strokes, names = [], rest = this.rest.value }) {
    const numbers = names.map((name) => this.numberOf(name));
    if (rest) this.numberOf(rest);
    this.rest.dataset.wanted = rest;
    this.showBrushes();
    super.restore({ strokes: strokes.map(([width, brush, ...points]) => [width, numbers[brush - 1], ...points]) });
  }

  part() {
    if (this.isEmpty) return null;
    const used = [...new Set(this.strokes.map((stroke) => stroke[1]))];
    const names = used.map((number) => this.names[number - 1]);
    const rest = this.rest.value;
    const classes = Object.fromEntries(names.map((name, place) => [place + 1, name]));
    if (rest) classes[REST] = rest;
    const ids = this.ids().map((number) => (number ? used.indexOf(number) + 1 : REST));
    const strokes = this.strokes.map(([width, brush, ...points]) => [width, used.indexOf(brush) + 1, ...points]);
    return { kind: "semseg", data: asNpy(ids), classes, strokes, names, rest, url: this.canvas.toDataURL("image/png"), name: t("painting.name") };
  }

  // The number of the brush at each pixel of the map, row by row. No pixel is between two numbers.
  ids() {
    const ids = new Uint8Array(SIDE * SIDE);
    for (const stroke of this.strokes) for (const [x, y] of dense(pointsOf(stroke))) this.stamp(ids, stroke, x, y);
    return ids;
  }

  stamp(ids, [width, brush], x, y) {
    const scale = SIDE / this.canvas.width;
    const [across, down, radius] = [x * scale, y * scale, Math.max(0.8, (width * scale) / 2)];
    for (let row = Math.max(0, Math.floor(down - radius)); row <= Math.min(SIDE - 1, down + radius); row++)
      for (let column = Math.max(0, Math.floor(across - radius)); column <= Math.min(SIDE - 1, across + radius); column++)
        if (Math.hypot(column + 0.5 - across, row + 0.5 - down) <= radius) ids[row * SIDE + column] = brush;
  }

  paint() {
    const { context, canvas } = this;
    const cell = canvas.width / SIDE;
    const rest = this.names?.indexOf(this.rest?.value) ?? -1;
    context.fillStyle = rest < 0 ? "#d9d6cf" : colourOf(rest + 1);
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (!this.strokes.length) return;
    this.ids().forEach((number, place) => {
      if (!number) return;
      context.fillStyle = colourOf(number);
      context.fillRect((place % SIDE) * cell, Math.floor(place / SIDE) * cell, cell, cell);
    });
  }
}

// Hues far from their neighbours', light enough for both themes.
const colourOf = (number) => `hsl(${(number * 137.5 + 70) % 360} ${number % 2 ? 42 : 62}% ${[62, 44, 72, 54][number % 4]}%)`;

function* dense(points) {
  yield points[0];
  for (let i = 1; i < points.length; i++) {
    const [[x, y], [toX, toY]] = [points[i - 1], points[i]];
    const steps = Math.ceil(Math.hypot(toX - x, toY - y) / 2) || 1;
    for (let step = 1; step <= steps; step++) yield [x + ((toX - x) * step) / steps, y + ((toY - y) * step) / steps];
  }
}

// A map of uint8 ids as an NPY file, in base64.
function asNpy(ids) {
  const header = `{'descr': '|u1', 'fortran_order': False, 'shape': (${SIDE}, ${SIDE}), }`;
  const padded = `${header.padEnd(117)}\n`; // so that the data begins at a multiple of 64
  const letters = Array.from(ids, (number) => String.fromCharCode(number)).join("");
  return btoa(`\x93NUMPY\x01\x00${String.fromCharCode(padded.length)}\x00${padded}${letters}`);
}

// The names in the segmentations of some items, the most frequent first.
async function namesIn(collection) {
  const { items } = await api.items(collection, { limit: LOOKED_AT });
  const found = new Map();
  const count = (name) => found.set(name, (found.get(name) ?? 0) + 1);
  await Promise.all(items.map(async (item) => Object.values(await classesOf(collection, asHit(item))).forEach(count)));
  return [...found].sort(([, a], [, b]) => b - a).map(([name]) => name).slice(0, MAX_BRUSHES);
}

async function classesOf(collection, item) {
  if (!item.assets.includes("semseg.classes")) return item.attributes.classes ?? {};
  try {
    return JSON.parse(await (await api.asset(collection, item.key, "semseg.classes")).text());
  } catch {
    return {}; // the other items have names too
  }
}
