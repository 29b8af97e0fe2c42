// The parts of the query as chips: a preview, how much it counts, and a cross to remove it.

import { showPicture } from "./api.js";
import { make } from "./dom.js";
import { kind, kindsOf } from "./kinds.js";
import { lookOf } from "./previews.js";

// `onKind` is told when a file is said to be something else, `onChange` when a weight was moved.
export function renderChips(list, parts, given) {
  list.replaceChildren(...parts.map((part) => chip(part, given)));
}

function chip(part, { collection, modalities, onKind, onChange, onRemove }) {
  const element = make(
    "li",
    { class: "chip", "data-kind": part.kind },
    looking(part, preview(part, collection)),
    make("span", { class: "what" }, kindOf(part, modalities, onKind), describe(part)),
    weight(part, onChange, (value) => element.classList.toggle("negative", value < 0)),
    make("button", { type: "button", class: "cross", "aria-label": `Remove ${label(part)}`, onclick: () => onRemove(part) }, "×"),
  );
  element.classList.toggle("negative", part.weight < 0);
  return element;
}

// A map is too small in a chip to see what it shows: a press makes it large.
function looking(part, look) {
  if (look.tagName !== "IMG" || part.kind === "item") return look;
  const show = async () => (await import("./looking.js")).showLarge(look.src, label(part));
  return make("button", { type: "button", class: "look", "aria-label": `Look at ${label(part)}`, onclick: show }, look);
}

function preview(part, collection) {
  if (part.kind !== "item") return lookOf(part);
  const image = make("img", { alt: "" });
  image.addEventListener("error", () => image.remove());
  showPicture(image, collection, part.key);
  return image;
}

// A file's chip lets you say what the file is, where the model takes more than one kind.
function kindOf(part, modalities, onKind) {
  const kinds = part.file ? kindsOf(part.file, modalities).filter((name) => name !== "color_palette") : [];
  if (kinds.length < 2) return make("small", {}, kind(part.kind).name);
  const options = kinds.map((name) => make("option", { value: name, selected: name === part.kind }, kind(name).name));
  const choose = (event) => {
    part.kind = event.target.value;
    onKind();
  };
  return make("select", { "aria-label": `What ${label(part)} is`, onchange: choose }, ...options);
}

function describe(part) {
  const text = part.text ?? part.label ?? part.caption ?? part.key ?? part.file?.name;
  return text ? make("span", { class: "name", title: text }, text) : null;
}

const label = (part) => part.text ?? part.caption ?? part.key ?? part.name ?? part.file?.name ?? kind(part.kind).name;

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
