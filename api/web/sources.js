// The sources of the grid's hits, a page at a time: the answer to a query, or all items of a collection.
//
// A source has `next(signal)`, which resolves to further hits, and `done`, which is true at the end.

import * as api from "./api.js";
import { asHit } from "./links.js";

const PAGE = 60;
const MOST = 10_000; // hits of one answer

export class Answers {
  // `least` is the least probability of a hit.
  constructor(collection, parts, { where, least = 0 }) {
    const found = { note: null, space: null, understood: [] };
    Object.assign(this, { collection, parts, where, least, shown: 0, k: PAGE, done: false, ...found });
  }

  // Answers have no pages here, so this requests a longer one and skips the hits already shown.
  async next(signal) {
    const { k, where, least } = this;
    const { hits, space, note, understood } = await api.query(this.collection, this.parts, { k, where, least }, signal);
    const fresh = hits.slice(this.shown);
    Object.assign(this, { space, note, understood });
    this.shown = hits.length;
    this.done = hits.length < this.k || this.k >= MOST;
    this.k = Math.min(2 * this.k, MOST);
    return fresh;
  }

  // Why an item is among the hits, or is not.
  async why(key) {
    const { explanations } = await api.query(this.collection, this.parts, { k: 1, where: this.where, explain_keys: [key] });
    return explanations[0];
  }
}

export class Listing {
  constructor(collection, sort, where, folder) {
    Object.assign(this, { collection, sort, where, folder, after: null, done: false });
  }

  async next(signal) {
    const { sort, where, folder, after } = this;
    const { items, next } = await api.items(this.collection, { limit: PAGE, after, sort, where, folder }, signal);
    this.after = next;
    this.done = next === null;
    return items.map(asHit);
  }
}

// Asks `onNear` for more whenever the end of the page comes near.
export function whenNear(element, onNear) {
  const observer = new IntersectionObserver(([entry]) => entry.isIntersecting && onNear(), { rootMargin: "1200px" });
  observer.observe(element);
}
