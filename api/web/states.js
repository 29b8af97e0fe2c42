// What the page says where it has nothing to show, and how it calls what it shows.

import { find, make } from "./dom.js";
import { hideMessages } from "./messages.js";
import { counted, manner } from "./words.js";

// Nothing to show, and what can be done about it.
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
  const links = names.map((held) => make("a", { class: "button", href: `#c=${encodeURIComponent(held)}` }, held));
  showEmpty(`There is no collection called ${name}`, make("p", {}, "These are there:"), make("p", { class: "row" }, ...links));
}

// `asks`: whether a query found nothing, or a listing.
export function showNonePasses(asks, onClear) {
  showEmpty(asks ? "Nothing that passes these filters" : "No item passes these filters", button("Remove the filters", onClear));
}

// The slider left nothing.
export function showNoneSure(onShowAll) {
  showEmpty("Nothing good was found", make("p", {}, "No item is as likely as the slider asks."), button("Show what comes nearest", onShowAll));
}

export function showEmptyFolder(asks) {
  showEmpty(asks ? "Nothing was found in this folder" : "There is nothing in this folder");
}

// What stands above the grid. `found`: the hits so far, the folders beside them, and their source.
export function summary({ hits, inside, source }, { asks, where, folder, collection }, milliseconds) {
  if (asks && source.note?.startsWith("nothing good was found")) return "Nothing good was found. These come nearest.";
  if (asks) return `${source.done ? counted(hits.length, "result") : "Best first"}, ${manner(source.space)}, in ${milliseconds} ms`;
  const folders = inside.length ? [counted(inside.length, "folder")] : [];
  const items = source.done ? counted(hits.length, "item") : where ? "filtered" : "items";
  if (folder) return [...folders, ...(hits.length ? [items] : [])].join(", ");
  if (where) return source.done ? counted(hits.length, "item") : "Filtered";
  return folder === "" && inside.length ? [...folders, ...(hits.length ? [items] : [])].join(", ") : `All of ${collection}`;
}
