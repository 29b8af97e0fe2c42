// Empty states of the page, and the summary of its results.

import { find, make } from "./dom.js";
import { hideMessages } from "./messages.js";
import { counted, isUnsure, manner } from "./words.js";

// Shows an empty state with possible actions.
function showEmpty(title, ...content) {
  hideMessages();
  find("summary").textContent = "";
  find("results").replaceChildren();
  find("empty").replaceChildren(make("h2", {}, title), ...content);
  find("empty").hidden = false;
}

const button = (text, onclick, kind) => make("button", { type: "button", class: kind, onclick }, text);

const invitation = (collection, onAdd) => [
  make("p", {}, "Drop pictures or choose a folder:"),
  make("p", {}, button("Add pictures", onAdd, "primary")),
  make("p", {}, "Or, where the service runs:"),
  make("code", {}, `anyseek index FOLDER --collection ${collection}`),
];

export function showEmptyCollection(collection, onAdd) {
  showEmpty(`The collection ${collection} is empty`, ...invitation(collection, onAdd));
}

export function showUnknown(name, names, onAdd) {
  if (!names.length) return showEmpty("There is nothing to search yet", ...invitation("photos", onAdd));
  const links = names.map((name) => make("a", { class: "button", href: `#c=${encodeURIComponent(name)}` }, name));
  showEmpty(`There is no collection called ${name}`, make("p", {}, "Choose one of these:"), make("p", { class: "row" }, ...links));
}

// `isQuery`: whether a query or a listing is empty.
export function showNonePasses(isQuery, onClear) {
  showEmpty(isQuery ? "Nothing that passes these filters" : "No item passes these filters", button("Remove the filters", onClear));
}

// The slider left nothing.
export function showNoneSure(onShowAll) {
  showEmpty("Nothing is that sure", make("p", {}, "No item reaches the probability of the slider."), button("Show what comes nearest", onShowAll));
}

export function showEmptyFolder(isQuery) {
  showEmpty(isQuery ? "Nothing was found in this folder" : "There is nothing in this folder");
}

// The summary line above the grid.
export function summary({ hits, inside, source }, { isQuery, where, folder, collection }, milliseconds) {
  if (isQuery && source.note?.startsWith("nothing good was found")) return "Perhaps none of these shows what you asked for.";
  if (isQuery && isUnsure(hits[0])) return "Not sure about any of these.";
  if (isQuery) return `${source.done ? counted(hits.length, "result") : "Best first"}, ${manner(source.space)}, in ${milliseconds} ms`;
  const folders = inside.length ? [counted(inside.length, "folder")] : [];
  const items = source.done ? counted(hits.length, "item") : where ? "filtered" : "items";
  if (folder) return [...folders, ...(hits.length ? [items] : [])].join(", ");
  if (where) return source.done ? counted(hits.length, "item") : "Filtered";
  return folder === "" && inside.length ? [...folders, ...(hits.length ? [items] : [])].join(", ") : `All of ${collection}`;
}
