// The collections that there are, and the chooser among them.

import * as api from "./api.js";
import { find, make } from "./dom.js";
import { counted } from "./words.js";

const LAST = "anyseek-collection"; // the collection that was looked at last

export class Collections {
  constructor() {
    this.held = [];
  }

  get names() {
    return this.held.map((collection) => collection.name);
  }

  async refresh() {
    this.held = await api.collections();
  }

  // The one to begin with: that of last time, else the first that has something in it.
  first() {
    const full = this.held.filter((collection) => collection.items > 0).map((collection) => collection.name);
    const last = localStorage.getItem(LAST);
    return full.includes(last) ? last : (full[0] ?? this.names[0] ?? "photos");
  }

  // Makes sure that it is known whether there is one of that name: the service is asked before it is said there is none.
  async look(name) {
    if (!this.names.includes(name)) await this.refresh();
  }

  // Chooses one; whether there is one of that name.
  choose(name) {
    const found = this.held.find((collection) => collection.name === name);
    this.show(found?.name);
    find("count").textContent = found ? counted(found.items, "item") : "";
    find("open-map").hidden = !found?.items;
    find("open-map").href = `/web/map.html#${new URLSearchParams({ c: name })}`;
    if (found) localStorage.setItem(LAST, name);
    return Boolean(found);
  }

  show(chosen) {
    const option = (name) => make("option", { value: name, selected: name === chosen }, name);
    const none = chosen ? [] : [make("option", { value: "", selected: true, disabled: true }, "choose")];
    find("collection").replaceChildren(...none, ...this.names.map(option));
    find("collection").disabled = this.names.length === 1 && Boolean(chosen);
    find("chooser").hidden = !this.names.length;
  }
}
