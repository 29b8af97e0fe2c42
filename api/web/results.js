// The grid of hits, and one hit in full.

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
function picture(hit, collection, assets = ["thumbnail"]) {
  const [asset, ...others] = assets.filter((name) => hit.assets.includes(name));
  if (!asset) return make("span", { class: "words" }, hit.caption ?? hit.key);
  const image = make("img", { alt: "", loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(picture(hit, collection, others)), { once: true });
  showPicture(image, collection, hit.key, asset);
  return image;
}

export function showDetails(dialog, hit, collection, onMore) {
  const found = hit.score === undefined ? [] : [["Score", hit.score.toFixed(4)], ["Rank", hit.rank]];
  const rows = [["Key", hit.key], ...found, ...Object.entries(hit.attributes)];
  const close = () => dialog.close();
  const more = () => {
    dialog.close();
    onMore(hit);
  };
  dialog.replaceChildren(
    make("div", { class: "picture" }, picture(hit, collection, ["rgb", "thumbnail"])),
    make("h2", {}, hit.caption ?? hit.key),
    make("dl", {}, ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, plain(value))])),
    make(
      "div",
      { class: "row" },
      make("button", { type: "button", class: "primary", onclick: more }, "More like this"),
      make("button", { type: "button", onclick: close }, "Close"),
    ),
  );
  dialog.onclick = (event) => event.target === dialog && dialog.close();
  dialog.showModal();
}

const plain = (value) => (typeof value === "string" ? value : Array.isArray(value) ? value.join(", ") : JSON.stringify(value));
