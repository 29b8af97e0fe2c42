// The readings of an ambiguous query, as chips above the hits: pressing one keeps only its hits.

import { find, make } from "./dom.js";

// `readings` as the service answers, `chosen` the name of one or null; `onChoose(name)` is told null to show all.
export function renderReadings(readings, chosen, onChoose) {
  const list = find("readings");
  list.hidden = readings.length < 2;
  list.replaceChildren(
    ...readings.map(({ name, size }) => {
      const pressed = name === chosen;
      const choose = () => onChoose(pressed ? null : name);
      return make("button", { type: "button", class: "reading", "aria-pressed": String(pressed), onclick: choose }, `${name} (${size})`);
    }),
  );
}

// The hits of the chosen reading; all hits where no reading has that name, as after a change of the collection.
export function ofReading(hits, readings, chosen) {
  const found = readings.find(({ name }) => name === chosen);
  if (!found) return hits;
  const keys = new Set(found.keys);
  return hits.filter(({ key }) => keys.has(key));
}
