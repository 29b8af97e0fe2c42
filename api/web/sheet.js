// A sheet to draw on: strokes are kept, so that undo is drawing all but the last one again, and a link can hold them.
//
// A stroke is [width, brush, x, y, x, y, …] in pixels of the sheet.

export class Sheet {
  constructor({ canvas, pen, undo, wipe, onChange }) {
    Object.assign(this, { canvas, pen, undo, wipe, onChange });
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.strokes = [];
    this.current = null;
    this.brush = 0;
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.extend(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => this.finish());
    undo.onclick = () => this.change(() => this.strokes.pop());
    wipe.onclick = () => this.change(() => (this.strokes = []));
  }

  get isEmpty() {
    return this.strokes.length === 0;
  }

  // The strokes of a link.
  restore({ strokes }) {
    this.strokes = strokes.map((stroke) => [...stroke]);
    this.repaint();
  }

  clear() {
    this.restore({ strokes: [] });
  }

  begin(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.current = [Number(this.pen.value), this.brush, ...this.place(event)];
    this.strokes.push(this.current);
    this.repaint();
  }

  extend(event) {
    if (!this.current) return;
    // A fast hand makes several points between two frames.
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) {
      const [x, y] = this.place(each);
      if (x !== this.current.at(-2) || y !== this.current.at(-1)) this.current.push(x, y);
    }
    this.repaint();
  }

  finish() {
    if (!this.current) return;
    this.current = null;
    this.onChange();
  }

  change(action) {
    action();
    this.repaint();
    this.onChange();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = this.canvas.width / box.width;
    return [Math.round((event.clientX - box.left) * scale), Math.round((event.clientY - box.top) * scale)];
  }

  repaint() {
    this.paint();
    this.undo.disabled = this.wipe.disabled = this.isEmpty;
  }
}

export const pointsOf = ([, , ...numbers]) =>
  Array.from({ length: numbers.length / 2 }, (_, place) => [numbers[2 * place], numbers[2 * place + 1]]);
