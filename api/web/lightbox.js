// The dialog of one item: its zoomable picture, attributes and actions.

import * as api from "./api.js";
import { make } from "./dom.js";
import { picture } from "./grid.js";
import { kind } from "./kinds.js";
import { number, percent, t } from "./language.js";
import { partOfItem, viewsOf } from "./parts.js";
import { lookOf } from "./previews.js";
import { fieldName, isRated, readableDate, readablePlace } from "./words.js";
import { Zoom } from "./zoom.js";

const PICTURE = "rgb";
const SHOWN_ELSEWHERE = ["classes", "color_palette", "taken", "place", "predicted"];
const FEW_ROWS = 8;

export class Lightbox {
  // `onStep(by)` goes to a neighbour, `onClose()` is called when a person closed it, `onMore(hit)` asks for items like it,
  // `onLess(hit)` pushes similar items away, `onUse(part)` asks for what one of its views finds.
  constructor(dialog, handlers) {
    Object.assign(this, { dialog, handlers, hit: null, left: 0 });
    dialog.addEventListener("keydown", (event) => this.pressed(event));
    dialog.addEventListener("close", () => (this.left > 0 ? this.left-- : handlers.onClose()));
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }

  // `given`: collection, model, space, the source of the hits, and whether there are neighbours (before, after).
  show(hit, given) {
    Object.assign(this, { hit, ...given });
    const views = viewsOf(hit);
    this.parts = new Map(views.map((view) => [view, partOfItem(given.collection, hit, view)]));
    this.stage = make("div", { class: "stage-picture" });
    this.zoom = new Zoom(this.stage);
    this.note = make("p", { class: "note", role: "status" });
    this.act = make("button", { type: "button", class: "primary" });
    this.tiles = [PICTURE, ...views].map((view) => this.tile(view));
    const title = make("h2", { id: "lightbox-title" }, hit.caption ?? hit.attributes?.title ?? hit.key);
    this.dialog.replaceChildren(this.viewer(), make("div", { class: "about" }, title, this.facts(), this.viewTiles(views), this.actions(), this.note, this.why(), this.rows(), this.predicted()));
    this.choose(PICTURE);
    if (!this.dialog.open) this.dialog.showModal();
    this.act.focus();
  }

  // Closes without telling `onClose`. The event comes later, maybe when the next item is open already.
  leave() {
    if (!this.dialog.open) return;
    this.left++;
    this.dialog.close();
  }

  viewer() {
    const button = (id, label, text, onclick) => make("button", { type: "button", id, class: "over", "aria-label": label, title: label, onclick }, text);
    const step = (id, by, label, text, there) => Object.assign(button(id, label, text, () => this.handlers.onStep(by)), { disabled: !there });
    return make(
      "div",
      { class: "viewer" },
      this.stage,
      step("previous", -1, t("item.previous"), "‹", this.before),
      step("next", 1, t("item.next"), "›", this.after),
      make("div", { class: "zooms" }, button("zoom-out", t("item.smaller"), "−", () => this.zoom.by(1 / 1.5)), button("zoom-in", t("item.larger"), "+", () => this.zoom.by(1.5))),
      button("close-details", t("item.close"), "×", () => this.dialog.close()),
    );
  }

  // Date and place, if known: what a photo's owner looks for first.
  facts() {
    const { taken } = this.hit.attributes;
    const place = readablePlace(this.hit.attributes.place);
    const facts = [taken && readableDate(taken), place].filter(Boolean);
    return facts.length ? make("p", { class: "facts" }, ...facts.map((fact) => make("span", {}, fact))) : null;
  }

  viewTiles(views) {
    return views.length ? make("div", { class: "views", role: "group", "aria-label": t("item.views") }, ...this.tiles) : null;
  }

  tile(view) {
    const { name, short } = kind(view);
    const element = make("button", { type: "button", class: "view", "data-view": view, title: name, onclick: () => this.choose(view) }, make("span", {}, short));
    if (view === PICTURE) element.prepend(picture(this.hit, this.collection));
    else this.parts.get(view).then((part) => element.prepend(lookOf(part)), () => element.remove());
    return element;
  }

  choose(view) {
    const { hit, model, handlers } = this;
    for (const tile of this.tiles) tile.setAttribute("aria-pressed", tile.dataset.view === view);
    this.view = view;
    this.part.replaceWith((this.part = this.partButton()));
    this.showView();
    const taken = view === PICTURE || model.modalities.includes(view);
    this.act.textContent = view === PICTURE ? t("results.more") : t("item.search-with", { view: kind(view).name });
    this.act.disabled = !taken;
    this.note.textContent = taken ? "" : t("item.not-taken", { model: model.name ?? t("model.unnamed"), view: kind(view).name });
    this.act.onclick = async () => (view === PICTURE ? handlers.onMore(hit) : handlers.onUse(await this.parts.get(view)));
  }

  async showView() {
    const { view, hit, stage } = this;
    this.zoom.reset();
    if (view === PICTURE) return this.showPicture();
    const part = await this.parts.get(view);
    if (this.view !== view || this.hit !== hit) return; // another one was chosen meanwhile
    const look = view === "metadata" ? numbers(part) : lookOf(part);
    if (look.tagName === "IMG") look.alt = part.name;
    stage.replaceChildren(look);
  }

  // The original; the thumbnail where that is gone or no browser can show it.
  showPicture() {
    const { hit, stage } = this;
    const image = picture(hit, this.collection, ["rgb", "thumbnail"], () => {
      const shown = stage.querySelector("img");
      if (shown?.dataset.asset === "thumbnail" && hit.assets.includes("rgb")) this.sayWhyNot();
    });
    if (image.tagName === "IMG") image.alt = hit.caption ?? hit.attributes?.title ?? hit.key;
    stage.replaceChildren(image);
  }

  async sayWhyNot() {
    const { hit } = this;
    const gone = await api.asset(this.collection, hit.key, "rgb").then(() => false, (problem) => problem.status === 404);
    if (this.hit !== hit) return;
    this.note.textContent = t(gone ? "item.gone" : "item.not-shown");
    for (const link of this.dialog.querySelectorAll(".original")) link.hidden = gone;
  }

  actions() {
    const { hit, handlers } = this;
    this.part = this.partButton();
    const less = make("button", { type: "button", id: "less-like", onclick: () => handlers.onLess(hit) }, t("item.less"));
    const file = hit.assets.includes("rgb") ? [this.link(t("item.original"), {}), this.link(t("item.download"), { download: hit.key.split("/").at(-1) })] : [];
    return make("div", { class: "row" }, this.act, less, this.part, ...file);
  }

  // A box is drawn on the picture, and what it holds is looked for.
  partButton() {
    const { hit, handlers, stage } = this;
    const use = (box) => handlers.onUse({ kind: "item", key: hit.key, caption: hit.caption ?? undefined, box });
    const button = make("button", { type: "button", id: "choose-part", hidden: this.view !== PICTURE || !hit.assets.includes("rgb") }, t("part.search"));
    const choose = async () => {
      const { chooseRegion } = await import("./region.js");
      if (this.part !== button || button.onclick !== choose) return; // another view was chosen, or this one twice
      this.zoom.reset();
      chooseRegion(button, stage, use);
    };
    return Object.assign(button, { onclick: choose });
  }

  // A link to the original. With an API key the file is fetched first: a link sends no headers.
  link(text, attributes) {
    const href = api.assetPath(this.collection, this.hit.key, "rgb");
    const open = async (event) => {
      if (!api.keys.get()) return;
      event.preventDefault();
      const url = URL.createObjectURL(await api.asset(this.collection, this.hit.key, "rgb"));
      make("a", { href: url, target: "_blank", rel: "noopener", ...attributes }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    };
    return make("a", { class: "button original", href, target: "_blank", rel: "noopener", ...attributes, onclick: open }, text);
  }

  // The explanation of the hit; a listing has none.
  why() {
    const { source, hit } = this;
    if (!source?.why) return null;
    const place = make("div");
    import("./why.js").then(({ why }) => place.replaceChildren(why(source, hit)));
    return place;
  }

  // Score, key, path and attributes; folded where there are many.
  rows() {
    const { hit } = this;
    const found = hit.score === undefined ? [] : [[t("item.match"), match(hit)]];
    const path = hit.path && hit.path !== hit.key ? [[t("item.path"), hit.path]] : [];
    const kept = Object.fromEntries(Object.entries(hit.attributes).filter(([name]) => !SHOWN_ELSEWHERE.includes(name)));
    const attributes = [...flat(kept)].map(([name, values]) => [fieldName(name), [...values].join(", "), name]);
    const few = attributes.length <= FEW_ROWS;
    const rows = [[t("item.key"), hit.key], ...path, ...found, ...(few ? attributes : [])];
    if (few) return list(rows);
    return make("div", {}, list(rows), make("details", {}, make("summary", {}, t("count.attributes", { count: attributes.length })), list(attributes)));
  }

  // Attributes predicted from the picture, apart from those written by people, with their confidence if known.
  predicted() {
    const { colour_shares: shares, ...values } = this.hit.attributes.predicted ?? {};
    if (!Object.keys(values).length) return null;
    const rows = Object.entries(values).map(([name, each]) => [fieldName(name), predictedText(name, each, shares), `predicted.${name}`]);
    return make("section", { class: "predicted" }, make("h3", {}, t("item.predicted")), list(rows));
  }

  pressed(event) {
    const act = { ArrowLeft: () => this.before && this.handlers.onStep(-1), ArrowRight: () => this.after && this.handlers.onStep(1), "+": () => this.zoom.by(1.5), "-": () => this.zoom.by(1 / 1.5), 0: () => this.zoom.reset() }[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  }
}

function predictedText(name, value, shares) {
  const words = (values) => [values].flat().map((each) => (typeof each === "boolean" ? t(each ? "item.yes" : "item.no") : each)).join(", ");
  if (name === "colours") return words(value.map((colour) => (shares?.[colour] === undefined ? colour : `${colour} ${percent(shares[colour])}`)));
  return value?.confidence === undefined ? words(value) : t("item.sure", { value: words(value.value), share: percent(value.confidence) });
}

function numbers(part) {
  const values = JSON.parse(atob(part.data)); // names of fields and numbers: ASCII
  return list(Object.entries(values).map(([name, value]) => [name.replaceAll("_", " "), value]));
}

function match({ score, rank, ...hit }) {
  const values = { score: number(score, 4), rank };
  return isRated(hit) ? t("item.likely", { ...values, share: percent(hit.probability) }) : t("item.score", values);
}

const list = (rows) => make("dl", {}, ...rows.flatMap(([name, value, title]) => [make("dt", { title }, name), make("dd", {}, String(value))]));

// Values by the path that a filter calls them by: {"room": {"kind": "bath"}} is "room.kind" -> {"bath"}.
function flat(value, path = "", found = new Map()) {
  if (Array.isArray(value)) for (const each of value) flat(each, path, found);
  else if (value && typeof value === "object")
    for (const [name, inner] of Object.entries(value)) flat(inner, path ? `${path}.${name}` : name, found);
  else if (value !== null) found.set(path, (found.get(path) ?? new Set()).add(value));
  return found;
}
