// What is looked for: the words in the box and the other parts, each with a weight.
//
// A part has a `kind` (a modality, or "item") and what goes with it: text, colours, key, a file, or data as base64,
// with `classes` for a segmentation. `url` is what its chip shows, `label` what it is of, `name` what errors call it.
// `box` is the part of a picture that counts, as shares: left, top, right, bottom.
// `form` is what somebody says its numbers mean, `understood` what the service took them for.
// `role` names the sheet or palette that makes it, `strokes` is what was drawn, `of` the key of the item it is a view of.

import { base64 } from "./api.js";
import { t } from "./language.js";

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

  // `forms` are those that files of each kind may have, first that of items.
  toJson(forms) {
    return Promise.all(this.all().map((part) => partToJson(part, forms)));
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

// Only what comes from outside is guessed at: what an item has, or is drawn here, has the form of items.
const formOf = (part, forms) => part.form ?? (part.of || part.strokes ? Object.keys(forms[part.kind] ?? {})[0] : undefined);

async function partToJson(part, forms) {
  const { kind: modality, weight } = part;
  const classes = modality === "semseg" ? part.classes : undefined; // a file may have become one of another kind
  if (modality === "item") return { item: part.key, weight, box: part.box };
  if (modality === "caption") return { modality, text: part.text, weight };
  if (part.colours) return { modality, text: part.colours.join(","), weight };
  part.data ??= await base64(part.file);
  return { modality, data: part.data, classes, box: part.box, form: formOf(part, forms), name: part.name ?? part.file?.name ?? t("drawing.name"), weight };
}
