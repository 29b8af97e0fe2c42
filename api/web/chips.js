// The parts of the query as chips: a preview, how much it counts, and a cross to remove it.

import { showPicture } from "./api.js";
import { make } from "./dom.js";
import { kind, kindsOf } from "./kinds.js";
import { number, t } from "./language.js";
import { lookOf } from "./previews.js";

const UNSURE = 0.8; // of guesses, that are right less often

// `onKind` is called when the modality or convention of a file changes, `onChange` when a weight does.
export function renderChips(list, parts, options) {
  list.replaceChildren(...parts.map((part) => chip(part, options)));
}

function chip(part, { collection, modalities, forms, onKind, onChange, onRemove }) {
  const element = make(
    "li",
    { class: "chip", "data-kind": part.kind },
    previewButton(part, preview(part, collection), onKind),
    make("span", { class: "what" }, kindOf(part, modalities, onKind), describe(part)),
    weight(part, onChange, (value) => element.classList.toggle("negative", value < 0)),
    make("button", { type: "button", class: "cross", "aria-label": t("chip.remove", { name: label(part) }), onclick: () => onRemove(part) }, "×"),
    part.understood ? interpretation(part, forms[part.kind], onKind) : null,
  );
  element.classList.toggle("negative", part.weight < 0);
  return element;
}

// A map is too small in a chip to see what it shows: a press makes it large.
function previewButton(part, look, onBox) {
  if (look.tagName !== "IMG" || part.kind === "item") return look;
  const cut = (box) => {
    part.box = box;
    onBox();
  };
  const show = async () => (await import("./large-picture.js")).showLarge(look.src, label(part), part.kind === "rgb" && part.file ? cut : null, part.box);
  return make("button", { type: "button", class: "look", "aria-label": t("chip.look", { name: label(part) }), onclick: show }, look);
}

function preview(part, collection) {
  const look = part.kind === "item" ? thumbnail(part, collection) : lookOf(part);
  if (part.box) look.style.objectViewBox = inset(part.box); // where the browser cannot, all of the picture is seen
  return look;
}

const inset = ([left, top, right, bottom]) => `inset(${[top, 1 - right, 1 - bottom, left].map((share) => `${100 * share}%`).join(" ")})`;

function thumbnail(part, collection) {
  const image = make("img", { alt: "" });
  image.addEventListener("error", () => image.remove());
  showPicture(image, collection, part.key);
  return image;
}

// A file's chip lets people choose its modality if the model takes more than one.
function kindOf(part, modalities, onKind) {
  const kinds = part.file ? kindsOf(part.file, modalities).filter((name) => name !== "color_palette") : [];
  if (kinds.length < 2) return make("small", {}, part.box ? t("chip.part-of") : kind(part.kind).name);
  const options = kinds.map((name) => make("option", { value: name, selected: name === part.kind }, kind(name).name));
  const choose = (event) => {
    Object.assign(part, { kind: event.target.value, form: undefined, box: undefined, understood: undefined });
    onKind();
  };
  return make("select", { "aria-label": t("chip.kind", { name: label(part) }), onchange: choose }, ...options);
}

// How the service interpreted the file, and the other conventions of its numbers.
function interpretation(part, forms, onForm) {
  const { form, sure, sentence } = part.understood;
  const text = make("span", { class: sure < UNSURE ? "unsure" : null }, `${sentence}.`);
  if (!forms) return make("p", { class: "understood" }, text);
  const choose = (event) => {
    part.form = event.target.value || undefined;
    onForm();
  };
  const option = (value, text) => make("option", { value, selected: value === (part.form ?? form) }, text);
  const options = [option("", t("chip.guess")), ...Object.entries(forms).map(([value, means]) => option(value, means))];
  const select = make("select", { "aria-label": t("chip.form", { name: label(part) }), onchange: choose }, ...options);
  return make("p", { class: "understood" }, select, text);
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
  const attributes = { type: "range", min: -1, max: 2, step: 0.1, value: part.weight, "aria-label": t("chip.weight", { name: label(part) }) };
  return make(
    "label",
    { class: "weight", title: t("chip.weighs") },
    make("input", { ...attributes, oninput: slide, onchange: onChange }),
    shown,
  );
}

const format = (weight) => (weight > 0 ? "+" : weight < 0 ? "−" : "") + number(Math.abs(weight), 1);
