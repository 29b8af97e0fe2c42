// What is looked for: the words in the box and the other parts, each with a weight.
//
// A part has a `kind` (a modality, or "item") and what goes with it: text, colours, key, a file, or data as base64,
// with `classes` for a segmentation. `url` is what its chip shows, `label` what it is of, `name` what errors call it.
// `role` names the sheet or palette that makes it, `strokes` is what was drawn, `of` the key of the item it is a view of.

import { base64 } from "./api.js";

export class Query {
  constructor(onChange) {
    this.onChange = onChange;
    this.words = { kind: "caption", text: "", weight: 1 };
    this.parts = [];
  }

  all() {
    const text = this.words.text.trim();
    return text ? [{ ...this.words, text }, ...this.parts] : this.parts;
  }

  toJson() {
    return Promise.all(this.all().map(partToJson));
  }

  add(part) {
    this.parts.push({ weight: 1, ...part });
    this.onChange();
  }

  remove(part) {
    if (part === this.words) this.words.text = "";
    forget(part);
    this.parts = this.parts.filter((other) => other !== part);
    this.onChange();
  }

  // Without telling: whoever clears has something else to put in its place.
  clear() {
    this.parts.forEach(forget);
    this.parts = [];
    this.words = { kind: "caption", text: "", weight: 1 };
  }

  // Without telling: what a link has.
  restore(words, parts) {
    this.clear();
    this.words.text = words;
    this.parts = parts.map((part) => ({ weight: 1, ...part }));
  }

  // Puts `part` in the place of the one of that `role` and keeps its weight; null removes it.
  replace(role, part) {
    const old = this.parts.find((other) => other.role === role);
    if (!part) return old && this.remove(old);
    if (!old) return this.add({ role, ...part });
    Object.assign(old, part);
    this.onChange();
  }
}

function forget(part) {
  if (part.file && part.url) URL.revokeObjectURL(part.url);
}

async function partToJson(part) {
  const { kind: modality, weight, classes } = part;
  if (modality === "item") return { item: part.key, weight };
  if (modality === "caption") return { modality, text: part.text, weight };
  if (part.colours) return { modality, text: part.colours.join(","), weight };
  part.data ??= await base64(part.file);
  return { modality, data: part.data, classes, name: part.name ?? part.file?.name ?? "the drawing", weight };
}
