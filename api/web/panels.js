// The panels below the search box, at most one of which is open: a button with the id `open-NAME` opens the panel NAME.

import { find } from "./dom.js";

const narrow = matchMedia("(max-width: 860px)");
const NAMES = ["drawing", "palette", "painting", "filters"];

// `onOpen` has a function for each panel that has something to prepare.
export function wirePanels(onOpen) {
  for (const name of NAMES) find(`open-${name}`).onclick = () => toggle(name, onOpen[name]);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) closePanels();
  });
}

function toggle(name, prepare) {
  const opens = find(name).hidden;
  closePanels();
  if (!opens) return;
  find(name).hidden = false;
  find(`open-${name}`).setAttribute("aria-expanded", true);
  document.body.dataset.panel = name;
  prepare?.();
  if (narrow.matches) find(name).scrollIntoView({ block: "start" }); // what it finds stands below it
}

export function closePanels() {
  delete document.body.dataset.panel;
  for (const name of NAMES) {
    find(name).hidden = true;
    find(`open-${name}`).setAttribute("aria-expanded", false);
  }
}
