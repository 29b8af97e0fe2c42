// The map of a collection. Its address is /web/map.html#c=COLLECTION&colour_by=ATTRIBUTE&space=NAME&limit=5000&seed=0.

import * as api from "./api.js";
import { find } from "./dom.js";
import { t, translate } from "./language.js";
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
  const [shown, count] = [found.places.length, found.items];
  const items = shown === count ? t("count.items", { count }) : t("map.some", { shown, count });
  find("about").textContent = t("map.about", { items });
  const elements = { canvas: find("map"), legend: find("legend"), card: find("card") };
  showMap(elements, found, pictureOf, ({ key }) => window.open(address(key), "_blank", "noopener"));
}

translate();
document.title = document.querySelector("h1").textContent = t("map.title", { collection });
find("back").href = address();
show().catch((problem) => (find("about").textContent = problem.message));
