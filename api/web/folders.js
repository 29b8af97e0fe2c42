// The folders of a collection, from the slashes in its keys: the current path, and a tile for each subfolder.

import { find, make } from "./dom.js";
import { picture } from "./grid.js";
import { number, t } from "./language.js";

// `folder` is the path of the one that is browsed, null if none is; `inside` are those in it; `address` is the page's.
export function renderFolders({ collection, folder, inside, address }) {
  const here = folder !== null;
  find("open-folders").setAttribute("aria-pressed", String(here));
  find("open-folders").onclick = () => (location.hash = addressOf(address, here ? null : ""));
  find("folder-path").hidden = !here;
  find("folders").hidden = !inside.length;
  find("folder-path").replaceChildren(...(here ? steps(collection, folder, address) : []));
  find("folders").replaceChildren(...inside.map((each) => tile(each, collection, address)));
}

// The same address in another folder; null leaves the folders.
function addressOf(address, folder) {
  const given = new URLSearchParams((address ?? "").replace(/^#/, ""));
  given.delete("item");
  if (folder === null) given.delete("in");
  else given.set("in", folder);
  return `#${given}`;
}

export const nameOf = (path) => path.split("/").at(-2) || "/";

function steps(collection, folder, address) {
  const ends = [...folder.matchAll(/\//g)].map((slash) => folder.slice(0, slash.index + 1));
  const step = (path, name) => {
    const isHere = path === folder;
    return make("li", {}, make("a", { href: addressOf(address, path), "aria-current": isHere && "page" }, name));
  };
  return [make("ol", {}, step("", collection), ...ends.map((path) => step(path, nameOf(path))))];
}

function tile({ path, items, cover }, collection, address) {
  const name = nameOf(path);
  return make(
    "li",
    { class: "folder-tile" },
    make(
      "a",
      { href: addressOf(address, path), "data-folder": path, "aria-label": t("folders.folder", { name, items: t("count.items", { count: items }) }) },
      make("span", { class: "cover" }, picture({ key: cover, caption: "", assets: ["thumbnail"], attributes: {} }, collection)),
      make("span", { class: "folder-name", title: name }, name),
      make("small", {}, number(items)),
    ),
  );
}
