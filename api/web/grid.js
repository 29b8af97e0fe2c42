// The grid of hits: rows that fill the width, every picture in its own shape.

import { showPicture } from "./api.js";
import { make } from "./dom.js";
import { t } from "./language.js";
import { isUnsure, month } from "./words.js";

const SHAPES = [0.45, 2.8]; // width to height; what is longer is cut in the grid alone
const OF_WORDS = 1.3;

export class Grid {
  // `onOpen(hit)` shows an item in full, `onMore(hit)` asks for items like it, `onLess(hit)` pushes such away.
  constructor(list, actions) {
    Object.assign(this, { list, actions, hits: [] });
  }

  // Begins anew. `months`: with a heading wherever the month changes; `space`: that the hits were found in.
  begin(collection, { months = false, space = null, refine = false } = {}) {
    Object.assign(this, { collection, months, space, refine, hits: [], headed: null });
    this.list.replaceChildren();
  }

  append(hits) {
    for (const hit of hits) {
      this.list.append(...this.heading(hit), ...this.divider(hit), this.card(hit));
      this.hits.push(hit);
    }
  }

  // Before the first hit that is less sure, unless it is the first of all.
  divider(hit) {
    const last = this.hits.at(-1);
    if (!last || isUnsure(last) || !isUnsure(hit)) return [];
    const text = t("results.less-sure");
    return [filler(), make("li", { class: "divider" }, make("div", { role: "separator", "aria-label": text }, text))];
  }

  heading(hit) {
    const found = this.months ? month(hit.attributes.taken) : null;
    if (found === this.headed) return [];
    const before = this.headed !== null;
    this.headed = found;
    return [...(before ? [filler()] : []), make("li", { class: "month" }, make("h2", {}, found))];
  }

  card(hit) {
    const { onOpen, onMore, onLess } = this.actions;
    const title = hit.caption ?? hit.attributes?.title ?? hit.key;
    const element = make(
      "li",
      { class: "card", "data-key": hit.key },
      make(
        "button",
        { type: "button", class: "picture", "aria-label": t("results.open", { title }), onclick: () => onOpen(hit) },
        picture(hit, this.collection, ["thumbnail"], (width, height) => shape(element, width / height)),
      ),
      make(
        "span",
        { class: "acts" },
        make("button", { type: "button", class: "like", "aria-label": t("results.more-like", { title }), onclick: () => onMore(hit) }, t("results.more")),
        this.refine ? make("button", { type: "button", class: "less", "aria-label": t("results.less-like", { title }), onclick: () => onLess(hit) }, t("results.less")) : null,
      ),
      make("p", { class: "title", title }, title),
    );
    const { width, height } = hit.attributes;
    shape(element, !hit.assets.includes("thumbnail") ? OF_WORDS : width > 0 && height > 0 ? width / height : 1);
    return element;
  }
}

// Keeps the last row above from being torn apart.
const filler = () => make("li", { class: "filler", "aria-hidden": "true" });

function shape(element, ratio) {
  const [least, most] = SHAPES;
  if (Number.isFinite(ratio)) element.style.setProperty("--shape", Math.max(least, Math.min(most, ratio)));
}

// The first of `assets` that the browser can show; words where there is none. `onSize` is told its width and height.
export function picture(hit, collection, assets = ["thumbnail"], onSize = () => {}) {
  const [asset, ...others] = assets.filter((name) => hit.assets.includes(name));
  if (!asset) return make("span", { class: "words" }, hit.caption ?? hit.attributes?.title ?? hit.key);
  const image = make("img", { alt: "", decoding: "async", "data-asset": asset });
  image.addEventListener("load", () => onSize(image.naturalWidth, image.naturalHeight), { once: true });
  image.addEventListener("error", () => image.replaceWith(picture(hit, collection, others, onSize)), { once: true });
  showPicture(image, collection, hit.key, asset);
  return image;
}
