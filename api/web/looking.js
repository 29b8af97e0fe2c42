// A picture of a part of the query, large.

import { find, make } from "./dom.js";

export function showLarge(url, title) {
  const dialog = find("looking");
  const close = make("button", { type: "button", onclick: () => dialog.close() }, "Close");
  dialog.replaceChildren(make("h2", { id: "looking-title" }, title), make("img", { src: url, alt: title }), make("div", { class: "row" }, close));
  dialog.onclick = (event) => event.target === dialog && dialog.close();
  dialog.showModal();
}
