// One item in full: its picture and what else is known of it, each of which can be looked for.

import { make } from "./dom.js";
import { kind } from "./kinds.js";
import { partOfItem, viewsOf } from "./parts.js";
import { lookOf } from "./previews.js";
import { picture } from "./results.js";

const PICTURE = "rgb";
const FEW_ROWS = 6;
const SHOWN_ELSEWHERE = ["classes", "color_palette"];

// `onMore(hit)` asks for items like it, `onUse(part)` for what one of its views finds.
export function showDetails(dialog, hit, { collection, model, onMore, onUse }) {
  const views = viewsOf(hit);
  const parts = new Map(views.map((view) => [view, partOfItem(collection, hit, view)]));
  const stage = make("div", { class: "picture" });
  const note = make("p", { class: "note", role: "status" });
  const act = make("button", { type: "button", class: "primary" });
  const tiles = [PICTURE, ...views].map((view) => tile(view, parts.get(view), hit, collection, () => choose(view)));

  function choose(view) {
    for (const one of tiles) one.setAttribute("aria-pressed", one.dataset.view === view);
    showView(stage, view, parts.get(view), hit, collection);
    const taken = view === PICTURE || model.modalities.includes(view);
    act.textContent = view === PICTURE ? "More like this" : `Search with its ${kind(view).name}`;
    act.disabled = !taken;
    note.textContent = taken ? "" : `${model.name ?? "The model"} takes no ${kind(view).name} as a query.`;
    act.onclick = async () => {
      dialog.close();
      if (view === PICTURE) onMore(hit);
      else onUse(await parts.get(view));
    };
  }

  dialog.replaceChildren(
    stage,
    views.length ? make("div", { class: "views", role: "group", "aria-label": "What is known of it" }, ...tiles) : "",
    make("h2", {}, hit.caption ?? hit.key),
    make("div", { class: "row" }, act, make("button", { type: "button", onclick: () => dialog.close() }, "Close"), note),
    rowsOf(hit),
  );
  choose(PICTURE);
  dialog.onclick = (event) => {
    if (event.target === dialog) dialog.close(); // beside it; returning false would stop what a click does inside
  };
  dialog.showModal();
  act.focus();
}

function tile(view, part, hit, collection, onclick) {
  const { name, short } = kind(view);
  const label = make("span", {}, short ?? name);
  const element = make("button", { type: "button", class: "view", "data-view": view, title: name, onclick }, label);
  if (view === PICTURE) element.prepend(picture(hit, collection));
  else part.then((found) => element.prepend(lookOf(found)), () => element.remove());
  return element;
}

async function showView(stage, view, promised, hit, collection) {
  stage.dataset.view = view;
  if (view === PICTURE) return stage.replaceChildren(picture(hit, collection, ["rgb", "thumbnail"]));
  const part = await promised;
  if (stage.dataset.view !== view) return; // another one was chosen meanwhile
  const look = view === "metadata" ? numbers(part) : lookOf(part);
  if (look.tagName === "IMG") look.alt = part.name;
  stage.replaceChildren(look);
}

function numbers(part) {
  const values = JSON.parse(atob(part.data)); // names of fields and numbers: ASCII
  return list(Object.entries(values).map(([name, value]) => [name.replaceAll("_", " "), value]));
}

// Score, key and attributes; folded where there are many.
function rowsOf(hit) {
  const found = hit.score === undefined ? [] : [["Score", hit.score.toFixed(4)], ["Rank", hit.rank]];
  const kept = Object.fromEntries(Object.entries(hit.attributes).filter(([name]) => !SHOWN_ELSEWHERE.includes(name)));
  const attributes = [...flat(kept)].map(([path, values]) => [path, [...values].join(", ")]);
  const few = attributes.length <= FEW_ROWS;
  const rows = [["Key", hit.key], ...found, ...(few ? attributes : [])];
  if (few) return list(rows);
  const summary = make("summary", {}, `${attributes.length} attributes`);
  return make("div", {}, list(rows), make("details", {}, summary, list(attributes)));
}

const list = (rows) => make("dl", {}, ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))]));

// Values by the path that a filter calls them by: {"room": {"kind": "bath"}} is "room.kind" -> {"bath"}.
function flat(value, path = "", found = new Map()) {
  if (Array.isArray(value)) for (const one of value) flat(one, path, found);
  else if (value && typeof value === "object")
    for (const [name, inner] of Object.entries(value)) flat(inner, path ? `${path}.${name}` : name, found);
  else if (value !== null) found.set(path, (found.get(path) ?? new Set()).add(value));
  return found;
}
