// The chosen colours of the one palette part.

import { make } from "./dom.js";
import { t } from "./language.js";

const MOST = 7;
const PRESETS = [
  ["#d92d2d", "red"], ["#f28c28", "orange"], ["#f7d038", "yellow"], ["#4fae4a", "green"], ["#1fa6a0", "teal"],
  ["#2f6fed", "blue"], ["#7a4fd0", "violet"], ["#e86aa6", "pink"], ["#8a5a36", "brown"], ["#f4e3cf", "cream"],
  ["#ffffff", "white"], ["#9a9a9a", "grey"], ["#111111", "black"],
];

export class Palette {
  constructor(presets, chosen, picker, add, onChange) {
    Object.assign(this, { chosen, onChange });
    this.colours = [];
    this.presets = presets;
    presets.append(...PRESETS.map(([colour, name]) => swatch(colour, t("palette.preset", { colour: t(`colour.${name}`) }), () => this.add(colour))));
    add.onclick = () => this.add(picker.value);
  }

  get isEmpty() {
    return this.colours.length === 0;
  }

  // The colours of a link.
  restore({ colours }) {
    this.colours = [...colours];
    this.paint();
  }

  clear() {
    this.restore({ colours: [] });
  }

  // The colours as a part of a query; null without any.
  part() {
    return this.isEmpty ? null : { kind: "color_palette", colours: [...this.colours] };
  }

  add(colour) {
    if (this.colours.length < MOST) this.change([...this.colours, colour]);
  }

  change(colours) {
    this.colours = colours;
    this.paint();
    this.onChange();
  }

  paint() {
    for (const preset of this.presets.children) preset.disabled = this.colours.length >= MOST;
    const remove = (index) => this.change(this.colours.filter((_, other) => other !== index));
    this.chosen.replaceChildren(
      ...this.colours.map((colour, index) => swatch(colour, t("palette.remove", { colour }), () => remove(index))),
    );
  }
}

export function swatch(colour, label, onclick) {
  const element = make(onclick ? "button" : "span", { class: "swatch", title: label, "aria-label": label, role: !onclick && "img", onclick });
  if (onclick) element.type = "button";
  element.style.backgroundColor = colour;
  return element;
}
