// The collections, and their chooser.

import * as api from "./api.js";
import { find, make } from "./dom.js";
import { t } from "./language.js";

const LAST = "anyseek-collection"; // the collection that was looked at last

export class Collections {
  constructor() {
    this.list = [];
  }

  get names() {
    return this.list.map((collection) => collection.name);
  }

  async refresh() {
    this.list = await api.collections();
  }

  // The initial collection: the last one used, else the first that is not empty.
  first() {
    const full = this.list.filter((collection) => collection.items > 0).map((collection) => collection.name);
    const last = localStorage.getItem(LAST);
    return full.includes(last) ? last : (full[0] ?? this.names[0] ?? "photos");
  }

  // Refreshes the list if it does not have the name, so that a new collection is found.
  async ensureKnown(name) {
    if (!this.names.includes(name)) await this.refresh();
  }

  // Selects a collection; returns whether it exists.
  choose(name) {
    const found = this.list.find((collection) => collection.name === name);
    this.show(found?.name);
    find("count").textContent = found ? t("count.items", { count: found.items }) : "";
    find("open-map").hidden = !found?.items;
    find("open-map").href = `/web/map.html#${new URLSearchParams({ c: name })}`;
    if (found) localStorage.setItem(LAST, name);
    return Boolean(found);
  }

  show(chosen) {
    const option = (name) => make("option", { value: name, selected: name === chosen }, name);
    const none = chosen ? [] : [make("option", { value: "", selected: true, disabled: true }, t("top.choose"))];
    find("collection").replaceChildren(...none, ...this.names.map(option));
    find("collection").disabled = this.names.length === 1 && Boolean(chosen);
    find("chooser").hidden = !this.names.length;
  }
}
