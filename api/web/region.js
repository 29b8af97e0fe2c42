// A part of a picture by hand: a box that is drawn over it, or moved by the arrow keys, and sized by them with Shift.

import { make } from "./dom.js";
import { t } from "./language.js";

const BEGIN = [0.25, 0.25, 0.75, 0.75]; // left, top, right, bottom, as shares of the picture
const LEAST = 0.02; // of a side: less is a slip of the hand
const STEP = 0.02;
const ARROWS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };

// Lets a box be chosen on the picture in `stage`, once that is there. `button` then asks for it: `onBox` is told the box.
export function chooseRegion(button, stage, onBox) {
  const ready = () => {
    button.textContent = t("part.search-this");
    button.classList.add("primary");
    button.onclick = () => onBox(region.box.map((share) => Math.round(share * 1000) / 1000));
    region.frame.focus();
  };
  button.onclick = null; // a second click meanwhile would lay a second box over the first
  const region = new Region(stage, ready);
  region.place();
}

class Region {
  // `ready()` is called when the picture is there and the box stands on it.
  constructor(stage, ready) {
    Object.assign(this, { stage, ready, box: BEGIN });
    this.frame = make("div", { class: "region", tabindex: 0, role: "group", "aria-label": t("part.region") });
    this.sheet = make("div", { class: "region-sheet", hidden: true }, this.frame);
    this.sheet.addEventListener("pointerdown", (event) => this.begin(event));
    this.sheet.addEventListener("pointermove", (event) => this.extend(event));
    for (const end of ["pointerup", "pointercancel"]) this.sheet.addEventListener(end, () => (this.from = null));
    this.frame.addEventListener("keydown", (event) => this.pressed(event));
    stage.append(this.sheet);
    new ResizeObserver(() => this.place()).observe(stage);
    stage.addEventListener("load", () => this.place(), true); // where the picture comes late
    this.show();
  }

  // Covers the picture itself, which is as large as fits into its element. Both are zoomed alike, so sizes are those before.
  place() {
    const image = this.stage.querySelector("img");
    if (!image?.naturalWidth) return;
    const scale = Math.min(image.offsetWidth / image.naturalWidth, image.offsetHeight / image.naturalHeight);
    const [width, height] = [scale * image.naturalWidth, scale * image.naturalHeight];
    const left = image.offsetLeft + (image.offsetWidth - width) / 2;
    const top = image.offsetTop + (image.offsetHeight - height) / 2;
    for (const [name, value] of Object.entries({ left, top, width, height })) this.sheet.style[name] = `${value}px`;
    if (!this.sheet.hidden) return;
    this.sheet.hidden = false;
    this.ready();
  }

  begin(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    event.stopPropagation(); // the stage would drag the picture
    this.sheet.setPointerCapture(event.pointerId);
    this.from = this.spot(event);
  }

  extend(event) {
    if (!this.from) return;
    const [[x, y], [toX, toY]] = [this.from, this.spot(event)];
    const box = [Math.min(x, toX), Math.min(y, toY), Math.max(x, toX), Math.max(y, toY)];
    if (box[2] - box[0] >= LEAST && box[3] - box[1] >= LEAST) this.show(box);
  }

  spot(event) {
    const { left, top, width, height } = this.sheet.getBoundingClientRect();
    const share = (place, side) => Math.max(0, Math.min(1, place / side));
    return [share(event.clientX - left, width), share(event.clientY - top, height)];
  }

  pressed(event) {
    const by = ARROWS[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation(); // the dialog would go to the next item
    const [left, top, right, bottom] = this.box;
    const within = (share, least, most) => Math.max(least, Math.min(most, share));
    if (event.shiftKey) return this.show([left, top, within(right + by[0], left + LEAST, 1), within(bottom + by[1], top + LEAST, 1)]);
    const [x, y] = [within(by[0], -left, 1 - right), within(by[1], -top, 1 - bottom)];
    this.show([left + x, top + y, right + x, bottom + y]);
  }

  show(box = this.box) {
    this.box = box;
    const [left, top, right, bottom] = box.map((share) => 100 * share);
    Object.assign(this.frame.style, { left: `${left}%`, top: `${top}%`, width: `${right - left}%`, height: `${bottom - top}%` });
  }
}
