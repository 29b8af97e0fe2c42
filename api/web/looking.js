// A picture of a part of the query, large. Of a photo, a part can be chosen instead of all of it.

import { find, make } from "./dom.js";
import { chooseRegion } from "./region.js";

// `onBox` is told the part that was chosen, or undefined for all of the picture; without it there is none to choose.
export function showLarge(url, title, onBox, box) {
  const dialog = find("looking");
  const stage = make("div", { class: "large" }, make("img", { src: url, alt: title }));
  const button = (text, onclick) => make("button", { type: "button", onclick }, text);
  const search = (chosen) => {
    dialog.close();
    onBox(chosen);
  };
  const part = onBox && button("Search a part", () => chooseRegion(part, stage, search));
  const all = box && button("Search all of it", () => search(undefined));
  dialog.replaceChildren(make("h2", { id: "looking-title" }, title), stage, make("div", { class: "row" }, part, all, button("Close", () => dialog.close())));
  dialog.onclick = (event) => event.target === dialog && dialog.close();
  dialog.showModal();
}
