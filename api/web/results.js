// The grid of hits.

import { showPicture } from "./api.js";
import { make } from "./dom.js";

export function renderResults(list, hits, collection, actions) {
  list.replaceChildren(...hits.map((hit) => card(hit, collection, actions)));
}

function card(hit, collection, { onMore, onOpen }) {
  const title = hit.caption ?? hit.key;
  const open = make(
    "button",
    { type: "button", class: "picture", "aria-label": `Details of ${title}`, onclick: () => onOpen(hit) },
    picture(hit, collection),
  );
  const more = make(
    "button",
    { type: "button", class: "like", "aria-label": `More like ${title}`, onclick: () => onMore(hit) },
    "More like this",
  );
  return make("li", { class: "card", "data-key": hit.key }, open, more, make("p", { class: "title", title }, title), score(hit));
}

// What is shown before any query has no score.
function score(hit) {
  if (hit.score === undefined) return null;
  const title = `rank ${hit.rank}, cosine ${hit.score.toFixed(4)}`;
  return make("span", { class: "score", title }, bar(hit.score), hit.score.toFixed(2));
}

function bar(score) {
  const inner = make("i");
  inner.style.width = `${Math.round(100 * Math.max(0, Math.min(1, score)))}%`;
  return make("span", { class: "bar", "aria-hidden": "true" }, inner);
}

// The first of `assets` that the browser can show; words where there is none.
export function picture(hit, collection, assets = ["thumbnail"]) {
  const [asset, ...others] = assets.filter((name) => hit.assets.includes(name));
  if (!asset) return make("span", { class: "words" }, hit.caption ?? hit.key);
  const image = make("img", { alt: "", loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(picture(hit, collection, others)), { once: true });
  showPicture(image, collection, hit.key, asset);
  return image;
}
