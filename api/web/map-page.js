// The map of a collection. Its address is /web/map.html#c=COLLECTION&colour_by=ATTRIBUTE&space=NAME&limit=5000&seed=0.

import * as api from "./api.js";
import { find } from "./dom.js";
import { showMap } from "./map.js";

const { c: collection, ...parameters } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
const address = (key) => `/#${new URLSearchParams({ c: collection, ...(key && { item: key }) })}`;
const pictures = new Map();

function pictureOf({ key }) {
  if (!pictures.has(key)) {
    pictures.set(key, Object.assign(new Image(), { alt: "" }));
    api.showPicture(pictures.get(key), collection, key);
  }
  return pictures.get(key);
}

async function show() {
  const found = await api.map(collection, parameters);
  const [shown, total] = [found.places.length, found.items].map((count) => count.toLocaleString("en"));
  const many = shown === total ? `${shown} items` : `${shown} of ${total} items`;
  find("about").textContent = `${many}, alike ones near each other. Drag to move, turn the wheel to zoom; keys: arrows, + and -.`;
  const elements = { canvas: find("map"), legend: find("legend"), card: find("card") };
  showMap(elements, found, pictureOf, ({ key }) => window.open(address(key), "_blank", "noopener"));
}

document.title = document.querySelector("h1").textContent = `${collection}: a map`;
find("back").href = address();
show().catch((problem) => (find("about").textContent = problem.message));
