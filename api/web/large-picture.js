// The picture of a part of the query, enlarged. A region of a photo can be selected.

import { find, make } from "./dom.js";
import { t } from "./language.js";
import { chooseRegion } from "./region.js";

// `onBox` is called with the selected box, or undefined for the whole picture; without it nothing can be selected.
export function showLarge(url, title, onBox, box) {
  const dialog = find("looking");
  const stage = make("div", { class: "large" }, make("img", { src: url, alt: title }));
  const button = (text, onclick) => make("button", { type: "button", onclick }, text);
  const search = (chosen) => {
    dialog.close();
    onBox(chosen);
  };
  const part = onBox && button(t("part.search"), () => chooseRegion(part, stage, search));
  const all = box && button(t("part.search-all"), () => search(undefined));
  dialog.replaceChildren(make("h2", { id: "looking-title" }, title), stage, make("div", { class: "row" }, part, all, button(t("part.close"), () => dialog.close())));
  dialog.onclick = (event) => event.target === dialog && dialog.close();
  dialog.showModal();
}
