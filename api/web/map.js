// A map of items on a canvas: it is dragged and made larger by mouse, fingers and keys, and tells which item is pointed at.

import { number } from "./language.js";

const LARGEST = 60; // times the whole map
const PICTURE = 96; // pixels of a picture at most
const REACH = 24; // pixels from which on a place is pointed at

export class Chart {
  // `places` are [{key, x, y, colour}], x and y from -1 to 1; `pictureOf(place)` is an image that is loaded or will be, null
  // without one; `onPoint(place)` is told what is pointed at, null for nothing, and `onOpen(place)` what was clicked.
  constructor(canvas, places, { pictureOf, onPoint = () => {}, onOpen = () => {} }) {
    Object.assign(this, { canvas, places, pictureOf, onPoint, onOpen, pointers: new Map(), pointed: null });
    Object.assign(this, { scale: 1, x: 0, y: 0, moved: 0, awaited: new Set() });
    const on = (name, handler, options) => canvas.addEventListener(name, handler, options);
    on("wheel", (event) => this.wheel(event), { passive: false });
    on("pointerdown", (event) => this.press(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.release(event));
    for (const end of ["pointercancel", "pointerleave"]) on(end, (event) => this.leave(event));
    on("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
  }

  resize() {
    const { width, height } = this.canvas.getBoundingClientRect();
    const dense = window.devicePixelRatio || 1;
    Object.assign(this, { width, height, dense });
    Object.assign(this.canvas, { width: Math.round(width * dense), height: Math.round(height * dense) });
    this.draw();
  }

  // Pixels for a distance of 1 on the map.
  get unit() {
    return (Math.min(this.width, this.height) / 2 - 30) * this.scale;
  }

  // Where a place is on the canvas.
  at({ x, y }) {
    return [this.width / 2 + (x - this.x) * this.unit, this.height / 2 - (y - this.y) * this.unit];
  }

  // Pictures are as large as they can be while about half of them overlap nothing, and points where that is too small.
  get side() {
    const side = (1.6 * this.unit) / Math.sqrt(this.places.length);
    return side < 14 ? 0 : Math.min(side, PICTURE);
  }

  draw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      this.paint(this.canvas.getContext("2d"));
    });
  }

  paint(pen) {
    pen.setTransform(this.dense, 0, 0, this.dense, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    const style = getComputedStyle(this.canvas);
    const { side } = this;
    for (const place of this.places) if (place !== this.pointed) this.paintOne(pen, place, side, style);
    if (this.pointed) this.paintOne(pen, this.pointed, side, style);
  }

  paintOne(pen, place, side, style) {
    const [x, y] = this.at(place);
    if (x < -PICTURE || y < -PICTURE || x > this.width + PICTURE || y > this.height + PICTURE) return;
    const isPointed = place === this.pointed;
    const picture = side ? this.picture(place) : null;
    pen.fillStyle = isPointed ? style.color : (place.colour ?? style.accentColor);
    if (!picture) {
      pen.beginPath();
      pen.arc(x, y, (side ? 5 : 3.5) + isPointed * 2.5, 0, 7);
      pen.fill();
      return;
    }
    const factor = side / Math.max(picture.naturalWidth, picture.naturalHeight);
    const [width, height] = [picture.naturalWidth * factor, picture.naturalHeight * factor];
    if (isPointed || place.colour) pen.fillRect(x - width / 2 - 2.5, y - height / 2 - 2.5, width + 5, height + 5);
    pen.drawImage(picture, x - width / 2, y - height / 2, width, height);
  }

  // The picture of a place once it is loaded; then everything is drawn again.
  picture(place) {
    const picture = this.pictureOf(place);
    if (!picture) return null;
    if (picture.complete && picture.naturalWidth) return picture;
    if (!this.awaited.has(picture)) {
      this.awaited.add(picture);
      picture.addEventListener("load", () => this.draw(), { once: true });
    }
    return null;
  }

  nearest(event) {
    const { left, top } = this.canvas.getBoundingClientRect();
    let [best, least] = [null, Math.max(REACH, this.side / 2)];
    for (const place of this.places) {
      const [x, y] = this.at(place);
      const apart = Math.hypot(x - event.clientX + left, y - event.clientY + top);
      if (apart < least) [best, least] = [place, apart];
    }
    return best;
  }

  point(place) {
    if (place === this.pointed) return;
    this.pointed = place;
    this.onPoint(place);
    this.draw();
  }

  // Makes the map larger around a point of the canvas, its middle by default.
  by(factor, x = this.width / 2, y = this.height / 2) {
    const before = this.unit;
    this.scale = Math.max(0.5, Math.min(LARGEST, this.scale * factor));
    const more = 1 / before - 1 / this.unit;
    this.x += (x - this.width / 2) * more;
    this.y -= (y - this.height / 2) * more;
    this.draw();
  }

  drag(x, y) {
    const within = (place) => Math.max(-1.2, Math.min(1.2, place));
    this.x = within(this.x - x / this.unit);
    this.y = within(this.y + y / this.unit);
    this.draw();
  }

  wheel(event) {
    event.preventDefault();
    const { left, top } = this.canvas.getBoundingClientRect();
    this.by(Math.exp(-event.deltaY / 400), event.clientX - left, event.clientY - top);
  }

  press(event) {
    this.pointers.set(event.pointerId, event);
    this.moved = 0;
    this.canvas.setPointerCapture(event.pointerId);
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return this.point(this.nearest(event));
    const other = [...this.pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
    const apart = (pointer) => Math.hypot(pointer.clientX - other.clientX, pointer.clientY - other.clientY) || 1;
    const [x, y] = [event.clientX - before.clientX, event.clientY - before.clientY];
    this.moved += Math.hypot(x, y);
    if (other) this.by(apart(event) / apart(before));
    else this.drag(x, y);
    this.pointers.set(event.pointerId, event);
  }

  release(event) {
    this.pointers.delete(event.pointerId);
    const place = this.moved < 5 ? this.nearest(event) : null;
    this.point(place ?? this.pointed);
    if (place) this.onOpen(place);
  }

  leave(event) {
    this.pointers.delete(event.pointerId);
    this.point(null);
  }

  key(event) {
    const steps = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    if (steps[event.key]) this.drag(...steps[event.key]);
    else if (event.key === "+" || event.key === "=") this.by(1.3);
    else if (event.key === "-") this.by(1 / 1.3);
    else if (event.key === "0") Object.assign(this, { scale: 1, x: 0, y: 0 }), this.draw();
    else if (event.key === "Enter" && this.pointed) this.onOpen(this.pointed);
    else return;
    event.preventDefault();
  }
}

// The page around a chart: its title, legend, and the card of the item that is pointed at.
export function showMap({ canvas, legend, card }, found, pictureOf, open) {
  legend.replaceChildren(
    ...found.legend.map(({ colour, label, items }) => {
      const [entry, swatch] = [document.createElement("li"), document.createElement("i")];
      swatch.style.background = colour;
      entry.append(swatch, `${label} (${number(items)})`);
      return entry;
    }),
  );
  const onPoint = (place) => {
    card.hidden = !place;
    canvas.style.cursor = place && open ? "pointer" : "grab";
    if (!place) return;
    const picture = pictureOf(place);
    const value = place.value == null ? "" : ` · ${place.value}`;
    card.replaceChildren(...(picture ? [picture] : []), `${place.key}${value}`);
  };
  return new Chart(canvas, found.places, { pictureOf, onPoint, onOpen: (place) => open?.(place) });
}
