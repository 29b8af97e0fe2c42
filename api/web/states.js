// Empty states of the page, and the summary of its results.

import { find, make } from "./dom.js";
import { t } from "./language.js";
import { hideMessages } from "./messages.js";
import { isUnsure, manner } from "./words.js";

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
  make("p", {}, t("empty.drop")),
  make("p", {}, button(t("top.add"), onAdd, "primary")),
  make("p", {}, t("empty.command")),
  make("code", {}, `anyseek index FOLDER --collection ${collection}`),
];

export function showEmptyCollection(collection, onAdd) {
  showEmpty(t("empty.collection", { collection }), ...invitation(collection, onAdd));
}

export function showUnknown(name, names, onAdd) {
  if (!names.length) return showEmpty(t("empty.service"), ...invitation("photos", onAdd));
  const links = names.map((name) => make("a", { class: "button", href: `#c=${encodeURIComponent(name)}` }, name));
  showEmpty(t("empty.unknown", { name }), make("p", {}, t("empty.choose")), make("p", { class: "row" }, ...links));
}

// `isQuery`: whether a query or a listing is empty.
export function showNonePasses(isQuery, onClear) {
  showEmpty(t(isQuery ? "empty.no-result-passes" : "empty.none-passes"), button(t("empty.unfilter"), onClear));
}

// The slider left nothing.
export function showNoneSure(onShowAll) {
  showEmpty(t("empty.none-sure"), make("p", {}, t("empty.slider")), button(t("empty.nearest"), onShowAll));
}

export function showEmptyFolder(isQuery) {
  showEmpty(t(isQuery ? "empty.no-result-in-folder" : "empty.folder"));
}

// The summary line above the grid.
export function summary({ hits, inside, source }, { isQuery, where, folder, collection }, milliseconds) {
  if (isQuery && source.note?.startsWith("nothing good was found")) return t("summary.doubtful");
  if (isQuery && isUnsure(hits[0])) return t("summary.unsure");
  const found = source.done ? t("count.results", { count: hits.length }) : t("summary.best-first");
  if (isQuery) return t("summary.found", { found, manner: manner(source.space), milliseconds });
  const folders = inside.length ? [t("count.folders", { count: inside.length })] : [];
  const counted = t("count.items", { count: hits.length });
  const items = source.done ? counted : t(where ? "summary.filtered-items" : "summary.items");
  const inFolder = [...folders, ...(hits.length ? [items] : [])].join(t("list.separator"));
  if (folder) return inFolder;
  if (where) return source.done ? counted : t("summary.filtered");
  return folder === "" && inside.length ? inFolder : t("summary.all", { collection });
}
