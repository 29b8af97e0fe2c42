// The parts of the query as chips: a preview, how much it counts, and a cross to remove it.

import { showPicture } from "./api.js";
import { make } from "./dom.js";
import { swatch } from "./palette.js";

const NAMES = {
  rgb: "picture", canny_edge: "drawing", depth: "depth map", normal: "surface normals", semseg: "segmentation",
  caption: "words", color_palette: "colours", item: "more like",
};

// The kinds that a file may be taken for.
const FILE_KINDS = ["rgb", "canny_edge", "depth", "normal", "semseg"];

export function renderChips(list, parts, { collection, modalities, onChange, onRemove }) {
  list.replaceChildren(...parts.map((part) => chip(part, { collection, modalities, onChange, onRemove })));
}

function chip(part, { collection, modalities, onChange, onRemove }) {
  const element = make(
    "li",
    { class: "chip", "data-kind": part.kind },
    preview(part, collection),
    make("span", { class: "what" }, kindOf(part, modalities, onChange), describe(part)),
    weight(part, onChange, (value) => element.classList.toggle("negative", value < 0)),
    make("button", { type: "button", class: "cross", "aria-label": `Remove ${label(part)}`, onclick: () => onRemove(part) }, "×"),
  );
  element.classList.toggle("negative", part.weight < 0);
  return element;
}

function preview(part, collection) {
  if (part.colours) return make("span", { class: "stripes" }, ...part.colours.map((colour) => swatch(colour, colour)));
  if (part.kind === "caption") return make("span", { class: "quote", "aria-hidden": "true" }, "“");
  const image = make("img", { alt: "", width: 40, height: 40 });
  image.addEventListener("error", () => image.remove());
  if (part.kind === "item") showPicture(image, collection, part.key);
  else image.src = part.url;
  return image;
}

// A file's chip lets you say what the file is, where the model takes more than one kind.
function kindOf(part, modalities, onChange) {
  const kinds = FILE_KINDS.filter((kind) => modalities.includes(kind));
  if (!part.file || kinds.length < 2) return make("small", {}, NAMES[part.kind]);
  const options = kinds.map((kind) => make("option", { value: kind, selected: kind === part.kind }, NAMES[kind]));
  const choose = (event) => {
    part.kind = event.target.value;
    onChange();
  };
  return make("select", { "aria-label": `What ${label(part)} is`, onchange: choose }, ...options);
}

function describe(part) {
  const text = { caption: part.text, item: part.caption ?? part.key }[part.kind] ?? part.file?.name;
  return text ? make("span", { class: "name", title: text }, text) : null;
}

function label(part) {
  return part.text ?? part.key ?? part.file?.name ?? NAMES[part.kind];
}

function weight(part, onChange, show) {
  const shown = make("output", {}, format(part.weight));
  const slide = (event) => {
    part.weight = Number(event.target.value);
    shown.value = format(part.weight);
    show(part.weight);
  };
  const attributes = { type: "range", min: -1, max: 2, step: 0.1, value: part.weight, "aria-label": `Weight of ${label(part)}` };
  return make(
    "label",
    { class: "weight", title: "How much it counts; below zero pushes away" },
    make("input", { ...attributes, oninput: slide, onchange: onChange }),
    shown,
  );
}

const format = (weight) => (weight > 0 ? "+" : weight < 0 ? "−" : "") + Math.abs(weight).toFixed(1);
