// The sheet to draw on: strokes are kept, so that undo is drawing all but the last one again.

const PAPER = "#ffffff";
const INK = "#111111";

export class Drawing {
  constructor(canvas, pen, undo, wipe, onChange) {
    Object.assign(this, { canvas, pen, undo, wipe, onChange });
    this.context = canvas.getContext("2d");
    this.strokes = [];
    this.current = null;
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.extend(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => this.finish());
    undo.onclick = () => this.change(() => this.strokes.pop());
    wipe.onclick = () => this.change(() => (this.strokes = []));
    this.paint();
  }

  get isEmpty() {
    return this.strokes.length === 0;
  }

  clear() {
    this.strokes = [];
    this.paint();
  }

  // A PNG as a data: URL. Not toBlob, which may wait a second for the browser to be idle.
  url() {
    return this.canvas.toDataURL("image/png");
  }

  begin(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.current = { width: Number(this.pen.value), points: [this.place(event)] };
    this.strokes.push(this.current);
    this.paint();
  }

  extend(event) {
    if (!this.current) return;
    // A fast hand makes several points between two frames.
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length ? events : [event]) this.current.points.push(this.place(one));
    this.paint();
  }

  finish() {
    if (!this.current) return;
    this.current = null;
    this.onChange();
  }

  change(action) {
    action();
    this.paint();
    this.onChange();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = this.canvas.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  }

  paint() {
    const { context, canvas } = this;
    context.fillStyle = PAPER;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.strokeStyle = INK;
    context.lineCap = context.lineJoin = "round";
    for (const stroke of this.strokes) this.paintStroke(stroke);
    this.undo.disabled = this.wipe.disabled = this.isEmpty;
  }

  // Through the middles of neighbouring points, so that corners of the sampled path do not show.
  paintStroke({ width, points }) {
    const { context } = this;
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(...points[0]);
    for (let i = 1; i < points.length - 1; i++) {
      const middle = [(points[i][0] + points[i + 1][0]) / 2, (points[i][1] + points[i + 1][1]) / 2];
      context.quadraticCurveTo(...points[i], ...middle);
    }
    context.lineTo(...points.at(-1));
    context.stroke();
  }
}
