// What is looked for: the search box, its chips, and the sheets and colours that make parts of the query.

import { renderChips } from "./chips.js";
import { find } from "./dom.js";
import { Drawing } from "./drawing.js";
import { t } from "./language.js";
import { fromLink, toLink } from "./links.js";
import { Painting } from "./painting.js";
import { Palette } from "./palette.js";
import { closePanels } from "./panels.js";
import { Query } from "./query.js";

const ROLES = ["drawing", "painting", "palette"];

export class Composer {
  // `onChange(what)` is told what was changed: `words` when the box was emptied, the role of a part, or `parts`.
  constructor(onChange) {
    this.onChange = onChange;
    this.changes = 0; // that people made; what is brought back from a link is none
    this.query = new Query(() => this.changed("parts"));
    this.drawing = new Drawing({ canvas: find("canvas"), pen: find("pen"), undo: find("undo"), wipe: find("wipe"), onChange: () => this.made("drawing") });
    this.painting = new Painting({
      canvas: find("map"), pen: find("brush-width"), undo: find("unpaint"), wipe: find("wipe-map"),
      brushes: find("brushes"), rest: find("rest"), other: find("other-brush"), onChange: () => this.made("painting"),
    });
    this.palette = new Palette(find("presets"), find("chosen"), find("colour"), find("add-colour"), () => this.made("palette"));
    find("words").oninput = (event) => this.typed(event.target.value);
    find("add-words").onclick = () => this.moreWords();
  }

  // What chips need to know: the collection, whose items' pictures they show, the kinds a file may be of, and their forms.
  use(collection, { modalities, forms = {} }) {
    Object.assign(this, { collection, modalities, forms });
    this.show();
  }

  changed(what) {
    this.changes += 1;
    if (find("words").value.trim() !== this.query.words.text.trim()) find("words").value = this.query.words.text;
    this.show();
    this.onChange(what);
  }

  // The part of a sheet or of the palette has changed.
  made(role) {
    this.query.replace(role, this[role].part());
    this.changed(role);
  }

  typed(text) {
    this.changes += 1;
    this.query.words.text = text;
    this.show();
    if (!text) this.onChange("words");
  }

  // Its slider shows the weight already, and keeps the focus.
  weighed() {
    this.changes += 1;
    this.onChange("weight");
  }

  moreWords() {
    const text = this.query.words.text.trim();
    this.query.words.text = "";
    find("words").focus();
    if (text) this.query.add({ kind: "caption", text });
  }

  add(part) {
    this.query.add(part);
  }

  remove(part) {
    if (ROLES.includes(part.role)) this[part.role].clear();
    this.query.remove(part);
  }

  // Without telling: whoever clears has something else to put in its place.
  clear() {
    this.query.clear();
    for (const role of ROLES) this[role].clear();
    closePanels();
  }

  // Keys are of one collection, so parts that name them are left behind with it.
  leaveItems() {
    this.query.parts = this.query.parts.filter((part) => part.kind !== "item" && !part.of);
  }

  get isEmpty() {
    return !this.query.all().length;
  }

  toJson() {
    this.queriedParts = this.query.all();
    return this.query.toJson(this.forms);
  }

  // How the service interpreted the files of the last query.
  showInterpretations(understood) {
    let isNew = false;
    this.queriedParts.forEach((part, place) => {
      const found = part.file || part.box ? understood.find((reading) => reading.part === place + 1) : undefined;
      isNew ||= found?.sentence !== part.understood?.sentence;
      part.understood = found;
    });
    if (isNew) this.show(); // else a slider keeps the focus
  }

  // ---- links ----

  // A plain "more like" is written so that people can read it.
  async toAddress() {
    const { parts, words } = this.query;
    const plain = (part) => part.kind === "item" && part.weight === 1 && !part.box;
    const links = await Promise.all(parts.filter((part) => !plain(part)).map(toLink));
    return { words: words.text, like: parts.filter(plain).map((part) => part.key), parts: links };
  }

  // Resolves to the number of parts that the link had and that could not be made again; does nothing if `isStale()`
  // by the time that they are there.
  async restore({ words, like, parts: links }, isStale) {
    const likes = like.map((key) => ({ kind: "item", key, weight: 1 }));
    const found = await Promise.allSettled(links.map((link) => fromLink(this.collection, link)));
    if (isStale()) return 0;
    const parts = found.map((outcome) => outcome.value).filter(Boolean);
    this.query.restore(words, [...likes, ...parts]);
    find("words").value = words;
    for (const role of ROLES) this.restoreRole(role, this.query.parts.find((part) => part.role === role));
    this.show();
    return links.length - parts.length;
  }

  restoreRole(role, part) {
    if (!part) return this[role].clear();
    this[role].restore(part);
    Object.assign(part, this[role].part());
  }

  // ---- showing ----

  // The words have a chip, for their weight, once there is something to weigh them against.
  show() {
    const { query, collection, modalities = [], forms } = this;
    const parts = query.parts.length && query.words.text.trim() ? [query.words, ...query.parts] : query.parts;
    const handlers = { onKind: () => this.changed("parts"), onChange: () => this.weighed(), onRemove: (part) => this.remove(part) };
    renderChips(find("chips"), parts, { collection, modalities, forms, ...handlers });
    find("clear-all").hidden = this.isEmpty;
    const likes = query.parts.some((part) => part.kind === "item" && part.weight > 0);
    find("words").placeholder = t(likes ? "search.like-but" : "search.placeholder");
  }
}
